"""A WAL in a simulated object store: the store, its homes, an owner and takers."""

import asyncio
import random
from dataclasses import replace

from automq._native import Buf
from automq.objectstore import Retrying
from automq.objectstore.simulated import Effect, Fault, SimulatedStore
from automq.stream.wal import (
    ObjectWal,
    ObjectWals,
    WalEnd,
    WalOptions,
    WalTaker,
)
from automq.stream.wal.object_keys import wal_key
from automq.world import World
from support.loose_tasks import LooseTasks
from support.virtual_time import LoopClock

KIB = 1024
CLUSTER = b"0123456789abcdef"
OPTIONS = WalOptions(batch_bytes=64 * KIB, batch_interval_ms=250, urgent_interval_ms=25)
TAKER = WalTaker(8, 77)
PUT_S = 0.1


class Bench:
    """A store and the homes on it; every create takes 100 ms."""

    def __init__(self, seed: int = 1, *, put_s: float = PUT_S) -> None:
        self.world = World(clock=LoopClock(), chance=random.Random(seed))
        self.store = SimulatedStore(self.world, "sim://wal")
        self.put_s = put_s
        if put_s:
            wait_ms = (put_s * 1000, put_s * 1000)
            self.inject(Effect.DELAY, "create", wait_ms=wait_ms, times=None)

    @property
    def home(self) -> ObjectWals:
        return ObjectWals(Retrying(self.store, self.world), self.world, CLUSTER, LooseTasks())

    def inject(self, effect: Effect, operation: str, key: str = "wal/", **more: object) -> None:
        fault = Fault(effect, frozenset({operation}), key_prefix=key)
        self.store.inject(replace(fault, **more))  # type: ignore[arg-type]

    def key(self, number: int) -> str:
        return wal_key(CLUSTER, 1, number)

    @property
    def numbers(self) -> list[int]:
        """The objects there are, by number."""
        start = wal_key(CLUSTER, 1, 0)[:-16]
        return [int(it.key[-16:], 16) for it in self.store.memory.objects.list(start, None)]

    async def open(self, options: WalOptions = OPTIONS) -> ObjectWal:
        return await self.home.open(wal_id=1, node_id=3, cluster_id=CLUSTER, options=options)

    async def take(
        self, start: int = 0, *, found: list[int] | None = None
    ) -> tuple[list[int], WalEnd]:
        """Fence and read, as a taker does; the offsets found, which `found` has if it raises."""
        offsets = [] if found is None else found
        recovery = self.home.recover(wal_id=1, start=start, cluster_id=CLUSTER, taker=TAKER)
        async for chunk in recovery:
            offsets += [it.base_offset for it in chunk]
        return offsets, recovery.end


def put(wal: ObjectWal, *offsets: int, size_bytes: int = 10) -> int:
    """Append records and hand them to the store; the position behind the last."""
    ends = [wal.append(7, 2, offset, offset, Buf(bytes(size_bytes))) for offset in offsets]
    wal.submit()
    return ends[-1]


async def until_durable(wal: ObjectWal, position: int) -> float:
    """Wait for it; the time when it came."""
    while wal.durable < position and wal.failure is None:  # noqa: ASYNC110 (virtual time)
        await asyncio.sleep(0.001)
    return asyncio.get_running_loop().time()


def now() -> float:
    return asyncio.get_running_loop().time()
