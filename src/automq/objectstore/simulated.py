"""A store that fails, is slow, loses answers and lies, as told: for tests and the simulation.

Everything it draws comes from the world's chance and every wait is the event loop's, so a run is
repeated by its seed. A call looks at its faults in the order in which they were injected.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from automq._native import Buf
from automq.objectstore.errors import NotFound, OutcomeUnknown, StoreError, Unavailable
from automq.objectstore.memory import MemoryStore
from automq.objectstore.metrics import READS
from automq.objectstore.settings import BucketSettings
from automq.objectstore.store import ObjectInfo, ObjectStore, Pieces
from automq.world import World

T = TypeVar("T")

WRITES = frozenset({"put", "create", "delete", "copy"})


class Effect(Enum):
    """What a fault does to a call."""

    DELAY = auto()
    """Takes `wait_ms` longer before it has its effect."""
    FAIL = auto()
    """Raises `error` and has no effect."""
    LOSE_ANSWER = auto()
    """Has its effect, and raises OutcomeUnknown."""
    APPLY_LATE = auto()
    """Raises OutcomeUnknown, and has its effect `wait_ms` later."""
    HIDE = auto()
    """A read says that an existing object is not there (stores do so when a quorum is missing)."""
    IGNORE_CONDITION = auto()
    """A create overwrites what is there and says that it won: what a broken store does."""
    HALF = auto()
    """Raises OutcomeUnknown in the middle: of many keys the first half is deleted, of anything else
    nothing is done, for an object is whole or not there."""
    CUT = auto()
    """A read answers with the first half of what was asked for."""
    DAMAGE = auto()
    """A read answers with one byte changed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Which calls are hit, how often, and by what."""

    effect: Effect
    operations: frozenset[str] = READS | WRITES
    key_prefix: str = ""
    times: int | None = 1
    """How many calls are hit; None means until `heal`."""
    probability: float = 1.0
    wait_ms: tuple[float, float] = (0.0, 0.0)
    error: type[StoreError] = Unavailable


class Faulty:
    """Another `ObjectStore`, with faults: of any kind, a real one too.

    What is applied late runs in `tasks`; without them the store must not wait, as in memory.
    """

    def __init__(
        self,
        store: ObjectStore,
        world: World,
        *,
        latency_ms: tuple[float, float] = (0.0, 0.0),
        tasks: asyncio.TaskGroup | None = None,
    ) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every (operation, key) that was asked for, in order."""
        self._store = store
        self._chance = world.chance
        self._latency_ms = latency_ms
        self._faults: list[tuple[Fault, list[int]]] = []
        self._tasks = tasks

    @property
    def name(self) -> str:
        return self._store.name

    def inject(self, fault: Fault) -> None:
        """From now on, hit the calls that `fault` names."""
        self._faults.append((fault, [0]))

    def heal(self) -> None:
        """Forget all faults. What was to be applied late still will be."""
        self._faults.clear()

    async def put(self, key: str, data: Pieces) -> None:
        await self._call("put", key, lambda: self._store.put(key, data))

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        await self._call(
            "create",
            key,
            lambda: self._store.put_if_absent(key, data),
            unconditional=lambda: self._store.put(key, data),
        )

    async def get(self, key: str) -> Buf:
        return await self._call("get", key, lambda: self._store.get(key), spoil=self._spoiled)

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return (await self.get_ranges(key, [(start, end)]))[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        return await self._call(
            "get",
            key,
            lambda: self._store.get_ranges(key, ranges),
            spoil=lambda hits, read: [self._spoiled(hits, piece) for piece in read],
        )

    async def head(self, key: str) -> ObjectInfo:
        return await self._call("head", key, lambda: self._store.head(key))

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        async def all_of_it() -> list[ObjectInfo]:
            return [known async for known in self._store.list(prefix, after=after)]

        for known in await self._call("list", prefix, all_of_it):
            yield known

    async def delete(self, key: str) -> None:
        await self._call("delete", key, lambda: self._store.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> None:
        all_keys = tuple(keys)
        await self._call(
            "delete",
            " ".join(all_keys[:1]),
            lambda: self._store.delete_many(all_keys),
            half=lambda: self._store.delete_many(all_keys[: len(all_keys) // 2]),
        )

    async def copy(self, source: str, target: str) -> None:
        await self._call("copy", source, lambda: self._store.copy(source, target))

    async def settings(self) -> BucketSettings:
        return await self._call("settings", "", self._store.settings)

    async def close(self) -> None:
        await self._store.close()

    async def _call(
        self,
        operation: str,
        key: str,
        effect: Callable[[], Awaitable[T]],
        *,
        unconditional: Callable[[], Awaitable[T]] | None = None,
        half: Callable[[], Awaitable[T]] | None = None,
        spoil: Callable[[Mapping[Effect, Fault], T], T] | None = None,
    ) -> T:
        """Wait, have the effect or not, wait, answer or not. A caller may be cancelled between."""
        self.calls.append((operation, key))
        hits = self._hits(operation, key)
        await self._wait(self._latency_ms)
        if Effect.DELAY in hits:
            await self._wait(hits[Effect.DELAY].wait_ms)
        self._refuse(hits, operation, key, effect)
        if Effect.HALF in hits:
            if half is not None:
                await half()
            raise OutcomeUnknown(operation, self.name, key, "broken off in the middle")
        if Effect.IGNORE_CONDITION in hits and unconditional is not None:
            effect = unconditional
        answer = await effect()
        await self._wait(self._latency_ms)
        if Effect.LOSE_ANSWER in hits:
            raise OutcomeUnknown(operation, self.name, key, "the answer was lost")
        return answer if spoil is None else spoil(hits, answer)

    def _refuse(
        self,
        hits: Mapping[Effect, Fault],
        operation: str,
        key: str,
        effect: Callable[[], Awaitable[object]],
    ) -> None:
        """Raise if the call has no effect, or none yet."""
        if Effect.FAIL in hits:
            raise hits[Effect.FAIL].error(operation, self.name, key, "made to fail")
        if Effect.HIDE in hits and operation in READS:
            raise NotFound(operation, self.name, key, "hidden")
        if Effect.APPLY_LATE in hits:
            wait_s = self._chance.uniform(*hits[Effect.APPLY_LATE].wait_ms) / 1000
            self._apply_late(effect, wait_s)
            raise OutcomeUnknown(operation, self.name, key, "no answer yet")

    def _apply_late(self, effect: Callable[[], Awaitable[object]], wait_s: float) -> None:
        if self._tasks is None:
            asyncio.get_running_loop().call_later(wait_s, _apply_now, effect)
        else:
            self._tasks.create_task(_apply(effect, wait_s), name="applied late")

    def _spoiled(self, hits: Mapping[Effect, Fault], body: Buf) -> Buf:
        if Effect.CUT in hits:
            body = body.slice(0, len(body) // 2)
        if Effect.DAMAGE in hits and len(body):
            damaged = bytearray(body)
            damaged[self._chance.randrange(len(damaged))] ^= 0xFF
            body = Buf(bytes(damaged))
        return body

    def _hits(self, operation: str, key: str) -> dict[Effect, Fault]:
        hits: dict[Effect, Fault] = {}
        for fault, hit_count in self._faults:
            if (
                fault.effect not in hits
                and operation in fault.operations
                and key.startswith(fault.key_prefix)
                and (fault.times is None or hit_count[0] < fault.times)
                and self._chance.random() < fault.probability
            ):
                hit_count[0] += 1
                hits[fault.effect] = fault
        return hits

    async def _wait(self, wait_ms: tuple[float, float]) -> None:
        await asyncio.sleep(self._chance.uniform(*wait_ms) / 1000)


async def _apply(effect: Callable[[], Awaitable[object]], wait_s: float | None) -> None:
    """The effect of a call whose caller has gone: what it would have raised, nobody hears."""
    if wait_s is not None:
        await asyncio.sleep(wait_s)
    with suppress(StoreError):
        await effect()


def _apply_now(effect: Callable[[], Awaitable[object]]) -> None:
    """The same, of a store that never waits."""
    step = _apply(effect, None)
    with suppress(StopIteration):
        step.send(None)
        raise AssertionError("the store waits: late effects need tasks")


class SimulatedStore(Faulty):
    """An `ObjectStore` in memory, with faults. Nodes that share it share this value."""

    def __init__(
        self,
        world: World,
        name: str = "simulated://",
        *,
        latency_ms: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.memory = MemoryStore(world.clock, name)
        super().__init__(self.memory, world, latency_ms=latency_ms)

    async def close(self) -> None:
        """Nothing to let go of: the objects stay with this value, and what comes late comes."""
