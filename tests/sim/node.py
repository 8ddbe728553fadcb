"""One node made of its real parts, in incarnations that are started, paused, killed and stopped."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.metadata.registered_store import RegisteredStore
from automq.node.failure import NodeFailure
from automq.node.places import Places
from automq.node.run import STOP_S, first_of, serve, told
from automq.node.storage import REGISTERED
from automq.objectstore import Retrying
from automq.objectstore.simulated import SimulatedStore
from automq.stream.wal import SimulatedDisk, WalHome, wal_home
from automq.telemetry import Metrics
from automq.world import World
from automq.world.background import Tasks
from sim.database import Database, is_in_postgres, register_of
from sim.loop import Process, SimLoop
from sim.net import Net, SimDoor
from sim.scraping import scrape
from sim.trace import Trace
from sim.wide import is_moving, is_quiet, is_registered, is_scanned, is_wide
from sim.wire import DiskView, RecordedObjects, StoreWire, Uploads

WALL_START_MS = 1_700_000_000_000
KIB = 1024
REASONS_OF_FIGHT = (
    "another controller has taken over",
    "has registered again",
    "has taken it over",
)
NOT_UPLOADED = "bytes not uploaded"
REFUSED_S = 20.0
"""For so long, of the time that it has, a node that gives up its stop was refused every upload."""
URI = "simulated://"
ON_DISK, IN_STORE = "file:///simulated", "object+simulated://"
BY_REGISTER = "registered+object+simulated://"
SHARE_IN_STORE = 0.4
FORGETFUL: dict[str, object] = {
    "producer.id.expiration.ms": 3_000,
    "offsets.retention.minutes": 1,
    "offsets.retention.check.interval.ms": 1_000,
}
"""Producers and offsets that are forgotten while somebody still uses them."""


class WallClock:
    """The wall clocks of all machines: they drift, and somebody sets them."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.offset_ms = 0
        self.drift = 0.0

    def now_ms(self) -> int:
        elapsed_ms = self._loop.time() * 1000 * (1 + self.drift)
        return WALL_START_MS + self.offset_ms + int(elapsed_ms)

    def monotonic_ms(self) -> float:
        return self._loop.time() * 1000


def node_config(chance: random.Random) -> NodeConfig:
    """A configuration in which much happens in little time, with budgets drawn from the seed."""
    settings: dict[str, object] = {
        "automq.upload.interval.ms": chance.choice([100, 1_000, 10_000]),
        "automq.upload.inflight.max": chance.choice([1, 2, 4]),
        "automq.object.retention.grace.ms": chance.choice([0, 5_000]),
        "automq.metadata.snapshot.entries": chance.choice([5, 20, 1_000]),
        "automq.wal.iops": chance.choice([200, 3_000]),
        "log.retention.check.interval.ms": chance.choice([1_000, 10_000]),
        "offsets.topic.num.partitions": 2,
        "offsets.commit.timeout.ms": chance.choice([1_000, 5_000]),
        "auto.create.topics.enable": "false",
        "max.connections.per.ip": 1_000,
        "group.max.size": chance.choice([1_000, 1_000, 2]),
        "producer.id.expiration.check.interval.ms": 1_000,
    }
    if chance.random() < 0.2:
        settings |= FORGETFUL
    config = NodeConfig.load(overrides=[f"{name}={value}" for name, value in settings.items()])
    cache_bytes = chance.choice([48 * KIB, 256 * KIB, 4096 * KIB])
    budgets = msgspec.structs.replace(
        config.budgets,
        log_cache_bytes=cache_bytes,
        request_bytes=chance.choice([64 * KIB, 1024 * KIB]),
        block_cache_bytes=chance.choice([16 * KIB, 1024 * KIB]),
        read_bytes=chance.choice([16 * KIB, 1024 * KIB]),
        upload_bytes=min(cache_bytes // 2, chance.choice([8 * KIB, 64 * KIB])),
    )
    segment_bytes = chance.choice([16 * KIB, 1024 * KIB])
    values = dict(config.values) | {
        keys.automq.WAL_SEGMENT_BYTES.name: segment_bytes,
        keys.automq.WAL_CAPACITY_BYTES.name: segment_bytes * chance.choice([6, 64]),
    }
    return msgspec.structs.replace(
        config,
        budgets=budgets,
        values=values,
        storage_uri=URI,
        metadata_uri=URI,
        wal_uri=ON_DISK,
    )


def config_of(seed: int) -> NodeConfig:
    """The configuration of a seed's node; that of some keeps its WAL in the object store."""
    config = node_config(random.Random(f"{seed} config"))
    if is_scanned(seed):
        values = dict(config.values) | {keys.automq.OBJECT_SCAN_INTERVAL_MS.name: 30_000}
        config = msgspec.structs.replace(config, values=values)
    chance = random.Random(f"{seed} wal")
    if chance.random() >= SHARE_IN_STORE and not is_moving(seed):
        return config if not is_quiet(seed) else with_room_for_a_flood(config)
    config = with_wal_in_store(config, chance)
    if is_registered(seed):
        config = msgspec.structs.replace(config, wal_uri=BY_REGISTER)
    return config


def with_room_for_a_flood(config: NodeConfig) -> NodeConfig:
    """The same node with a small log, and uploads that take what comes at once."""
    values = dict(config.values) | {
        "automq.upload.interval.ms": 100,
        "automq.upload.inflight.max": 1,
        keys.automq.WAL_SEGMENT_BYTES.name: 16 * KIB,
        keys.automq.WAL_CAPACITY_BYTES.name: 96 * KIB,
    }
    budgets = msgspec.structs.replace(
        config.budgets, log_cache_bytes=4096 * KIB, upload_bytes=64 * KIB
    )
    return msgspec.structs.replace(config, values=values, budgets=budgets)


def with_wal_in_store(config: NodeConfig, chance: random.Random) -> NodeConfig:
    """The same node without a disk."""
    values = dict(config.values) | {
        keys.automq.WAL_BATCH_BYTES.name: chance.choice([4 * KIB, 256 * KIB]),
        keys.automq.WAL_BATCH_INTERVAL_MS.name: chance.choice([5, 50, 250]),
        keys.automq.WAL_BATCH_URGENT_INTERVAL_MS.name: chance.choice([1, 25]),
    }
    return msgspec.structs.replace(config, values=values, wal_uri=IN_STORE)


class Incarnation:
    """One life of the node's process."""

    def __init__(self, node: "Node", number: int) -> None:
        self.node = node
        self.number = number
        self.process = Process(f"node-{number}")
        self.config = node.config_of_life(number)
        self.disk = DiskView(node.disk)
        self.is_ready = False
        self.stopping = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None
        self.elected = -1
        """The epoch in which it won the metadata log."""
        self.was_superseded = False
        """A newer incarnation was started: what this one says may be old."""

    def __repr__(self) -> str:
        return self.process.name

    @property
    def is_replaced(self) -> bool:
        """Whether a newer one was started, or an older one that was late has won the log since."""
        return self.was_superseded or self.elected < max(
            it.elected for it in self.node.incarnations
        )

    @property
    def is_alive(self) -> bool:
        return not self.process.is_dead

    async def live(self) -> None:
        """The process: start, serve, stop."""
        node = self.node
        world = World(clock=node.clock, chance=random.Random(f"{node.seed} {self.process.name}"))
        door = SimDoor(node.net, self.process, self.config.listeners[0])
        wire = StoreWire(node.store, node.loop, self.process.name, node.trace, node.uploads)
        register = register_of(wire, node.database, node.clock)

        def store_at(uri: str) -> Retrying:
            is_registered = uri.startswith(REGISTERED)
            return Retrying(RegisteredStore(wire, register) if is_registered else wire, world)

        def wals(uri: str, cluster_id: bytes, tasks: Tasks) -> WalHome:
            if uri == ON_DISK:
                return self.disk
            return wal_home(uri, cluster_id=cluster_id, world=world, tasks=tasks, store_at=store_at)

        metrics = Metrics()
        places = Places(store=wire, register=register, wals=wals, doors=[door], metrics=metrics)
        if is_wide(node.seed):
            look = scrape(metrics, node.chance(f"{self.process.name} metrics"), node.complain)
            node.loop.spawn_in(self.process, look, f"{self.process.name} metrics")
        try:
            await serve(
                self.config, world, places, self.stopping, started_ms=0, ready=self._note_ready
            )
        except BaseExceptionGroup as group:
            self.failure = told(first_of(group))
        except Exception as error:
            self.failure = told(error)
        finally:
            node.loop.call_soon(node.ended, self, context=node.loop.world)

    def _note_ready(self, addresses: str, seconds: float, /) -> None:
        self.is_ready = True
        self.node.trace.note(self.process.name, "ready")


class Node:
    """The node as an operator sees it: a name, a disk, a store; and at times two processes."""

    def __init__(
        self,
        *,
        seed: int,
        loop: SimLoop,
        net: Net,
        trace: Trace,
        config: NodeConfig,
        complain: Callable[[str], None],
    ) -> None:
        self.seed = seed
        self.loop = loop
        self.net = net
        self.trace = trace
        self.config = config
        self.complain = complain
        self.clock = WallClock(loop)
        self.objects = RecordedObjects(self.clock, URI)
        self.store = SimulatedStore(
            World(clock=self.clock, chance=random.Random(f"{seed} store")),
            URI,
            latency_ms=(0.5, 20.0),
        )
        self.store.memory.objects = self.objects
        self.uploads = Uploads()
        self.database = Database(seed, loop, trace) if is_in_postgres(seed) else None
        self.disk = SimulatedDisk(random.Random(f"{seed} disk"))
        self.incarnations: list[Incarnation] = []
        self.failures_expected: set[str] = set()
        """Words in the reasons for which an incarnation may end by itself."""
        self.is_supervised = True
        """Whether a process that ended by itself is started again."""
        self._chance = random.Random(f"{seed} supervisor")

    def chance(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def note_elected(self, process: Process | None, epoch: int) -> None:
        """A process says that it has won the metadata log."""
        for incarnation in self.incarnations:
            if incarnation.process is process:
                incarnation.elected = epoch

    def config_of_life(self, number: int) -> NodeConfig:
        """The configuration of its so many'th life: some keep their log in turns elsewhere."""
        if not is_moving(self.seed):
            return self.config
        # One store may keep logs both ways only if the register is not in it as well.
        places = [ON_DISK, self.config.wal_uri]
        if self.database is not None:
            places = [ON_DISK, IN_STORE, BY_REGISTER]
        uri = self.chance(f"place of log {number}").choice(places)
        return msgspec.structs.replace(self.config, wal_uri=uri)

    @property
    def newest(self) -> Incarnation:
        return self.incarnations[-1]

    def start(self) -> Incarnation:
        """A new process of the node. The disk is attached to it, and to no older one."""
        for older in self.incarnations:
            if older.is_alive:
                # They may fight, and even the older one may win.
                self.failures_expected.update(REASONS_OF_FIGHT)
            older.was_superseded = True
            older.disk.detach()
        born = Incarnation(self, len(self.incarnations))
        self.incarnations.append(born)
        self.trace.note("operator", f"starts {born}")
        self.loop.spawn_in(born.process, born.live(), born.process.name)
        return born

    def crash(self, victim: Incarnation) -> None:
        """It dies in the middle of whatever it was doing."""
        if not victim.is_alive:
            return
        self.trace.note("operator", f"kills {victim}")
        self._bury(victim)
        victim.ended.set()

    def stop(self, victim: Incarnation) -> None:
        """SIGTERM."""
        self.trace.note("operator", f"stops {victim}")
        self.loop.call_soon(victim.stopping.set, context=victim.process.context)

    def ended(self, gone: Incarnation) -> None:
        """Its process has ended by itself."""
        if not gone.is_alive:
            return
        why = "stopped" if gone.failure is None else str(gone.failure)
        self.trace.note(gone.process.name, f"ended: {why}")
        self._bury(gone)
        gone.ended.set()
        if gone.failure is not None and not self._is_expected(gone):
            self.complain(f"{gone} gave up: {why}")
        if self.is_supervised:
            pause_s = self._chance.uniform(0.1, 3)
            self.loop.call_later(pause_s, self._start_again, context=self.loop.world)

    def _start_again(self) -> None:
        if self.is_supervised and not self.newest.is_alive:
            self.start()

    def _is_expected(self, gone: Incarnation) -> bool:
        if not isinstance(gone.failure, NodeFailure):
            return False
        why = str(gone.failure)
        if "unexpected" in why and "StaleBrokerEpoch" not in why:
            return False
        if gone.was_superseded:
            return True
        if NOT_UPLOADED in why:
            # It waited as long as it may, for an upload or for a commit that nobody could store.
            if self.uploads.were_refused(self.loop.time(), REFUSED_S):
                return True
            return self.database is not None and self.database.has_stalled(STOP_S)
        return any(words in why for words in self.failures_expected)

    def _bury(self, gone: Incarnation) -> None:
        self.loop.kill(gone.process)
        gone.disk.crash()
        self.net.process_died(gone.process)

    async def until_ready(self, within_s: float) -> Incarnation:
        """The newest incarnation once it serves; starts one if none lives."""
        deadline_s = self.loop.time() + within_s
        while self.loop.time() < deadline_s:
            if self.newest.is_ready:
                return self.newest
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.newest} is not ready after {within_s} s without faults")


def is_forgetful(config: NodeConfig) -> bool:
    return all(config.values[name] == value for name, value in FORGETFUL.items())


def describe(config: NodeConfig) -> dict[str, Any]:
    """What differs between seeds, for a readable trace."""
    names = ("automq.upload.interval.ms", "automq.metadata.snapshot.entries")
    found: dict[str, Any] = {name: config.values[name] for name in names}
    found["log_cache_bytes"] = config.budgets.log_cache_bytes
    found["upload_bytes"] = config.budgets.upload_bytes
    found["forgetful"] = is_forgetful(config)
    found["wal"] = config.values[keys.automq.WAL_CAPACITY_BYTES.name]
    found["wal_uri"] = config.wal_uri
    return found
