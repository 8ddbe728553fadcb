"""A PostgreSQL with its synchronous standby, in memory: for tests and the simulation.

What is modelled is what the register's promises hang on. Statements go on when their session is
gone. A commit is on the server's disk before its standby has it, and is seen after that, or when
its wait is ended; a crash ends all waits. A standby that takes over has what it was sent, and the
server that it replaced may go on answering. Every draw comes from the chance handed in, every wait
is the event loop's.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from automq.metadata.postgres.links import Server, Session
from automq.metadata.register import Unsettled
from automq.objectstore import ObjectInfo

LOCK_S = 1.0
"""How long a statement waits for another's transaction."""

POLL_S = 0.01
IN_MEMORY = -1
OLD_FIRST = 0.3
"""How often, of 1, a new session finds a server that was replaced and still answers."""


class Spawn(Protocol):
    """Begins what belongs to the servers, and goes on without who asked for it."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str, /) -> object: ...


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

    def replay(self) -> None:
        """See all that the log holds, and nothing else."""
        self.rows = {}
        self.locked = {}
        for change in self.log:
            apply(self.rows, change)


class SimulatedPostgres:
    """The servers. `created` is what was created first under each key, once it is safe."""

    def __init__(
        self, chance: random.Random, spawn: Spawn, *, latency_ms: float = 2.0, locks: bool = True
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

    async def connect(self) -> Session:
        """A session to a server that takes writes, and not always to the newest. A `Connect`."""
        await self.pause()
        if self._is_away:
            raise Unsettled("connection refused")
        machine = self.newest
        if self.replaced and self.chance.random() < OLD_FIRST:
            machine = self.chance.choice(self.replaced)
        return SimulatedSession(self, machine)

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
            apply(machine.rows, machine.log[position])

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
            if change.data is not None:
                self.created.setdefault(change.key, change.data)
        machine.sent = len(machine.log)

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._spawn(work, name)


def apply(rows: dict[str, bytes], change: Change) -> None:
    if change.data is not None:
        rows[change.key] = change.data
    else:
        rows.pop(change.key, None)


class SimulatedSession:
    """One connection. What it has sent goes on when it is gone."""

    def __init__(self, postgres: SimulatedPostgres, machine: Machine) -> None:
        self.server = Server("simulated", machine.timeline)
        self._postgres = postgres
        self._machine = machine
        self._life = machine.life
        self._is_aborted = False
        self._asking: asyncio.Future[Any] | None = None

    @property
    def is_open(self) -> bool:
        return not self._is_aborted and self._life == self._machine.life

    async def insert(self, key: str, data: bytes) -> bool:
        return bool(await self._ask(lambda: self._insert(key, data), f"insert {key}"))

    async def select(self, key: str) -> bytes | None:
        found: bytes | None = await self._ask(lambda: self._select(key), f"select {key}")
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._ask(lambda key=key: self._delete(key), f"delete {key}")  # type: ignore[misc]

    async def page(self, prefix: str, after: str, keys_max: int) -> list[ObjectInfo]:
        await self._postgres.pause()
        rows = self._machine.rows
        keys = sorted(key for key in rows if key.startswith(prefix) and key > after)
        return [ObjectInfo(key, len(rows[key]), 0) for key in keys[:keys_max]]

    def abort(self) -> None:
        self._is_aborted = True
        if self._asking is not None and not self._asking.done():
            self._asking.set_exception(Unsettled("the connection was closed"))

    async def close(self) -> None:
        self.abort()

    async def _ask(self, statement: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Any:
        """Sends it, and waits for what the server answers."""
        await self._postgres.pause()
        if not self.is_open:
            raise Unsettled("the connection is closed")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Whoever waits may be gone by then.
        answer.add_done_callback(lambda it: it.cancelled() or it.exception())
        self._asking = answer

        async def serve() -> None:
            try:
                result = await statement()
            except Unsettled as why:
                if not answer.done():
                    answer.set_exception(why)
                return
            await self._postgres.pause()
            if self._postgres.chance.random() < self._postgres.cuts:
                self.abort()
            if not answer.done():
                answer.set_result(result)

        self._postgres.run(serve(), name)
        return await answer

    # At the server

    async def _insert(self, key: str, data: bytes) -> bool:
        machine = self._machine
        await self._free(key)
        if key in machine.rows:
            await self._commit(Change())
            return False
        machine.locked[key] = IN_MEMORY
        await self._postgres.pause()
        self._check()
        await self._commit(Change(key, data))
        return True

    async def _select(self, key: str) -> bytes | None:
        found = self._machine.rows.get(key)
        if found is not None:
            await self._commit(Change())
        return found

    async def _delete(self, key: str) -> None:
        await self._free(key)
        if key in self._machine.rows:
            await self._commit(Change(key))

    async def _free(self, key: str) -> None:
        """Waits for the transaction that is at the key."""
        deadline_s = asyncio.get_running_loop().time() + LOCK_S
        while key in self._machine.locked:
            await asyncio.sleep(POLL_S)
            self._check()
            if asyncio.get_running_loop().time() > deadline_s:
                raise Unsettled("canceling statement due to lock timeout")

    async def _commit(self, change: Change) -> None:
        """On the disk, then at the standby, then seen; answered after that."""
        machine = self._machine
        if not change.key and not self._postgres.locks:
            return
        position = len(machine.log)
        machine.log.append(change)
        if change.key:
            machine.locked[change.key] = position
        while machine.sent <= position:
            await self._postgres.pause()
            self._check()
            if machine.has_standby:
                self._postgres.send(machine)
            else:
                await asyncio.sleep(POLL_S)
        if not change.key:
            return
        self._check()
        if machine.locked.get(change.key) != position:
            raise Unsettled("it warns: canceling wait for synchronous replication")
        del machine.locked[change.key]
        apply(machine.rows, change)

    def _check(self) -> None:
        if self._life != self._machine.life:
            raise Unsettled("server closed the connection unexpectedly")
