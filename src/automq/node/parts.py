"""The parts of a node, put together in the order that makes a start safe."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from automq._native import BlockCache, LogCache
from automq.broker.broker import Broker
from automq.broker.fetch_sessions import FetchSessions
from automq.broker.listener import Acceptor, SocketLimits
from automq.broker.memory import RequestMemory
from automq.broker.partitions import Partitions
from automq.broker.producer_ids import ProducerIds
from automq.broker.requests import Dispatcher
from automq.broker.topic_configs import TopicConfigs
from automq.config import keys
from automq.config.effective import BrokerConfigs
from automq.config.node_config import NodeConfig
from automq.controller.deleting import DeleteMetrics, Deleter
from automq.controller.local import LocalController
from automq.controller.scanning import LogPlace, Scanner
from automq.controller.sweeping import Sweeper
from automq.coordinator.group import GroupCoordinator
from automq.coordinator.group.settings import GroupSettings
from automq.metadata.counted_register import CountedRegister
from automq.metadata.records.wals import WalKind
from automq.metadata.register import SteadyRegister
from automq.metadata.state import MetadataState
from automq.node.metadata import control_here
from automq.node.places import Places
from automq.node.takeover import Taker, recovery_limits, take_over_own
from automq.objectstore import Counted, ObjectStore, StoreMetrics, robust
from automq.stream.blocks import ReadLimits
from automq.stream.client import MergeLimits, Verdict
from automq.stream.compactor import CompactionLimits, Compactor
from automq.stream.engine import StreamEngine
from automq.stream.reader import ObjectReader
from automq.stream.uploader import Uploader, UploadLimits
from automq.stream.wal import ObjectWals, Wal, WalHome, WalOptions, store_uri_of
from automq.telemetry import StallProbe
from automq.world import World
from automq.world.background import Background

log = logging.getLogger(__name__)

READ_AHEAD_BYTES = 8 << 20
UPLOADS_MAX = 32
"""So many uploads of a node are merged at a time."""
FAN_IN = 8
"""So many small ranges in a row are merged again."""
MERGED_RANGES_MAX = 5_000
"""In one merge: putting them in place holds up the loop for a microsecond each."""
DEAD_BYTES_MIN = 256 << 20
"""Fewer dead bytes than these in the whole store are nobody's trouble."""
MINUTE_MS = 60_000
WAL_INFLIGHT_BYTES = 64 << 20
WAL_INFLIGHT_BATCHES = 8
"""What of a WAL in an object store may be on its way, at least: its latency is long."""


@dataclass(slots=True)
class NodeParts:
    """What a running node consists of. `background` are the tasks that run until it stops."""

    store: ObjectStore
    home: WalHome
    metadata: MetadataState
    controller: LocalController
    engine: StreamEngine
    uploader: Uploader
    uploading: "asyncio.Task[None]"
    compactor: Compactor
    compacting: "asyncio.Task[None]"
    broker: Broker
    acceptor: Acceptor
    stall: StallProbe
    store_metrics: Sequence[StoreMetrics]
    """What each store of the node has been asked for."""
    delete_metrics: DeleteMetrics


async def assemble(
    config: NodeConfig, world: World, tasks: asyncio.TaskGroup, places: Places
) -> NodeParts:
    """Start every part, in this order and no other.

    A store is tried before it becomes a new cluster. The log is won first (an older incarnation's
    commits are refused from here on), then this incarnation is registered, then what older ones
    left in WALs is committed, then streams are opened, each at its true end; requests come last.
    Raises NodeFailure.
    """
    data_metrics, metadata_metrics = StoreMetrics("data"), StoreMetrics("metadata")
    store = robust(places.store, world, data_metrics)
    register = CountedRegister(places.register, world.clock, metadata_metrics)
    metadata, controller = await control_here(
        config, world, tasks, register, before_new=lambda: places.refuse_unfit(world)
    )
    cluster_id = metadata.stored.cluster_id
    home = places.wals(config.wal_uri, cluster_id, tasks)
    homes_of = places.homes_of(config.wal_uri, cluster_id, tasks)
    limits = recovery_limits(config)
    taker = Taker(controller, store, cluster_id, limits, homes_of, world.clock)
    await take_over_own(taker, config.node_id, home)
    wal, options = await open_wal(config, controller, home, cluster_id)
    reader = make_reader(config, store, controller, cluster_id, tasks)
    cache = LogCache(bytes_max=config.budgets.log_cache_bytes)
    engine = StreamEngine(wal=wal, options=options, cache=cache, reader=reader)
    background = Background(tasks)
    broker = make_broker(config, world, controller, metadata, engine, background)
    compactor = make_compactor(config, world, store, controller, engine, cluster_id)

    def committed(streams: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        broker.committed(streams, verdicts)
        compactor.wake()

    uploader = make_uploader(config, world, store, controller, engine, cluster_id, committed)
    uploading = tasks.create_task(uploader.run(), name="uploader")
    await start_broker(config, controller, metadata, broker, tasks)
    compacting = tasks.create_task(compactor.run(), name="compactor")
    once = Counted(places.store, world.clock, data_metrics)
    log_place = places.log_place(SteadyRegister(register, world))
    delete_metrics = start_deleting(config, world, metadata, once, log_place, home, tasks)
    acceptor = make_acceptor(config, world, broker, tasks)
    stall = StallProbe(world.clock, is_watched=lambda: bool(acceptor.connections))
    tasks.create_task(stall.run(), name="stall probe")
    return NodeParts(
        store=store,
        home=home,
        metadata=metadata,
        controller=controller,
        engine=engine,
        uploader=uploader,
        uploading=uploading,
        compactor=compactor,
        compacting=compacting,
        broker=broker,
        acceptor=acceptor,
        stall=stall,
        store_metrics=(data_metrics, metadata_metrics, places.wal_metrics),
        delete_metrics=delete_metrics,
    )


async def open_wal(
    config: NodeConfig, controller: LocalController, home: WalHome, cluster_id: bytes
) -> tuple[Wal, WalOptions]:
    """A new WAL for this incarnation; its id is stored before the first byte is written."""
    batch_bytes = config.get(keys.automq.WAL_BATCH_BYTES)
    options = WalOptions(
        segment_bytes=config.get(keys.automq.WAL_SEGMENT_BYTES),
        capacity_bytes=config.get(keys.automq.WAL_CAPACITY_BYTES),
        inflight_bytes_max=max(WAL_INFLIGHT_BYTES, WAL_INFLIGHT_BATCHES * batch_bytes),
        iops_max=config.get(keys.automq.WAL_IOPS),
        batch_bytes=batch_bytes,
        batch_interval_ms=config.get(keys.automq.WAL_BATCH_INTERVAL_MS),
        urgent_interval_ms=config.get(keys.automq.WAL_BATCH_URGENT_INTERVAL_MS),
    )
    wal_id = await controller.register_wal(config.wal_uri, wal_kind(config.wal_uri))
    wal = await home.open(
        wal_id=wal_id, node_id=config.node_id, cluster_id=cluster_id, options=options
    )
    return wal, options


def wal_kind(uri: str) -> WalKind:
    """As the metadata log names it."""
    return WalKind.FILE if store_uri_of(uri) is None else WalKind.OBJECT


def make_reader(
    config: NodeConfig,
    store: ObjectStore,
    controller: LocalController,
    cluster_id: bytes,
    tasks: asyncio.TaskGroup,
) -> ObjectReader:
    """The reader of what is in objects, with its cache."""
    cache_bytes = config.budgets.block_cache_bytes
    return ObjectReader(
        store=store,
        client=controller,
        cache=BlockCache(bytes_max=cache_bytes),
        cluster_id=cluster_id,
        limits=ReadLimits(
            memory_bytes=config.budgets.read_bytes,
            inflight_max=config.get(keys.automq.READ_INFLIGHT_MAX),
            ahead_bytes=READ_AHEAD_BYTES,
            ahead_total_bytes=cache_bytes // 8,
        ),
        tasks=tasks,
    )


def make_uploader(
    config: NodeConfig,
    world: World,
    store: ObjectStore,
    controller: LocalController,
    engine: StreamEngine,
    cluster_id: bytes,
    on_committed: Callable[[Sequence[int], Sequence[Verdict]], None],
) -> Uploader:
    return Uploader(
        engine=engine,
        store=store,
        client=controller,
        cluster_id=cluster_id,
        wal_id=engine.wal.wal_id,
        clock=world.clock,
        limits=upload_limits(config),
        on_committed=on_committed,
    )


def make_compactor(
    config: NodeConfig,
    world: World,
    store: ObjectStore,
    controller: LocalController,
    engine: StreamEngine,
    cluster_id: bytes,
) -> Compactor:
    """What merges objects: behind uploads that somebody waits for, and behind readers."""
    return Compactor(
        store=store,
        client=controller,
        cluster_id=cluster_id,
        clock=world.clock,
        limits=compaction_limits(config),
        is_pressed=lambda: engine.needs_upload or engine.reader.is_waited_for,
    )


def make_broker(
    config: NodeConfig,
    world: World,
    controller: LocalController,
    metadata: MetadataState,
    engine: StreamEngine,
    background: Background,
) -> Broker:
    """The broker on the stored cluster part of this process's metadata."""
    cluster = metadata.stored
    configs = TopicConfigs(broker=BrokerConfigs.of(config), cluster=cluster, node_id=config.node_id)
    partitions = Partitions(
        engine=engine,
        keeper=controller,
        cluster=cluster,
        clock=world.clock,
        config_of=configs.of,
        background=background,
    )
    groups = GroupCoordinator(
        world=world,
        partition_count=config.get(keys.kafka.OFFSETS_TOPIC_NUM_PARTITIONS),
        settings=group_settings(config),
    )
    return Broker(
        node_id=config.node_id,
        config=config,
        world=world,
        cluster=cluster,
        engine=engine,
        controller=controller,
        partitions=partitions,
        groups=groups,
        configs=configs,
        producer_ids=ProducerIds(controller.reserve_producer_ids),
        background=background,
        fetch_sessions=FetchSessions(
            config.get(keys.kafka.MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS)
        ),
    )


def make_acceptor(
    config: NodeConfig, world: World, broker: Broker, tasks: asyncio.TaskGroup
) -> Acceptor:
    """What lets clients in, once there is a door."""
    acceptor = Acceptor(
        limits=socket_limits(config),
        requests=Dispatcher(broker),
        memory=RequestMemory(config.budgets.request_bytes),
        clock=world.clock,
    )
    tasks.create_task(acceptor.close_idle(), name="idle connections")
    tasks.create_task(acceptor.close_stalled(), name="stalled connections")
    return acceptor


async def start_broker(
    config: NodeConfig,
    controller: LocalController,
    metadata: MetadataState,
    broker: Broker,
    tasks: asyncio.TaskGroup,
) -> None:
    """Follow the stored metadata, and lead what this node led before."""
    started = asyncio.Event()
    tasks.create_task(broker.groups.run(started=started), name="groups")
    await started.wait()
    metadata.on_stored(lambda entry: broker.react(entry.changes))
    led = await controller.lead()
    await controller.activate()
    log.info("node %d leads %d partitions", config.node_id, led)
    tasks.create_task(
        broker.keep_retention(config.get(keys.kafka.LOG_RETENTION_CHECK_INTERVAL_MS)),
        name="retention",
    )
    tasks.create_task(
        broker.forget_producers(
            config.get(keys.kafka.PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS),
            config.get(keys.kafka.PRODUCER_ID_EXPIRATION_MS),
        ),
        name="producer expiry",
    )
    tasks.create_task(controller.keep_trimming(), name="trims")


def start_deleting(
    config: NodeConfig,
    world: World,
    metadata: MetadataState,
    store: ObjectStore,
    log_place: LogPlace | None,
    home: WalHome,
    tasks: asyncio.TaskGroup,
) -> DeleteMetrics:
    """Delete what nothing reads, and what nobody knows.

    Each call of `store` is one attempt: failures are waited out by object, not by call.
    """
    metrics = DeleteMetrics()
    rate_per_s = config.get(keys.automq.OBJECT_DELETE_RATE)
    deleter = Deleter(store, world.clock, rate_per_s=rate_per_s, metrics=metrics)
    grace_ms = config.get(keys.automq.OBJECT_RETENTION_GRACE_MS)
    sweeper = Sweeper(metadata, deleter, world.clock, grace_ms=grace_ms, metrics=metrics)
    tasks.create_task(sweeper.run(), name="object sweeper")
    interval_ms = config.get(keys.automq.OBJECT_SCAN_INTERVAL_MS)
    if interval_ms:
        scanner = Scanner(
            metadata,
            store,
            log_place,
            deleter,
            world.clock,
            interval_ms=interval_ms,
            metrics=metrics,
            wals=home if isinstance(home, ObjectWals) else None,
        )
        tasks.create_task(scanner.run(), name="scanner")
    return metrics


def upload_limits(config: NodeConfig) -> UploadLimits:
    return UploadLimits(
        upload_bytes=config.budgets.upload_bytes,
        interval_ms=config.get(keys.automq.UPLOAD_INTERVAL_MS),
        inflight_max=config.get(keys.automq.UPLOAD_INFLIGHT_MAX),
    )


def compaction_limits(config: NodeConfig) -> CompactionLimits:
    """A new object takes half of the memory; one source, or small batches, may take the other."""
    return CompactionLimits(
        merge=MergeLimits(
            objects_max=UPLOADS_MAX,
            fan_in=FAN_IN,
            object_bytes=config.budgets.compaction_bytes // 2,
            ranges_max=MERGED_RANGES_MAX,
            dead_bytes=DEAD_BYTES_MIN,
        ),
        bytes_per_s=config.get(keys.automq.OBJECT_COMPACTION_BYTES_PER_SECOND),
    )


def group_settings(config: NodeConfig) -> GroupSettings:
    kafka = keys.kafka
    return GroupSettings(
        min_session_timeout_ms=config.get(kafka.GROUP_MIN_SESSION_TIMEOUT_MS),
        max_session_timeout_ms=config.get(kafka.GROUP_MAX_SESSION_TIMEOUT_MS),
        initial_rebalance_delay_ms=config.get(kafka.GROUP_INITIAL_REBALANCE_DELAY_MS),
        max_size=config.get(kafka.GROUP_MAX_SIZE),
        offset_metadata_max_bytes=config.get(kafka.OFFSET_METADATA_MAX_BYTES),
        offsets_retention_ms=config.get(kafka.OFFSETS_RETENTION_MINUTES) * MINUTE_MS,
        offsets_retention_check_interval_ms=config.get(kafka.OFFSETS_RETENTION_CHECK_INTERVAL_MS),
        offsets_commit_timeout_ms=config.get(kafka.OFFSETS_COMMIT_TIMEOUT_MS),
    )


def socket_limits(config: NodeConfig) -> SocketLimits:
    kafka = keys.kafka
    overrides = (
        item.rpartition(":")
        for item in config.get(kafka.MAX_CONNECTIONS_PER_IP_OVERRIDES).split(",")
        if item.strip()
    )
    return SocketLimits(
        send_buffer_bytes=config.get(kafka.SOCKET_SEND_BUFFER_BYTES),
        receive_buffer_bytes=config.get(kafka.SOCKET_RECEIVE_BUFFER_BYTES),
        backlog=config.get(kafka.SOCKET_LISTEN_BACKLOG_SIZE),
        request_bytes_max=config.get(kafka.SOCKET_REQUEST_MAX_BYTES),
        connections_max=config.get(kafka.MAX_CONNECTIONS),
        connections_per_ip_max=config.get(kafka.MAX_CONNECTIONS_PER_IP),
        connections_per_ip_overrides={host.strip(): int(most) for host, _, most in overrides},
        creation_rate_max=config.get(kafka.MAX_CONNECTION_CREATION_RATE),
        idle_max_ms=config.get(kafka.CONNECTIONS_MAX_IDLE_MS),
    )
