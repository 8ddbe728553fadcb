"""A few sessions to one server, and the rule by which an answer of one counts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from automq.metadata.register import Unfit, Unsettled
from automq.objectstore import ObjectInfo
from automq.world import Clock

T = TypeVar("T")

LINKS_MAX: Final = 4
"""Sessions at once: more only queue at the one disk that a commit waits for."""

IDLE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Server:
    """One history of one database cluster. A standby that takes over begins the next timeline."""

    system_id: str
    timeline: int


class Session(Protocol):
    """A connection to one server. Each call is one transaction, attempted once.

    Raises Unsettled, and then is of no more use. Nothing here is ever cancelled at the server.
    """

    @property
    def server(self) -> Server: ...

    @property
    def is_open(self) -> bool: ...

    async def insert(self, key: str, data: bytes) -> bool:
        """Whether the row is this call's; either answer is as durable as a commit."""
        ...

    async def select(self, key: str) -> bytes | None: ...

    async def delete(self, keys: Sequence[str]) -> None: ...

    async def page(self, prefix: str, after: str, keys_max: int) -> list[ObjectInfo]: ...

    def abort(self) -> None:
        """Drop the connection. What was sent goes on at the server."""
        ...

    async def close(self) -> None: ...


Judge = Callable[[Server], None]
"""Raises Unsettled for a server that was replaced, Unfit for one of another database cluster."""

Connect = Callable[[Judge], Awaitable[Session]]
"""A session to the server that takes writes, and that the judge lets pass: where a server that was
replaced still answers, and is named first, the next one is asked. Raises Unsettled, Unfit.
"""


class Links:
    """Sessions that are kept, at most LINKS_MAX, all to one server and one history.

    Invariant: an answer counts only if no newer history has been met when it arrives. So what is
    read comes from where the last create was settled, or from later: a server that was replaced and
    does not know it settles no create (its standby has left it), and its reads are not asked for.
    """

    def __init__(self, connect: Connect, clock: Clock, timeout_ms: int) -> None:
        self._connect = connect
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._room = asyncio.Semaphore(LINKS_MAX)
        self._idle: list[tuple[Session, float]] = []
        self._server: Server | None = None

    async def ask(self, question: Callable[[Session], Awaitable[T]]) -> T:
        """The answer of one session within the deadline. Raises Unsettled."""
        async with self._room:
            session = self._idle_session() or await self._new_session()
            deadline = asyncio.get_running_loop().call_later(self._timeout_ms / 1000, session.abort)
            try:
                answer = await question(session)
            except BaseException:
                session.abort()
                raise
            finally:
                deadline.cancel()
            if session.server != self._server:
                session.abort()
                raise Unsettled("another server has taken over meanwhile")
            await self._keep(session)
            return answer

    async def close(self) -> None:
        """End the sessions that nobody uses."""
        while self._idle:
            await self._idle.pop()[0].close()

    def _idle_session(self) -> Session | None:
        while self._idle:
            session, _ = self._idle.pop()
            if session.is_open:
                return session
        return None

    async def _keep(self, session: Session) -> None:
        now_ms = self._clock.monotonic_ms()
        self._idle.append((session, now_ms))
        # The newest is used first, so the oldest tells whether there are too many.
        while self._idle[0][1] < now_ms - IDLE_MS:
            await self._idle.pop(0)[0].close()

    async def _new_session(self) -> Session:
        session = await self._connect(self._judge)
        try:
            self._admit(session.server)
        except Unsettled:
            session.abort()
            raise
        return session

    def _admit(self, server: Server) -> None:
        """Let it pass, and none before it from now on."""
        self._judge(server)
        if server != self._server:
            self._server = server
            for session, _ in self._idle:
                session.abort()
            self._idle.clear()

    def _judge(self, server: Server) -> None:
        known = self._server
        if known is not None and server.system_id != known.system_id:
            raise Unfit(
                f"this is the database cluster {server.system_id}, and the one before was "
                f"{known.system_id}: a register lies on one"
            )
        if known is not None and server.timeline < known.timeline:
            raise Unsettled(
                f"this server has timeline {server.timeline}, and {known.timeline} was met before: "
                "it was replaced"
            )
