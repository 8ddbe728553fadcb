"""Our own keys: where data lives, and how much memory and disk a node may use. Few, with good
defaults.
"""

from typing import Final

from automq.config.key import Check, Importance, Key, Matches, NonEmpty, OneOf, Range, ValueType

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
MINUTE_MS: Final = 60_000


def size(
    name: str,
    doc: str,
    *,
    default: int,
    at_least: int = 1,
    importance: Importance = Importance.MEDIUM,
) -> Key[int]:
    return Key(
        name=name,
        value_type=ValueType.LONG,
        default=default,
        checks=(Range(at_least),),
        importance=importance,
        doc=doc,
    )


def budget(name: str, doc: str, *, at_least: int) -> Key[int | None]:
    """A number of bytes that follows from the memory limit unless it is set."""
    checks = (RangeIfSet(at_least),)
    return Key(name=name, value_type=ValueType.LONG, default=None, checks=checks, doc=doc)


def number(name: str, doc: str, *, default: int, at_least: int = 1) -> Key[int]:
    return Key(
        name=name, value_type=ValueType.INT, default=default, checks=(Range(at_least),), doc=doc
    )


def text(name: str, doc: str, *, default: str, checks: tuple[Check, ...] = ()) -> Key[str]:
    return Key(
        name=name,
        value_type=ValueType.STRING,
        default=default,
        checks=(NonEmpty(), *checks),
        doc=doc,
    )


def optional_text(
    name: str, doc: str, *, importance: Importance = Importance.MEDIUM
) -> Key[str | None]:
    checks = (NonEmpty(),)
    return Key(
        name=name, value_type=ValueType.STRING, checks=checks, importance=importance, doc=doc
    )


def password(name: str, doc: str) -> Key[str | None]:
    return Key(name=name, value_type=ValueType.PASSWORD, checks=(NonEmpty(),), doc=doc)


class RangeIfSet(Range, frozen=True):
    """A range for a value that may also be absent."""

    def __call__(self, name: str, value: object) -> None:
        if value is not None:
            assert isinstance(value, int), value
            super().__call__(name, value)


# -- where data lives

DATA_DIR = text(
    "automq.data.dir",
    "The directory of this node: its lock, and whatever the URIs below do not put elsewhere.",
    default="./automq-data",
)
STORAGE_URI = optional_text(
    "automq.storage.uri",
    "The object store: file:///dir or s3://bucket/prefix?endpoint=... Default: <data dir>/store.",
    importance=Importance.HIGH,
)
WAL_URI = optional_text(
    "automq.wal.uri",
    "The write-ahead log: file:///dir on a disk of its own, or an object store, as in "
    "automq.storage.uri (object+file:///dir for a directory). Default: <data dir>/wal.",
    importance=Importance.HIGH,
)
METADATA_URI = optional_text(
    "automq.metadata.uri",
    "Where the metadata log is kept: an object store, or postgresql://user@host/database. "
    "Default: automq.storage.uri.",
)
POSTGRES_PASSWORD = password(
    "automq.postgres.password",
    "The password of the user in a postgresql:// URI. Default: PGPASSWORD, then ~/.pgpass.",
)
S3_ACCESS_KEY_ID = optional_text(
    "automq.s3.access.key.id", "The access key of the object store. Default: the machine's role."
)
S3_SECRET_ACCESS_KEY = password(
    "automq.s3.secret.access.key", "The secret of automq.s3.access.key.id."
)
S3_SESSION_TOKEN = password(
    "automq.s3.session.token", "The session token of a temporary access key."
)
S3_REGION = optional_text(
    "automq.s3.region",
    "The region of the object store, if its URI names none. Default: AWS_REGION.",
)

OSS_ACCESS_KEY_ID = optional_text(
    "automq.oss.access.key.id",
    "The access key of Alibaba OSS. Default: OSS_ACCESS_KEY_ID, then the machine's RAM role.",
)
OSS_ACCESS_KEY_SECRET = password(
    "automq.oss.access.key.secret", "The secret of automq.oss.access.key.id."
)
OSS_SESSION_TOKEN = password(
    "automq.oss.session.token", "The token of a temporary access key that STS gave."
)
STORAGE_CA_FILE = optional_text(
    "automq.storage.ca.file",
    "Certificates in PEM that object stores are trusted with besides the system's, if the URI names"
    " none.",
)

# -- the write-ahead log

WAL_CAPACITY_BYTES = size(
    "automq.wal.capacity.bytes",
    "The disk space of the write-ahead log; when all of it waits for upload, producers wait too. "
    "Default: a quarter of the disk that it is on, at most 2 GiB.",
    default=2 * GIB,
    at_least=16 * MIB,
)
WAL_SEGMENT_BYTES = size(
    "automq.wal.segment.bytes",
    "The size of one preallocated file of the write-ahead log. Default: 64 MiB, less on a small "
    "disk.",
    default=64 * MIB,
    at_least=1 * MIB,
)
WAL_IOPS = number(
    "automq.wal.iops",
    "How many syncs a second the disk of the write-ahead log is good for.",
    default=3000,
)

WAL_BATCH_BYTES = size(
    "automq.wal.batch.bytes",
    "In an object store: a batch of appends is written when it has so many bytes.",
    default=8 * MIB,
    at_least=64 * KIB,
)
WAL_BATCH_INTERVAL_MS = size(
    "automq.wal.batch.interval.ms",
    "In an object store: appends are written so long after the ones before, together; the first "
    "after a pause at once. What a producer waits for is at most this and one PUT; 4 PUTs a second "
    "are what it costs.",
    default=250,
)
WAL_BATCH_URGENT_INTERVAL_MS = size(
    "automq.wal.batch.urgent.interval.ms",
    "The same for appends that a coordinator waits for (commits of offsets, rebalances): fewer "
    "PUTs if it is larger.",
    default=25,
)

# -- memory

LOG_CACHE_BYTES = budget(
    "automq.log.cache.bytes",
    "Memory for recent data, from which tail reads are served. Default: an eighth of the memory "
    "limit, at most 256 MiB.",
    at_least=4 * MIB,
)
BLOCK_CACHE_BYTES = budget(
    "automq.block.cache.bytes",
    "Memory for data read back from objects. Default: a sixteenth of the memory limit, at most "
    "128 MiB.",
    at_least=1 * MIB,
)
OBJECT_COMPACTION_MEMORY_BYTES = budget(
    "automq.object.compaction.memory.bytes",
    "Memory for merging objects; a new object is at most half as large. Default: a sixteenth of "
    "the memory limit, at least 16 MiB and at most 128 MiB.",
    at_least=16 * MIB,
)
READ_MEMORY_BYTES = budget(
    "automq.read.memory.bytes",
    "Memory for data of objects that is on its way to readers: asked for, or not yet sent. Readers "
    "take turns. Default: a sixteenth of the memory limit, at most 128 MiB.",
    at_least=2 * MIB,
)
READ_INFLIGHT_MAX = number(
    "automq.read.inflight.max",
    "How many requests for data of objects are with the store at a time; uploads have their own.",
    default=16,
)

# -- objects

UPLOAD_BYTES = size(
    "automq.upload.bytes",
    "So many bytes in the log cache start an upload; at most half of the log cache is taken.",
    default=64 * MIB,
    at_least=64 * KIB,
)
UPLOAD_INTERVAL_MS = size(
    "automq.upload.interval.ms", "Data waits no longer than this for its upload.", default=MINUTE_MS
)
UPLOAD_INFLIGHT_MAX = number(
    "automq.upload.inflight.max", "How many objects are uploaded at the same time.", default=4
)
OBJECT_RETENTION_GRACE_MS = size(
    "automq.object.retention.grace.ms",
    "How long a replaced or empty object stays before it is deleted.",
    default=10 * MINUTE_MS,
    at_least=0,
)
OBJECT_COMPACTION_BYTES_PER_SECOND = size(
    "automq.object.compaction.bytes.per.second",
    "What merging objects may read from and write to the object store, together and on average. "
    "It keeps up with a quarter of that written in small ranges.",
    default=64 * MIB,
    at_least=1 * MIB,
)
OBJECT_SCAN_INTERVAL_MS = size(
    "automq.object.scan.interval.ms",
    "In so long the controller looks once through the whole store for objects that nobody knows "
    "(late uploads, parts of snapshots that were never named), and deletes them. Costs some 270 "
    "LIST requests, and one for every 1000 objects. 0: never.",
    default=24 * 60 * MINUTE_MS,
    at_least=0,
)
OBJECT_DELETE_RATE = number(
    "automq.object.delete.rate",
    "So many objects that nothing reads any more are deleted a second at most, in requests of up "
    "to 1000 of them.",
    default=500,
)

# -- metadata

METADATA_SNAPSHOT_ENTRIES = number(
    "automq.metadata.snapshot.entries",
    "So many entries of the metadata log since the last snapshot make a new one.",
    default=1000,
)
METADATA_POLL_INTERVAL_MS = size(
    "automq.metadata.poll.interval.ms",
    "An idle controller asks so often whether it was replaced; 0: never.",
    default=5000,
    at_least=0,
)

# -- what is told

METRICS_LISTENER: Key[str | None] = Key(
    name="automq.metrics.listener",
    value_type=ValueType.STRING,
    default=None,
    checks=(
        Matches(
            r"(\[[0-9a-fA-F:.]+\]|[0-9a-zA-Z._-]*):[0-9]{1,5}", "host:port", "Expected host:port"
        ),
    ),
    doc="Where metrics are given over HTTP, at /metrics: 127.0.0.1:9404. Default: nowhere.",
)

LOG_FORMAT = text(
    "automq.log.format",
    "How log lines are written: plain for people, json for machines.",
    default="plain",
    checks=(OneOf(("plain", "json")),),
)
LOG_LEVEL = text(
    "automq.log.level",
    "The least important level that is logged.",
    default="INFO",
    checks=(OneOf(("DEBUG", "INFO", "WARNING", "ERROR"), any_case=True),),
)
