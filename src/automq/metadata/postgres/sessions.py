"""Sessions to a real server, by asyncpg: the extra `automq[postgres]`."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from automq.metadata.postgres.copying import rows_of
from automq.metadata.postgres.links import Judge, Links, Server, Session
from automq.metadata.postgres.location import Location, Standby, host_text
from automq.metadata.postgres.register import PostgresRegister
from automq.metadata.postgres.statements import STANDBY, UNFIT, Statements
from automq.metadata.register import Unfit, Unsafe, Unsettled
from automq.objectstore import ObjectInfo
from automq.world import Clock

T = TypeVar("T")

log = logging.getLogger(__name__)

CLOSE_S: Final = 1.0
UNLOGGED: Final = "u"

_REFUSALS: Final = ("28", "3D", "42")
"""Classes of SQLSTATE that an operator has to do something about: who asks, for what, may he."""

_UNDEFINED_TABLE: Final = "42P01"
_MADE_MEANWHILE: Final = ("23505", "42P07")
_MAY_NOT: Final = "42501"


Dial = Callable[..., Awaitable[Any]]
"""What `asyncpg.connect` does: the way to a server is handed in where there is no network."""


def open_register(
    location: Location, password: str | None, clock: Clock, *, connect: Dial | None = None
) -> PostgresRegister:
    """The register at a place; connects when it is first asked. Raises Unfit without asyncpg."""
    connector = Connector(location, password, connect=connect)
    return PostgresRegister(Links(connector, clock, location.timeout_ms))


class Connector:
    """Finds, among the hosts of a location, the one that takes writes. A `Connect`.

    `warns`: it says once in the log that a lone server is believed.
    """

    def __init__(
        self,
        location: Location,
        password: str | None,
        *,
        connect: Dial | None = None,
        warns: bool = True,
    ) -> None:
        try:
            import asyncpg
        except ImportError:
            raise Unfit(
                "the metadata URI names PostgreSQL, and asyncpg is not installed; install "
                "'automq[postgres]'"
            ) from None
        self._connect: Dial = asyncpg.connect if connect is None else connect
        self._location = location
        self._password = password
        self._statements = Statements(
            location.table,
            with_standby=location.standby is Standby.REQUIRED,
            lock_timeout_ms=max(1, location.timeout_ms // 2),
        )
        self._has_warned = not warns

    async def __call__(self, judge: Judge) -> Session:
        return await self.open(judge)

    async def open(self, judge: Judge = lambda _: None) -> "AsyncpgSession":
        """Raises Unsettled; Unfit if no host can be used, Unsafe if one answers.

        That all of several are standbys is settled by the takeover that is under way.
        """
        refused: list[str] = []
        is_for_good, is_unsafe = True, False
        for host, port in self._location.hosts:
            try:
                return await self._open(host, port, judge)
            except Unsettled as why:
                refused.append(f"{host_text(host, port)}: {why}")
                is_for_good &= isinstance(why, Unfit) and not self._may_take_over(why)
                is_unsafe |= isinstance(why, Unsafe)
        text = f"PostgreSQL at {'; '.join(refused)}"
        if not is_for_good:
            raise Unsettled(text)
        raise Unsafe(text) if is_unsafe else Unfit(text)

    def _may_take_over(self, why: Unsettled) -> bool:
        return isinstance(why, StandsBy) and len(self._location.hosts) > 1

    async def _open(self, host: str, port: int, judge: Judge) -> "AsyncpgSession":
        where = self._location
        dsn = f"postgresql://{quote(where.user, safe='')}@{host_text(host, port)}/"
        with our_words():
            # Not by `answered`: whoever stops waiting here leaves no connection behind.
            connection = await self._connect(
                f"{dsn}{quote(where.database, safe='')}?{urlencode(where.tls)}".rstrip("?"),
                password=self._password,
                passfile=where.passfile,
                timeout=where.timeout_ms / 1000,
                # Poolers that share sessions know no prepared statements; nothing here makes any.
                statement_cache_size=0,
                server_settings={"application_name": "automq"},
            )
        session = AsyncpgSession(connection, self._statements)
        deadline = asyncio.get_running_loop().call_later(where.timeout_ms / 1000, session.abort)
        try:
            await self._check(session)
            judge(session.server)
        except BaseException:
            session.abort()
            raise
        finally:
            deadline.cancel()
        return session

    async def _check(self, session: "AsyncpgSession") -> None:
        """Refuses a server that would lose commits, and a pooler where servers may change."""
        standby_names, persistence = await session.introduce()
        standby = self._location.standby
        if persistence == UNLOGGED:
            raise Unsafe(f"the table {self._location.table} is unlogged: a crash would empty it")
        if session.is_pooled and standby is Standby.REQUIRED:
            raise Unsafe(
                "a pooler stands between, which may lead to another server at any time; name the "
                "servers themselves"
            )
        if standby is Standby.UNSAID and not standby_names and not self._has_warned:
            self._has_warned = True
            log.warning(
                "the metadata lie on one PostgreSQL server without a synchronous standby: do not "
                "fail over to another one, it may lack commits; say standby=none in "
                "automq.metadata.uri if none ever takes over, or standby=required"
            )


class AsyncpgSession:
    """One connection, and what asyncpg raises in our words."""

    def __init__(self, connection: Any, statements: Statements) -> None:
        self._connection = connection
        self._sql = statements
        self._warning = ""
        self.server = Server("", 0)
        self.is_pooled = False
        connection.add_log_listener(self._hear)

    @property
    def is_open(self) -> bool:
        return not self._connection.is_closed()

    async def introduce(self) -> tuple[str, str]:
        """Learns which server this is; its synchronous standbys, and the kind of our table."""
        if self._sql.with_standby:
            await self._execute(self._sql.session())
        await self._execute(self._sql.guard())
        (row,) = await self._rows(self._sql.identity())
        pid, system_id, timeline, standby_names, persistence = (
            str(it or b"", "utf-8") for it in row
        )
        self.is_pooled = int(pid) != self._connection.get_server_pid()
        self.server = Server(system_id, int(timeline, 16))
        return standby_names, persistence

    async def insert(self, key: str, data: bytes) -> bool:
        text = self._sql.insert(key, data)
        try:
            return await self._inserts(text)
        except NoTable:
            await self._make_table()
            return await self._inserts(text)

    async def select(self, key: str) -> bytes | None:
        try:
            rows = await self._rows(self._sql.select(key))
        except NoTable:
            return None
        return rows[0][0] if rows else None

    async def delete(self, keys: Sequence[str]) -> None:
        try:
            await self._execute(self._sql.delete(keys))
        except NoTable:
            return

    async def page(self, prefix: str, after: str, keys_max: int) -> list[ObjectInfo]:
        try:
            rows = await self._rows(self._sql.page(prefix, after, keys_max))
        except NoTable:
            return []
        texts = [[str(it, "utf-8") for it in row if it is not None] for row in rows]
        return [ObjectInfo(key, int(size), int(made_ms)) for key, size, made_ms in texts]

    async def drop_if_empty(self) -> None:
        """Take the table away unless it holds something."""
        await self._execute(self._sql.drop_if_empty())

    def abort(self) -> None:
        self._connection.terminate()

    async def close(self) -> None:
        try:
            await answered(self._connection.close(timeout=CLOSE_S))
        except (Unsettled, OSError):
            # It was to end, and it has.
            self.abort()

    async def _inserts(self, text: str) -> bool:
        return await self._execute(text) == "INSERT 0 1"

    async def _make_table(self) -> None:
        try:
            await self._execute(self._sql.make())
        except Unsettled as why:
            code = state_of(why)
            if code in _MADE_MEANWHILE:
                return
            if code != _MAY_NOT:
                raise
            raise Unfit(
                f"may not make the table {self._sql.table} ({why}); let its owner run: "
                f"{self._sql.make()}, and grant SELECT, INSERT, UPDATE, DELETE on it"
            ) from why

    async def _rows(self, query: str) -> "list[tuple[bytes | None, ...]]":
        # COPY is the one way in which asyncpg reads without a prepared statement.
        read = bytearray()

        async def keep(data: bytes) -> None:
            read.extend(data)

        await self._ask(self._connection.copy_from_query(query, output=keep, format="binary"))
        return rows_of(bytes(read))

    async def _execute(self, text: str) -> str:
        return await self._ask(self._connection.execute(text))

    async def _ask(self, asking: Awaitable[T]) -> T:
        """Invariant: an answer with a warning is none. A commit whose wait for the standby was
        ended by somebody is answered as any other, with a warning that it may not be there."""
        self._warning = ""
        answer = await answered(asking)
        if self._warning:
            raise Unsettled(f"it warns: {self._warning}")
        return answer

    def _hear(self, _: object, message: Any) -> None:
        if message.severity_en == "WARNING":
            self._warning = message.message


class StandsBy(Unsafe):
    """Another server takes the writes, or none yet."""


class NoTable(Unsettled):
    """The table was not made yet: nobody ever created a key."""


async def answered(asking: Awaitable[T]) -> T:
    """What the server answers to a statement. Raises Unsettled, Unfit.

    It goes on when its caller is cancelled: asyncpg would cancel the statement at the server, which
    ends the wait of a commit for its standby and makes seen what no standby has. The connection is
    dropped instead, by the caller.
    """
    outcome = await asyncio.shield(_outcome(asking))
    if isinstance(outcome, _Failed):
        with our_words():
            raise outcome.why
    return outcome


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a statement raised; a value, because perhaps nobody waits for it any more."""

    why: Exception


async def _outcome(asking: Awaitable[T]) -> T | _Failed:
    try:
        return await asking
    except Exception as why:
        return _Failed(why)


@contextmanager
def our_words() -> Iterator[None]:
    """What is raised by asyncpg, raised as Unsettled or Unfit."""
    try:
        yield
    except ssl.SSLError as why:
        raise Unfit(f"TLS: {why}") from why
    except OSError as why:
        raise Unsettled(f"{type(why).__name__}: {why}") from why
    except database_errors() as why:
        raise told(why) from why


def database_errors() -> tuple[type[Exception], ...]:
    """What asyncpg raises."""
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def told(why: Exception) -> Unsettled:
    """An error of asyncpg as what it means to who asked."""
    code: str = getattr(why, "sqlstate", None) or ""
    text = str(why) or type(why).__name__
    if code == STANDBY:
        return StandsBy(text)
    if code == UNFIT:
        return Unsafe(text)
    if code == _UNDEFINED_TABLE:
        return NoTable(text)
    if code.startswith(_REFUSALS) or isinstance(why, ValueError):
        # A ValueError is of asyncpg's own checks: certificates and keys that cannot be used.
        return Unfit(text)
    return Unsettled(text)


def state_of(why: BaseException) -> str:
    """The SQLSTATE of what an error of ours came from."""
    return getattr(why.__cause__, "sqlstate", None) or ""
