"""The SQL of the register. Each text is one message and one transaction, whatever pools sessions.

No prepared statements, and no text holds a placeholder: keys are checked, bytes are hexadecimal.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

UNFIT = "AQ001"
"""The SQLSTATE with which a server says that its commits are not what the register needs."""

STANDBY = "AQ002"
"""The SQLSTATE with which a server says that another one takes the writes."""

_KEY = re.compile(r"[A-Za-z0-9._/-]*")

_FAULTS = (
    ("pg_is_in_recovery()", "it is a standby; name the server that takes writes", STANDBY),
    (
        "current_setting('fsync') <> 'on'",
        "fsync is off: a power cut would lose commits",
        UNFIT,
    ),
    (
        "current_setting('full_page_writes') <> 'on'",
        "full_page_writes is off: a power cut would tear pages",
        UNFIT,
    ),
    (
        "current_setting('synchronous_commit') <> 'on'",
        "synchronous_commit cannot be turned on",
        UNFIT,
    ),
)
_NO_STANDBY = (
    "current_setting('synchronous_standby_names') = ''",
    "synchronous_standby_names is empty: a standby that takes over may lack commits; set it, or "
    "say standby=none in the URI if no other server ever takes over",
    UNFIT,
)


@dataclass(frozen=True, slots=True)
class Statements:
    """The texts for one table. `with_standby`: a verdict waits for the synchronous standby."""

    table: str
    with_standby: bool
    lock_timeout_ms: int

    def guard(self) -> str:
        """Raises UNFIT or STANDBY, with the reason, unless commits of this transaction are
        synchronous.

        Invariant: it stands in the transaction of every create, whose commit it speaks of.
        """
        faults = (*_FAULTS, _NO_STANDBY) if self.with_standby else _FAULTS
        cases = " ELSIF ".join(
            f"{condition} THEN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{why}';"
            for condition, why, code in faults
        )
        return f"{self._synchronous()} DO $$ BEGIN IF {cases} END IF; END $$"

    def session(self) -> str:
        """For every later transaction of a session that nobody else uses."""
        return "SET synchronous_commit = 'on'"

    def insert(self, key: str, data: bytes) -> str:
        """Answers `INSERT 0 1` to at most one of all who ask: the key is unique, and whoever finds
        another's transaction at it waits for that one's end (read committed suffices: one
        statement, one row).

        Losing locks the row that won, which makes the loss a commit as well: it is answered only
        when the standby has all that came before it, that row included. DO NOTHING would commit
        nothing, and answer at once. A lock that is waited for too long ends the statement without
        effect, so repeated attempts do not pile up behind a commit that waits for its standby.
        """
        return (
            f"{self.guard()}; SET LOCAL lock_timeout = {self.lock_timeout_ms}; "
            f"INSERT INTO {self.table} AS it (key, data) VALUES ({_key(key)}, '\\x{data.hex()}') "
            "ON CONFLICT (key) DO UPDATE SET data = it.data WHERE false"
        )

    def select(self, key: str) -> str:
        """A query for the bytes. Found, they are locked where there is a standby, for the reason
        that `insert` gives; what is absent is absent now, and needs no commit."""
        locked = " FOR KEY SHARE" if self.with_standby else ""
        return f"SELECT data FROM {self.table} WHERE key = {_key(key)}{locked}"

    def delete(self, keys: Iterable[str]) -> str:
        some = ", ".join(_key(key) for key in keys)
        return (
            f"{self._synchronous()} SET LOCAL lock_timeout = {self.lock_timeout_ms}; "
            f"DELETE FROM {self.table} WHERE key IN ({some})"
        )

    def page(self, prefix: str, after: str, keys_max: int) -> str:
        """A query for keys, sizes in bytes and creation times in ms, by key."""
        return (
            "SELECT key, octet_length(data)::text, (extract(epoch FROM created_at) * 1000)::bigint"
            f"::text FROM {self.table} WHERE key > {_key(after)} AND key >= {_key(prefix)} "
            f"AND starts_with(key, {_key(prefix)}) ORDER BY key LIMIT {keys_max}"
        )

    def make(self) -> str:
        """The table. Keys are compared byte by byte, as the object stores do."""
        return (
            f"{self._synchronous()} CREATE TABLE IF NOT EXISTS {self.table} ("
            'key text COLLATE "C" PRIMARY KEY, data bytea NOT NULL, '
            "created_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )

    def drop_if_empty(self) -> str:
        """Takes the table away. Whoever puts something into it meanwhile is waited for, or makes
        it again: the lock is held from before the look until the end."""
        return (
            f"DO $$ BEGIN SET LOCAL lock_timeout = {self.lock_timeout_ms}; "
            f"LOCK TABLE {self.table} IN ACCESS EXCLUSIVE MODE; "
            f"IF NOT EXISTS (SELECT FROM {self.table}) THEN DROP TABLE {self.table}; END IF; "
            "END $$"
        )

    def identity(self) -> str:
        """A query that tells servers, histories and poolers apart."""
        return (
            "SELECT pg_backend_pid()::text, system_identifier::text, "
            "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), "
            "current_setting('synchronous_standby_names'), "
            f"(SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass('{self.table}')) "
            "FROM pg_control_system()"
        )

    def _synchronous(self) -> str:
        # Above what server, database, role and session say; 'on' waits for a synchronous standby.
        return "SET LOCAL synchronous_commit = 'on';"


def _key(key: str) -> str:
    assert _KEY.fullmatch(key), key
    return f"'{key}'"
