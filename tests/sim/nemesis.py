"""What goes wrong: which kinds of trouble a seed has, and when each strikes."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

from automq.objectstore.errors import StoreError, Throttled, TryAgain, Unavailable
from automq.objectstore.simulated import Effect, Fault
from automq.stream.wal import SimulatedDisk
from automq.stream.wal.simulated import _Entry
from sim.nemesis_wide import WideTroubles
from sim.net import Net
from sim.node import Node
from sim.wide import is_wide
from sim.workload import Shop

Trouble = Callable[[], Awaitable[None]]

REASONS_OF_DISK = ("write-ahead log failed", "disk is attached", "simulated disk")
REASONS_OF_DAMAGE = (
    "the checksum over its",
    "bytes are less than",
    "not the part of",
    "does not read back as written",
)
HOUR_MS = 3_600_000


class Nemesis:
    """Strikes again and again until `heal`. Each seed has its own few kinds of trouble."""

    def __init__(
        self, node: Node, net: Net, shop: Shop, seed: int, without: Collection[str] = ()
    ) -> None:
        self._node = node
        self._net = net
        self._shop = shop
        self._chance = random.Random(f"{seed} nemesis")
        kinds: dict[str, Trouble] = {
            "crash": self._crash,
            "crash at start": self._crash_at_start,
            "clean restart": self._restart,
            "pause": self._pause,
            "pause and replace": self._pause_and_replace,
            "replace": self._replace,
            "store errors": self._store_errors,
            "store outage": self._store_outage,
            "store is slow": self._store_is_slow,
            "store hides": self._store_hides,
            "store hides the WAL": self._store_hides_the_wal,
            "late writes": self._late_writes,
            "store damages data": self._store_damages_data,
            "store damages metadata": self._store_damages_metadata,
            "three at once": self._three_at_once,
            "disk is slow": self._disk_is_slow,
            "disk is full": self._disk_is_full,
            "disk fails": self._disk_fails,
            "disk is damaged": self._disk_is_damaged,
            "disk is missing": self._disk_is_missing,
            "broken connections": self._break_connections,
            "slow network": self._slow_network,
            "clock": self._set_clock,
        }
        if is_wide(seed):
            kinds |= WideTroubles(node, self._chance).kinds
        names = sorted(kinds)
        count = self._chance.randint(1, len(names))
        drawn = sorted(self._chance.sample(names, count))
        self.names = [name for name in drawn if name not in without]
        self._kinds = [kinds[name] for name in self.names]
        self._mean_s = self._chance.choice([0.5, 2.0, 5.0])

    async def run(self) -> None:
        """Until cancelled; `heal` then undoes what lasts."""
        while self._kinds:
            await asyncio.sleep(self._chance.expovariate(1 / self._mean_s))
            number = self._chance.randrange(len(self._kinds))
            self._node.trace.note("nemesis", self.names[number])
            await self._kinds[number]()

    def heal(self) -> None:
        """From now on everything works."""
        node = self._node
        node.store.heal()
        node.store._latency_ms = (0.5, 20.0)
        node.disk.full = node.disk.failing = False
        node.disk.sync_ms_max = 5.0
        self._net.weather.delay_ms = (0.05, 1.0)
        for incarnation in node.incarnations:
            node.loop.resume(incarnation.process)
        node.trace.note("nemesis", "heals")
        if not node.newest.is_alive:
            node.start()

    # -- processes

    async def _crash(self) -> None:
        self._node.crash(self._node.newest)
        await self._some_time(2)
        self._node.start()

    async def _crash_at_start(self) -> None:
        """It dies again and again while it starts."""
        for _ in range(self._chance.randint(1, 4)):
            self._node.crash(self._node.newest)
            self._node.start()
            await self._some_time(self._chance.choice([0.01, 0.1, 1.0]))

    async def _restart(self) -> None:
        """An operator who has patience, and one who has not."""
        victim = self._node.newest
        self._node.stop(victim)
        try:
            async with asyncio.timeout(self._chance.choice([1, 10, 60])):
                await victim.ended.wait()
        except TimeoutError:
            self._node.crash(victim)
        self._node.start()

    async def _pause(self) -> None:
        victim = self._node.newest
        self._node.trace.note("operator", f"pauses {victim}")
        self._node.loop.pause(victim.process)
        await self._some_time(self._chance.choice([1, 10, 120]))
        self._node.trace.note("operator", f"resumes {victim}")
        self._node.loop.resume(victim.process)

    async def _pause_and_replace(self) -> None:
        """The old one stands still, a new one takes its place, the old one wakes up."""
        victim = self._node.newest
        self._node.loop.pause(victim.process)
        self._node.trace.note("operator", f"pauses {victim}")
        await self._some_time(self._chance.choice([0.1, 5]))
        self._node.start()
        await self._some_time(self._chance.choice([0.05, 1, 30, 200]))
        self._node.trace.note("operator", f"resumes {victim}")
        self._node.loop.resume(victim.process)

    async def _replace(self) -> None:
        """A new one is started while the old one works, and the disk is taken from it."""
        self._node.start()
        await self._some_time(1)

    async def _three_at_once(self) -> None:
        """Two older ones stand still while a third serves, and wake up one after the other."""
        older = []
        for _ in range(2):
            victim = self._node.newest
            self._node.loop.pause(victim.process)
            self._node.trace.note("operator", f"pauses {victim}")
            older.append(victim)
            self._node.start()
            await self._some_time(self._chance.choice([0.05, 1, 5]))
        self._chance.shuffle(older)
        for victim in older:
            self._node.trace.note("operator", f"resumes {victim}")
            self._node.loop.resume(victim.process)
            await self._some_time(self._chance.choice([0.01, 1]))

    # -- the store

    async def _store_errors(self) -> None:
        kinds: list[type[StoreError]] = [Unavailable, Throttled, TryAgain]
        error = self._chance.choice(kinds)
        self._inject(Effect.FAIL, probability=self._chance.choice([0.05, 0.5]), error=error)
        self._inject(Effect.LOSE_ANSWER, probability=self._chance.choice([0.0, 0.2]))
        await self._while_it_lasts()

    async def _store_outage(self) -> None:
        self._node.store.inject(Fault(Effect.FAIL, times=None))
        await self._while_it_lasts()

    async def _store_is_slow(self) -> None:
        self._inject(Effect.DELAY, probability=0.3, wait_ms=(100, 5_000))
        await self._while_it_lasts()

    async def _store_hides(self) -> None:
        """Only data: a register whose reads miss what is there keeps no promise at all."""
        self._shop.storage_errors_allowed = True
        self._node.store.inject(
            Fault(
                Effect.HIDE,
                key_prefix="data/",
                times=None,
                probability=self._chance.choice([0.05, 0.3, 1.0]),
            )
        )
        await self._while_it_lasts()

    async def _store_hides_the_wal(self) -> None:
        """Batches and fences: a create still sees them, and reads are repeated."""
        reads = frozenset({"get", "head"})
        self._node.store.inject(Fault(Effect.HIDE, reads, "wal/", times=None, probability=0.3))
        await self._while_it_lasts()

    async def _store_damages_data(self) -> None:
        """What is read is not what was written: an error of storage, never records."""
        self._shop.storage_errors_allowed = True
        self._damage("data/", self._chance.choice([0.05, 0.5]))
        await self._while_it_lasts()

    async def _store_damages_metadata(self) -> None:
        """Now and then a read of the metadata log is damaged: the process ends and says so."""
        self._node.failures_expected.update(REASONS_OF_DAMAGE)
        self._damage("meta/", self._chance.choice([0.01, 0.1]))
        await self._while_it_lasts()

    def _damage(self, prefix: str, probability: float) -> None:
        for effect in (Effect.DAMAGE, Effect.CUT):
            self._node.store.inject(
                Fault(
                    effect,
                    operations=frozenset({"get"}),
                    key_prefix=prefix,
                    times=None,
                    probability=probability,
                )
            )

    async def _late_writes(self) -> None:
        self._inject(Effect.APPLY_LATE, probability=0.2, wait_ms=(10, 60_000))
        self._inject(Effect.LOSE_ANSWER, probability=0.2)
        await self._while_it_lasts()

    def _inject(
        self,
        effect: Effect,
        *,
        probability: float,
        error: type[StoreError] = Unavailable,
        wait_ms: tuple[float, float] = (0, 0),
    ) -> None:
        operations = Fault(effect).operations
        if effect in (Effect.LOSE_ANSWER, Effect.APPLY_LATE):
            operations = frozenset({"put", "create", "delete"})
        prefix = self._chance.choice(["", "", "data/", "meta/", "wal/"])
        self._node.store.inject(
            Fault(
                effect,
                operations=operations,
                key_prefix=prefix,
                times=None,
                probability=probability,
                wait_ms=wait_ms,
                error=error,
            )
        )

    async def _while_it_lasts(self) -> None:
        await self._some_time(self._chance.choice([1, 5, 20]))
        self._node.store.heal()

    # -- disk, network, clock

    async def _disk_is_slow(self) -> None:
        self._node.disk.sync_ms_max = self._chance.choice([50, 2_000])
        await self._some_time(5)
        self._node.disk.sync_ms_max = 5.0

    async def _disk_is_full(self) -> None:
        self._node.failures_expected.update(REASONS_OF_DISK)
        self._node.disk.full = True
        await self._some_time(5)
        self._node.disk.full = False

    async def _disk_fails(self) -> None:
        """The next sync fails: the process has to end, and starts again on a good disk."""
        self._node.failures_expected.update(REASONS_OF_DISK)
        self._node.disk.failing = True
        await self._some_time(1)
        self._node.disk.failing = False

    async def _disk_is_damaged(self) -> None:
        """A record that was synced cannot be read: the node must not start without it."""
        node = self._node
        node.failures_expected.add("is damaged at position")
        node.crash(node.newest)
        damaged = self._synced_record()
        node.start()
        if damaged is not None:
            damaged.good = False
            try:
                await self._some_time(2)
            finally:
                damaged.good = True

    def _synced_record(self) -> _Entry | None:
        """Some record below a position that a later record knows as synced."""
        entries = [
            entry for _, it in sorted(self._node.disk._platters.items()) for entry in it.entries
        ]
        known = [
            entry
            for number, entry in enumerate(entries)
            if entry.good
            and any(later.synced > entry.record.position for later in entries[number + 1 :])
        ]
        return self._chance.choice(known) if known else None

    async def _disk_is_missing(self) -> None:
        """It starts on an empty disk: only if nothing is on the other one that it needs."""
        node = self._node
        node.failures_expected.add("is the disk mounted?")
        node.crash(node.newest)
        right, wrong = node.disk, SimulatedDisk(self._chance)
        node.disk = wrong
        node.start()
        try:
            await self._some_time(2)
        finally:
            # With nothing to lose on the other one it goes on with this one.
            if not wrong.ids:
                node.crash(node.newest)
                node.disk = right
                node.start()

    async def _break_connections(self) -> None:
        self._net.break_some(self._chance.choice([0.2, 1.0]))

    async def _slow_network(self) -> None:
        self._net.weather.delay_ms = (0.1, self._chance.choice([20.0, 500.0]))
        await self._some_time(5)
        self._net.weather.delay_ms = (0.05, 1.0)

    async def _set_clock(self) -> None:
        clock = self._node.clock
        clock.drift = self._chance.uniform(-0.01, 0.01)
        clock.offset_ms += self._chance.choice([-60_000, -5_000, 5_000, 60_000, 2 * HOUR_MS])

    async def _some_time(self, mean_s: float) -> None:
        await asyncio.sleep(self._chance.expovariate(1 / mean_s))
