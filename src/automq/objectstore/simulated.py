"""A store that fails, is slow, loses answers and lies, as told: for tests and the simulation.

Everything it draws comes from the world's chance and every wait is the event loop's, so a run is
repeated by its seed. A call looks at its faults in the order in which they were injected.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from automq._native import Buf
from automq.objectstore.errors import NotFound, OutcomeUnknown, StoreError, Unavailable
from automq.objectstore.memory import Objects
from automq.objectstore.store import ObjectInfo, Pieces
from automq.world import World

T = TypeVar("T")

READS = frozenset({"get", "head", "list"})
WRITES = frozenset({"put", "create", "delete"})


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


class SimulatedStore:
    """An `ObjectStore` in memory, with faults. Nodes that share it share this value."""

    def __init__(
        self,
        world: World,
        name: str = "simulated://",
        *,
        latency_ms: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every (operation, key) that was asked for, in order."""
        self._name = name
        self._chance = world.chance
        self._latency_ms = latency_ms
        self._objects = Objects(world.clock, name)
        self._faults: list[tuple[Fault, list[int]]] = []

    @property
    def name(self) -> str:
        return self._name

    def inject(self, fault: Fault) -> None:
        """From now on, hit the calls that `fault` names."""
        self._faults.append((fault, [0]))

    def heal(self) -> None:
        """Forget all faults. What was to be applied late still will be."""
        self._faults.clear()

    async def put(self, key: str, data: Pieces) -> None:
        await self._call("put", key, lambda: self._objects.put(key, data))

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        await self._call(
            "create",
            key,
            lambda: self._objects.create(key, data),
            unconditional=lambda: self._objects.put(key, data),
        )

    async def get(self, key: str) -> Buf:
        return await self._call("get", key, lambda: self._objects.get(key))

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return (await self.get_ranges(key, [(start, end)]))[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        return await self._call("get", key, lambda: self._objects.get_ranges(key, ranges))

    async def head(self, key: str) -> ObjectInfo:
        return await self._call("head", key, lambda: self._objects.head(key))

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        for known in await self._call("list", prefix, lambda: self._objects.list(prefix, after)):
            yield known

    async def delete(self, key: str) -> None:
        await self._call("delete", key, lambda: self._objects.delete([key]))

    async def delete_many(self, keys: Iterable[str]) -> None:
        all_keys = tuple(keys)
        await self._call("delete", " ".join(all_keys[:1]), lambda: self._objects.delete(all_keys))

    async def close(self) -> None:
        """Nothing to let go of: the objects stay with this value."""

    async def _call(
        self,
        operation: str,
        key: str,
        effect: Callable[[], T],
        *,
        unconditional: Callable[[], T] | None = None,
    ) -> T:
        """Wait, have the effect or not, wait, answer or not. A caller may be cancelled between."""
        self.calls.append((operation, key))
        hits = self._hits(operation, key)
        await self._wait(self._latency_ms)
        if Effect.DELAY in hits:
            await self._wait(hits[Effect.DELAY].wait_ms)
        self._refuse(hits, operation, key, effect)
        if Effect.IGNORE_CONDITION in hits and unconditional is not None:
            effect = unconditional
        answer = effect()
        await self._wait(self._latency_ms)
        if Effect.LOSE_ANSWER in hits:
            raise OutcomeUnknown(operation, self._name, key, "the answer was lost")
        return answer

    def _refuse(
        self, hits: dict[Effect, Fault], operation: str, key: str, effect: Callable[[], object]
    ) -> None:
        """Raise if the call has no effect, or none yet."""
        if Effect.FAIL in hits:
            raise hits[Effect.FAIL].error(operation, self._name, key, "made to fail")
        if Effect.HIDE in hits and operation in READS:
            raise NotFound(operation, self._name, key, "hidden")
        if Effect.APPLY_LATE in hits:
            wait_s = self._chance.uniform(*hits[Effect.APPLY_LATE].wait_ms) / 1000
            asyncio.get_running_loop().call_later(wait_s, _apply, effect)
            raise OutcomeUnknown(operation, self._name, key, "no answer yet")

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


def _apply(effect: Callable[[], object]) -> None:
    """The effect of a call whose caller has gone: what it would have raised, nobody hears."""
    try:
        effect()
    except StoreError:
        return
