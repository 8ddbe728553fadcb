"""What a simulated server makes of the register's SQL, and the connection that brings it there.

Each text is a transaction of its own, as in a simple query. Only what `Statements` says is
understood, and each part of it does what it does in PostgreSQL: without the settings that a text
makes its commit waits for no standby, and what changes and locks no row commits nothing.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

import asyncpg

POLL_S: Final = 0.01
FOR_EVER_MS: Final = 10**9
IN_MEMORY: Final = -1
TABLE: Final = "(the table)"
"""Stands among the keys for the table itself."""

SYSTEM_ID: Final = "7300000000000000001"
STANDBY_NAMES: Final = "FIRST 1 (other)"
COMMITS_BY_DEFAULT: Final = "off"
"""`synchronous_commit` as the server has it: the register must not rely on that."""

MADE_MEANWHILE: Final = "42P07"

Row = tuple[bytes | None, ...]
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction left in the server's log. Without data it deletes; without a key it only
    commits, as a lock does."""

    key: str = ""
    data: bytes | None = None


@dataclass(slots=True)
class Machine:
    """One server. `log` is on its disk, the first `sent` changes are on its standby's as well."""

    timeline: int
    log: list[Change] = field(default_factory=list)
    sent: int = 0
    rows: dict[str, bytes] = field(default_factory=dict)
    locked: dict[str, int] = field(default_factory=dict)
    """Keys whose transaction has not ended, with its position in the log or IN_MEMORY."""
    life: int = 0
    """Counts its starts: what an earlier one began has ended."""
    has_standby: bool = True

    @property
    def place(self) -> int:
        """At which of the two hosts it is: the next history begins at the other one."""
        return (self.timeline - 1) % 2

    def replay(self) -> None:
        """See all that the log holds, and nothing else."""
        self.rows = {}
        self.locked = {}
        for change in self.log:
            self.apply(change)

    def apply(self, change: Change) -> None:
        if change.data is not None:
            self.rows[change.key] = change.data
        else:
            self.rows.pop(change.key, None)


class Servers(Protocol):
    """What all servers of one database cluster share."""

    cuts: float
    locks: bool
    chance: Any

    @property
    def is_lone(self) -> bool: ...

    async def pause(self) -> None: ...

    def send(self, machine: Machine) -> None: ...

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None: ...


@dataclass(slots=True)
class Answer:
    """What a message came to: the tag of its last statement, its rows, and a warning if any."""

    tag: str = ""
    rows: list[Row] = field(default_factory=list)
    warning: str = ""


@dataclass(slots=True)
class Transaction:
    """The settings of one message, what it changes at its end, and the keys that it holds."""

    settings: dict[str, str]
    answer: Answer = field(default_factory=Answer)
    changes: list[Change] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def refusal(code: str, message: str) -> Exception:
    """What asyncpg raises for an error of the server."""
    why: Exception = asyncpg.PostgresError.new({"C": code, "M": message})
    return why


def gone() -> Exception:
    why: Exception = asyncpg.ConnectionDoesNotExistError(
        "connection was closed in the middle of operation"
    )
    return why


class Backend:
    """The server's process of one connection."""

    def __init__(
        self, servers: Servers, machine: Machine, pid: int, *, is_standby: bool = False
    ) -> None:
        self.servers = servers
        self.pid = pid
        self._machine = machine
        self._life = machine.life
        self._is_standby = is_standby
        self._settings = {"synchronous_commit": COMMITS_BY_DEFAULT, "lock_timeout": "0"}

    @property
    def is_alive(self) -> bool:
        return self._life == self._machine.life

    async def run(self, text: str) -> Answer:
        """One message, which is one transaction. Raises what asyncpg would."""
        work = Transaction(dict(self._settings))
        try:
            for statement in statements_of(text):
                await self._execute(work, statement)
            await self._commit(work)
        except BaseException:
            self._let_go(work)
            raise
        return work.answer

    async def _execute(self, work: Transaction, statement: str) -> None:
        for pattern, execute in _KNOWN:
            if match := pattern.fullmatch(statement):
                await execute(self, work, match)
                return
        raise refusal("42601", f"syntax error: {statement[:80]}")

    # -- statements

    async def _set(self, work: Transaction, match: re.Match[str]) -> None:
        work.settings[match["name"]] = match["value"]
        if not match["local"]:
            self._settings[match["name"]] = match["value"]

    async def _guard(self, work: Transaction, match: re.Match[str]) -> None:
        facts = {
            "pg_is_in_recovery()": self._is_standby,
            "current_setting('fsync') <> 'on'": False,
            "current_setting('full_page_writes') <> 'on'": False,
            "current_setting('synchronous_commit') <> 'on'": not _is_synchronous(work),
            "current_setting('synchronous_standby_names') = ''": self.servers.is_lone,
        }
        for condition, code, why in cases_of(match["body"]):
            if facts[condition]:
                raise refusal(code, why)

    async def _insert(self, work: Transaction, match: re.Match[str]) -> None:
        key, data = match["key"], bytes.fromhex(match["data"])
        self._need_table()
        await self._free(work, key)
        if key in self._machine.rows:
            work.changes.append(Change())
            work.answer = Answer("INSERT 0 0")
            return
        self._hold(work, key)
        await self.servers.pause()
        self._check()
        work.changes.append(Change(key, data))
        work.answer = Answer("INSERT 0 1")

    async def _select(self, work: Transaction, match: re.Match[str]) -> None:
        self._need_table()
        found = self._machine.rows.get(match["key"])
        work.answer = Answer("COPY", [] if found is None else [(found,)])
        if found is not None and match["locked"]:
            work.changes.append(Change())

    async def _delete(self, work: Transaction, match: re.Match[str]) -> None:
        self._need_table()
        keys = [it.strip("'") for it in match["keys"].split(", ")]
        for key in keys:
            await self._free(work, key)
            if key in self._machine.rows:
                self._hold(work, key)
                work.changes.append(Change(key))
        work.answer = Answer(f"DELETE {len(work.changes)}")

    async def _page(self, work: Transaction, match: re.Match[str]) -> None:
        self._need_table()
        rows, prefix, after = self._machine.rows, match["prefix"], match["after"]
        keys = sorted(it for it in rows if it.startswith(prefix) and it > after and it != TABLE)
        some = keys[: int(match["count"])]
        work.answer = Answer("COPY", [(it.encode(), b"%d" % len(rows[it]), b"0") for it in some])

    async def _make(self, work: Transaction, match: re.Match[str]) -> None:
        is_awaited = TABLE in self._machine.locked
        await self._free(work, TABLE)
        if TABLE not in self._machine.rows:
            self._hold(work, TABLE)
            work.changes.append(Change(TABLE, b""))
        elif is_awaited:
            # It looks before it waits, and fails when the other has made it.
            raise refusal(MADE_MEANWHILE, "the table already exists")
        work.answer = Answer("CREATE TABLE")

    async def _drop(self, work: Transaction, match: re.Match[str]) -> None:
        work.settings["lock_timeout"] = match["timeout_ms"]
        self._need_table()
        for key in [TABLE, *self._machine.locked]:
            await self._free(work, key)
        self._need_table()
        if len(self._machine.rows) == 1 and not self._machine.locked:
            self._hold(work, TABLE)
            work.changes.append(Change(TABLE))
        work.answer = Answer("DO")

    async def _identity(self, work: Transaction, match: re.Match[str]) -> None:
        names = "" if self.servers.is_lone else STANDBY_NAMES
        texts = (str(self.pid), SYSTEM_ID, f"{self._machine.timeline:08X}", names)
        kind = b"p" if TABLE in self._machine.rows else None
        work.answer = Answer("COPY", [(*(it.encode() for it in texts), kind)])

    # -- locks, and the end

    def _need_table(self) -> None:
        if TABLE not in self._machine.rows:
            raise refusal("42P01", "the table does not exist")

    async def _free(self, work: Transaction, key: str) -> None:
        """Waits for the transaction that is at the key."""
        loop = asyncio.get_running_loop()
        # No timeout is for ever, as there.
        deadline_s = loop.time() + (int(work.settings["lock_timeout"]) or FOR_EVER_MS) / 1000
        while key in self._machine.locked:
            await asyncio.sleep(POLL_S)
            self._check()
            if loop.time() > deadline_s:
                raise refusal("55P03", "canceling statement due to lock timeout")

    def _hold(self, work: Transaction, key: str) -> None:
        self._machine.locked[key] = IN_MEMORY
        work.held.append(key)

    def _let_go(self, work: Transaction) -> None:
        """What has not come to the log has not happened."""
        if self.is_alive:
            for key in work.held:
                if self._machine.locked.get(key) == IN_MEMORY:
                    del self._machine.locked[key]

    async def _commit(self, work: Transaction) -> None:
        """On the disk, then at the standby, then seen; answered after that."""
        machine = self._machine
        changes = work.changes if self.servers.locks else [it for it in work.changes if it.key]
        if not changes:
            return
        positions = range(len(machine.log), len(machine.log) + len(changes))
        machine.log += changes
        machine.locked |= {
            change.key: at for change, at in zip(changes, positions, strict=True) if change.key
        }
        while machine.sent < positions.stop and _is_synchronous(work):
            await self.servers.pause()
            self._check()
            if machine.has_standby:
                self.servers.send(machine)
            else:
                await asyncio.sleep(POLL_S)
        self._check()
        for change, position in zip(changes, positions, strict=True):
            if change.key and machine.locked.get(change.key) != position:
                work.answer.warning = "canceling wait for synchronous replication"
            elif change.key:
                del machine.locked[change.key]
                machine.apply(change)

    def _check(self) -> None:
        if not self.is_alive:
            raise gone()


def _is_synchronous(work: Transaction) -> bool:
    return work.settings["synchronous_commit"] == "on"


Execute = Callable[[Backend, Transaction, re.Match[str]], Awaitable[None]]

_KNOWN: Final[tuple[tuple[re.Pattern[str], Execute], ...]] = tuple(
    (re.compile(text, re.DOTALL), execute)
    for text, execute in (
        (r"SET (?P<local>LOCAL )?(?P<name>\w+) = '?(?P<value>\w+)'?", Backend._set),
        (r"DO \$\$ BEGIN (?P<body>IF \S+\(.*) END IF; END \$\$", Backend._guard),
        (
            r"INSERT INTO \S+ AS it \(key, data\) VALUES \('(?P<key>[^']*)', "
            r"'\\x(?P<data>[0-9a-f]*)'\) ON CONFLICT \(key\) DO UPDATE SET data = it\.data "
            r"WHERE false",
            Backend._insert,
        ),
        (
            r"SELECT data FROM \S+ WHERE key = '(?P<key>[^']*)'(?P<locked> FOR KEY SHARE)?",
            Backend._select,
        ),
        (r"DELETE FROM \S+ WHERE key IN \((?P<keys>.*)\)", Backend._delete),
        (
            r"SELECT key, octet_length.* FROM \S+ WHERE key > '(?P<after>[^']*)' AND key >= "
            r"'(?P<prefix>[^']*)' AND starts_with\(.*\) ORDER BY key LIMIT (?P<count>\d+)",
            Backend._page,
        ),
        (r"CREATE TABLE IF NOT EXISTS .*", Backend._make),
        (
            r"DO \$\$ BEGIN SET LOCAL lock_timeout = (?P<timeout_ms>\d+); LOCK TABLE .* DROP TABLE "
            r".* END \$\$",
            Backend._drop,
        ),
        (r"SELECT pg_backend_pid\(\).*", Backend._identity),
    )
)

_STATEMENT = re.compile(r"(?:'[^']*'|\$\$.*?\$\$|[^;'$]+)+", re.DOTALL)
_CASE = re.compile(
    r"IF (?P<if>.*?) THEN RAISE EXCEPTION USING ERRCODE = '(\w+)', MESSAGE = '([^']*)';"
)


def statements_of(text: str) -> Iterator[str]:
    """The statements of a message."""
    return (it for match in _STATEMENT.finditer(text) if (it := match[0].strip()))


@lru_cache(maxsize=4)
def cases_of(body: str) -> list[tuple[str, str, str]]:
    """The conditions of a guard, with the SQLSTATE and the words of each."""
    return [(match["if"], match[2], match[3]) for match in _CASE.finditer(body)]


def copied(rows: Sequence[Row]) -> bytes:
    """Rows in the binary format of COPY."""
    data = bytearray(_SIGNATURE)
    for row in rows:
        data += len(row).to_bytes(2, "big")
        for it in row:
            data += (-1 if it is None else len(it)).to_bytes(4, "big", signed=True) + (it or b"")
    return bytes(data + b"\xff\xff")


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of the server that is no answer, as asyncpg hands it to who listens."""

    message: str
    severity_en: str = "WARNING"


class SimulatedConnection:
    """What `asyncpg.connect` returns. What was sent goes on when the connection is gone."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._servers = backend.servers
        self._is_terminated = False
        self._asking: asyncio.Future[Answer] | None = None
        self._listeners: list[Callable[[object, Any], None]] = []

    def add_log_listener(self, listener: Callable[[object, Any], None]) -> None:
        self._listeners.append(listener)

    def get_server_pid(self) -> int:
        return self._backend.pid

    def is_closed(self) -> bool:
        return self._is_terminated or not self._backend.is_alive

    async def execute(self, text: str) -> str:
        return (await self._ask(text)).tag

    async def copy_from_query(
        self, query: str, *, output: Callable[[bytes], Awaitable[None]], **options: str
    ) -> str:
        assert options == {"format": "binary"}, options
        answer = await self._ask(query)
        await output(copied(answer.rows))
        return answer.tag

    def terminate(self) -> None:
        self._is_terminated = True
        if self._asking is not None and not self._asking.done():
            self._asking.set_exception(gone())

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109 (asyncpg names it so)
        self.terminate()

    async def _ask(self, text: str) -> Answer:
        """Sends it, and waits for what the server answers."""
        await self._servers.pause()
        if self.is_closed():
            raise asyncpg.InterfaceError("connection is closed")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # Whoever waits may be gone by then.
        answer.add_done_callback(lambda it: it.cancelled() or it.exception())
        self._asking = answer
        self._servers.run(self._serve(text, answer), f"sql {text[-60:]}")
        found = await answer
        for listener in self._listeners if found.warning else ():
            listener(self, Notice(found.warning))
        return found

    async def _serve(self, text: str, answer: "asyncio.Future[Answer]") -> None:
        try:
            result = await self._backend.run(text)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as why:
            if not answer.done():
                answer.set_exception(why)
            return
        await self._servers.pause()
        if self._servers.chance.random() < self._servers.cuts:
            self.terminate()
        if not answer.done():
            answer.set_result(result)
