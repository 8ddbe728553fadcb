"""What a node shows to who scrapes it: stores, WAL, caches, uploads, clients, the event loop."""

from collections.abc import Callable
from dataclasses import dataclass

from automq._native import WAL_SYNC_BOUNDS_US, LogCache
from automq.broker.listener import Acceptor
from automq.node.parts import NodeParts
from automq.stream.reader import ObjectReader
from automq.stream.uploader import Uploader
from automq.stream.wal import Wal
from automq.telemetry import Histogram, Metrics, counter, gauge, histogram, metric_set

SYNC_BOUNDS_MS = tuple(bound_us / 1000 for bound_us in WAL_SYNC_BOUNDS_US)


@metric_set("automq_wal")
@dataclass(slots=True)
class WalMetrics:
    """The write-ahead log of this run."""

    commits: int = counter("Groups of records that were made durable together.")
    records: int = counter("Records that are durable.")
    written_bytes: int = counter("Bytes written to the write-ahead log.")
    inflight_bytes: float = gauge("Bytes that are appended and not durable yet.")
    used_bytes: float = gauge("Bytes that wait for their upload or for its commit.")
    bytes_max: float = gauge("What used_bytes may grow to; then producers wait.")
    disk_full: float = gauge("1 while the disk has no room for what waits, else 0.")
    sync_ms: Histogram = histogram("How long it took to make a group durable.", SYNC_BOUNDS_MS)


@metric_set("automq_log_cache")
@dataclass(slots=True)
class LogCacheMetrics:
    """Recent data in memory."""

    bytes: float = gauge("Memory in use.")
    bytes_max: float = gauge("The budget.")
    unreleased_bytes: float = gauge("Memory of what is not uploaded yet.")


@metric_set("automq_block_cache")
@dataclass(slots=True)
class BlockCacheMetrics:
    """Data read back from objects."""

    bytes: float = gauge("Memory in use.")
    hits: int = counter("Blocks that were asked for and there.")
    misses: int = counter("Blocks that were asked for and had to be read.")
    evicted_bytes: int = counter("Bytes that made room for others.")


@metric_set("automq_upload")
@dataclass(slots=True)
class UploadMetrics:
    """Data becoming objects."""

    objects: int = counter("Objects that were uploaded and committed.")
    bytes: int = counter("Their bytes.")


@metric_set("automq_clients")
@dataclass(slots=True)
class ClientMetrics:
    """Connections of clients."""

    connections: float = gauge("Connections that are open.")
    refused: int = counter("Connections that were refused (max.connections.per.ip).")


def show(parts: NodeParts, metrics: Metrics) -> None:
    """Give all numbers of a node to whoever scrapes `metrics`, from now on."""
    for store in parts.store_metrics:
        store.show_in(metrics)
    metrics.add(parts.stall.metrics)
    metrics.add(parts.compactor.metrics)
    metrics.add(parts.delete_metrics)
    engine = parts.engine
    for refresh in (
        wal_numbers(metrics, engine.wal),
        log_cache_numbers(metrics, engine.cache),
        block_cache_numbers(metrics, engine.reader),
        upload_numbers(metrics, parts.uploader),
        client_numbers(metrics, parts.acceptor),
    ):
        metrics.before_scrape(refresh)


def wal_numbers(metrics: Metrics, wal: Wal) -> Callable[[], None]:
    shown = metrics.add(WalMetrics())

    def refresh() -> None:
        stats = wal.stats()
        shown.commits, shown.records = stats.commits, stats.records
        shown.written_bytes, shown.inflight_bytes = stats.written_bytes, stats.inflight_bytes
        shown.used_bytes, shown.bytes_max = wal.used_bytes, wal.bytes_max
        shown.disk_full = float(wal.full is not None)
        shown.sync_ms.counts = list(stats.sync_counts)
        shown.sync_ms.total = stats.sync_us_sum / 1000

    return refresh


def log_cache_numbers(metrics: Metrics, cache: LogCache) -> Callable[[], None]:
    shown = metrics.add(LogCacheMetrics())

    def refresh() -> None:
        shown.bytes, shown.bytes_max = cache.bytes, cache.bytes_max
        shown.unreleased_bytes = cache.unreleased_bytes

    return refresh


def block_cache_numbers(metrics: Metrics, reader: ObjectReader) -> Callable[[], None]:
    shown, cache = metrics.add(BlockCacheMetrics()), reader.cache

    def refresh() -> None:
        shown.bytes, shown.hits, shown.misses = cache.bytes, cache.hits, cache.misses
        shown.evicted_bytes = cache.evicted_bytes

    return refresh


def upload_numbers(metrics: Metrics, uploader: Uploader) -> Callable[[], None]:
    shown = metrics.add(UploadMetrics())

    def refresh() -> None:
        shown.objects, shown.bytes = uploader.uploaded_objects, uploader.uploaded_bytes

    return refresh


def client_numbers(metrics: Metrics, acceptor: Acceptor) -> Callable[[], None]:
    shown = metrics.add(ClientMetrics())

    def refresh() -> None:
        shown.connections, shown.refused = len(acceptor.connections), acceptor.refused

    return refresh
