"""A PostgreSQL with its synchronous standby, in memory: for tests and the simulation.

What is modelled is what the register's promises hang on. Statements go on when their session is
gone. A commit is on the server's disk before its standby has it, and is seen after that, or when
its wait is ended; a crash ends all waits. A standby that takes over has what it was sent, and the
server that it replaced may go on answering. Every draw comes from the chance handed in, every wait
is the event loop's.

It is asked as a real one is, by the sessions of `sessions` over what `asyncpg.connect` returns
there (`SimulatedConnection`); `simulated_backend` reads the SQL.
"""

import asyncio
import random
import re
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from automq.metadata.postgres.links import Judge
from automq.metadata.postgres.location import Location, parse_uri
from automq.metadata.postgres.sessions import AsyncpgSession, Connector
from automq.metadata.postgres.simulated_backend import (
    IN_MEMORY,
    TABLE,
    Backend,
    Machine,
    SimulatedConnection,
)

HOSTS: Final = ("db-1", "db-2")
URI: Final = f"postgresql://automq@{','.join(HOSTS)}/automq?timeout_ms=3000"
LONE_URIS: Final = (
    "postgresql://automq@db-1/automq?timeout_ms=3000&standby=none",
    "postgresql://automq@db-1/automq?timeout_ms=3000",
)
"""One server, of which the second says nothing about a standby. For it there is none."""
OLD_FIRST: Final = 0.3
"""How often, of 1, who asks a server that was replaced and still answers gets through to it."""

_HOST = re.compile(r"@(db-[12])[:/]")


class Spawn(Protocol):
    """Begins what belongs to the servers, and goes on without who asked for it."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str, /) -> object: ...


class SimulatedPostgres:
    """The servers. `created` is what was created first under each key, once it is safe."""

    def __init__(
        self,
        chance: random.Random,
        spawn: Spawn,
        *,
        latency_ms: float = 2.0,
        locks: bool = True,
        uri: str = URI,
    ) -> None:
        self.created: dict[str, bytes] = {}
        self.newest = Machine(timeline=1)
        self.replaced: list[Machine] = []
        """Those that still answer, though another has taken over."""
        self.chance = chance
        self.cuts = 0.0
        """How often, of 1, a connection breaks right before an answer."""
        self.locks = locks
        """False: losing and reading commit nothing, as without the lock; for tests of the tests."""
        self._spawn = spawn
        self._latency_ms = latency_ms
        self._is_away = False
        self._pids = 0
        self.location: Location = parse_uri(uri)

    @property
    def is_lone(self) -> bool:
        """Whether there is one server, whose commits wait for its own disk alone."""
        return len(self.location.hosts) == 1

    async def connect(self, judge: Judge = lambda _: None) -> AsyncpgSession:
        """A session to a server that takes writes, and not always to the newest. A `Connect`."""
        return await Connector(self.location, None, connect=self.dial).open(judge)

    async def dial(self, dsn: str, **options: Any) -> SimulatedConnection:
        """What `asyncpg.connect` does. Raises ConnectionRefusedError."""
        await self.pause()
        host = _HOST.search(dsn)
        assert host is not None, dsn
        backend = None if self._is_away else self._backend(HOSTS.index(host[1]))
        if backend is None:
            raise ConnectionRefusedError(f"nobody listens at {host[1]}")
        return SimulatedConnection(backend)

    async def session_to(self, machine: Machine) -> AsyncpgSession:
        """A session to just this server, which need not be the one that takes writes."""

        async def dial(dsn: str, **options: Any) -> SimulatedConnection:
            return SimulatedConnection(self._backend_on(machine))

        return await Connector(self.location, None, connect=dial).open()

    def _backend(self, place: int) -> Backend | None:
        """Who answers at one of the two hosts: each is the standby of the server at the other."""
        for machine in self.replaced:
            if machine.place == place and self.chance.random() < OLD_FIRST:
                return self._backend_on(machine)
        if self.newest.place == place:
            return self._backend_on(self.newest)
        if self.newest.has_standby and not self.is_lone:
            return self._backend_on(self.newest, is_standby=True)
        return None

    def _backend_on(self, machine: Machine, *, is_standby: bool = False) -> Backend:
        self._pids += 1
        return Backend(self, machine, self._pids, is_standby=is_standby)

    # -- what goes wrong

    def crash(self) -> None:
        """The newest server dies and is started again: what is on its disk is seen, whether its
        standby has it or not."""
        self.newest.life += 1
        self.newest.replay()

    def end_waits(self) -> None:
        """Somebody ends the waits for the standby: the same, but sessions go on."""
        machine = self.newest
        on_disk = {key: at for key, at in machine.locked.items() if at != IN_MEMORY}
        for key, position in on_disk.items():
            del machine.locked[key]
            machine.apply(machine.log[position])

    def lose_standby(self) -> None:
        """Commits wait until it is back."""
        self.newest.has_standby = False

    def regain_standby(self) -> None:
        self.newest.has_standby = True

    def go_away(self) -> None:
        """No new sessions, and the old ones break."""
        self._is_away = True
        self.newest.life += 1

    def come_back(self) -> None:
        if self._is_away:
            self.crash()
            self._is_away = False

    def fail_over(self, *, old_answers: bool) -> None:
        """The standby takes over with what it was sent."""
        old = self.newest
        old.has_standby = False
        self.newest = Machine(old.timeline + 1, old.log[: old.sent], old.sent)
        self.newest.replay()
        if old_answers:
            self.replaced.append(old)
        else:
            old.life += 1

    def bury_replaced(self) -> None:
        """Those that were replaced answer no more."""
        for machine in self.replaced:
            machine.life += 1
        self.replaced.clear()

    # -- what sessions use

    async def pause(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, self._latency_ms) / 1000)

    def send(self, machine: Machine) -> None:
        """The standby has all of the log."""
        for change in machine.log[machine.sent :]:
            if change.data is not None and change.key != TABLE:
                self.created.setdefault(change.key, change.data)
        machine.sent = len(machine.log)

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._spawn(work, name)
