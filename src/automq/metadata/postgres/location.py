"""Where the register is: `postgresql://user@host:port,host:port/database?parameter=value`."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from automq.objectstore import BadUri

SCHEME: Final = "postgresql"
PORT: Final = 5432
TABLE: Final = "automq_metadata"
TIMEOUT_MS: Final = 10_000
TLS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")
"""What is handed to the driver as it is, and means what it means to libpq."""

PARAMETERS: Final = ("standby", "table", "timeout_ms", "passfile", "target_session_attrs", *TLS)
EXAMPLE: Final = "postgresql://user@host:5432/database"

_TABLE = re.compile(r"([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}")
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")


class Standby(StrEnum):
    """What may take the server's place."""

    REQUIRED = "required"
    """A synchronous standby: without one nothing is committed."""
    NONE = "none"
    """Nothing that could be behind: a lone server, or one whose disk is mirrored."""
    UNSAID = ""
    """The URI does not say; a lone server is believed, with a warning."""


@dataclass(frozen=True, slots=True)
class Location:
    """One table. `hosts` are the servers of one database cluster; one of them takes writes."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    database: str
    table: str = TABLE
    standby: Standby = Standby.UNSAID
    timeout_ms: int = TIMEOUT_MS
    passfile: str | None = None
    tls: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        hosts = ",".join(host_text(host, port) for host, port in self.hosts)
        return f"{SCHEME}://{self.user}@{hosts}/{self.database} (table {self.table})"


def is_postgres(uri: str) -> bool:
    return uri.startswith(f"{SCHEME}:")


def host_text(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_uri(uri: str) -> Location:
    """The place that `uri` names. Raises BadUri; looks at nothing but the text."""
    try:
        parts = urlsplit(uri)
    except ValueError as why:
        raise BadUri(f"metadata URI: {why}") from None
    user, at, hosts_text = parts.netloc.rpartition("@")
    if ":" in user:
        # Not shown: what stands behind the colon is a secret.
        raise BadUri(
            f"metadata URI {SCHEME}://...: a password does not belong into a URI, which is logged; "
            "set automq.postgres.password, or name a file with passfile="
        )
    shown = f"metadata URI {uri.partition('?')[0]!r}"
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme != SCHEME or not at or not user or not database or "/" in database:
        raise BadUri(f"{shown}: is not like {EXAMPLE}")
    if parts.fragment:
        raise BadUri(f"{shown}: has a '#'; parameters follow a '?'")
    hosts = tuple(_host(shown, text) for text in hosts_text.split(","))
    given = _parameters(shown, parts)
    return Location(
        hosts=hosts,
        user=unquote(user),
        database=database,
        table=_table(shown, given),
        standby=_standby(shown, given, len(hosts)),
        timeout_ms=_timeout_ms(shown, given),
        passfile=given.get("passfile"),
        tls=tuple((name, given[name]) for name in TLS if name in given),
    )


def _host(shown: str, text: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = PORT if match is None or match[3] is None else int(match[3])
    if match is None or not 0 < port < 65_536:
        raise BadUri(f"{shown}: {text!r} is no host and port; write {EXAMPLE}")
    return match[1] or match[2], port


def _parameters(shown: str, parts: SplitResult) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in PARAMETERS:
            # The value is not shown: it may be a password.
            raise BadUri(f"{shown}: unknown parameter {name!r}; known: {', '.join(PARAMETERS)}")
        if name in given:
            raise BadUri(f"{shown}: parameter {name!r} is given twice")
        if not value:
            raise BadUri(f"{shown}: parameter {name!r} is empty")
        given[name] = value
    wanted = given.get("target_session_attrs", "read-write")
    if wanted != "read-write":
        raise BadUri(f"{shown}: target_session_attrs={wanted}: the register writes; read-write")
    return given


def _table(shown: str, given: dict[str, str]) -> str:
    table = given.get("table", TABLE)
    if not _TABLE.fullmatch(table):
        raise BadUri(
            f"{shown}: table={table!r}: small letters, digits and _ make a name, or schema.name"
        )
    return table


def _standby(shown: str, given: dict[str, str], hosts: int) -> Standby:
    said = given.get("standby")
    if said is None:
        return Standby.REQUIRED if hosts > 1 else Standby.UNSAID
    if said not in (Standby.REQUIRED, Standby.NONE):
        raise BadUri(f"{shown}: standby={said!r} is neither required nor none")
    if said == Standby.NONE and hosts > 1:
        raise BadUri(
            f"{shown}: standby=none says that no other server takes over, and {hosts} are named"
        )
    return Standby(said)


def _timeout_ms(shown: str, given: dict[str, str]) -> int:
    text = given.get("timeout_ms", str(TIMEOUT_MS))
    if not text.isascii() or not text.isdigit() or int(text) < 100:
        raise BadUri(f"{shown}: timeout_ms={text!r} is no number of at least 100 milliseconds")
    return int(text)
