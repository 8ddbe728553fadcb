"""The native core. Every call that works on bytes releases the GIL while it does.

Payloads cross as `Buf`: shared, never copied. This file is the contract and carries the docs.
"""

import builtins
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal, Self, TypeAlias, TypeVar, final

from typing_extensions import Buffer

class Buf:
    """An immutable, reference-counted run of bytes, shared with the native core.

    Supports the buffer protocol (read-only), `len`, `==` with any bytes, and `bytes()`.
    """

    def __init__(self, data: Buffer) -> None:
        """Takes a copy of `data` (a `Buf` is shared instead)."""

    def slice(self, start: int, end: int) -> Buf:
        """The bytes of `[start, end)`, sharing memory. Raises IndexError outside."""

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

# -- log

class LogCache:
    """Recent batches by stream, in generations, within a budget of bytes (not thread-bound).

    A generation is what one upload turns into one object: appends go to the active one, `seal`
    closes it, `release` says that it is committed. Released generations stay as a cache and are
    evicted, oldest first, when `bytes` is above `bytes_max`. What is not released is never evicted:
    the caller holds clients back by `unreleased_bytes`. Broken contracts raise AssertionError.
    """

    def __init__(self, *, bytes_max: int) -> None: ...
    def append(
        self, stream: int, base_offset: int, last_offset: int, max_timestamp: int, batch: Buf
    ) -> Buf:
        """Adds a stamped batch (or several, side by side) and gives the bytes that are kept.

        Below 4 KiB they are copied into an arena of the stream, else kept by reference. The numbers
        must be those of the batch's header, and `base_offset` the stream's end (any for a stream
        that is not here). Hand the answer on (to the WAL), so that nothing pins the receive buffer.
        """

    def read(
        self,
        stream: int,
        start_offset: int,
        end_offset: int,
        bytes_max: int,
        at_least_one: bool,
    ) -> CacheRead | None:
        """Whole batches from the one that holds `start_offset`, that end at or below `end_offset`.

        None when the stream is not here or `start_offset` is below what is cached: read objects.
        Over `bytes_max` only with `at_least_one`, and then by one batch only.
        """

    def find_timestamp(
        self, stream: int, timestamp: int, end_offset: int, *, start_offset: int = 0
    ) -> BatchFound | None:
        """The first cached batch in `[start_offset, end_offset)` that may hold `timestamp`."""

    def start_offset(self, stream: int) -> int | None:
        """The first offset that is cached; `end_offset` when all is evicted; None if not here."""

    def end_offset(self, stream: int) -> int | None:
        """One more than the last offset appended; None for a stream that is not here."""

    def seal(self) -> int | None:
        """Closes the active generation and gives its id; None when it holds nothing."""

    def release(self, generation: int) -> None:
        """Says that a sealed generation is committed, so that it may be evicted."""

    def drop_stream(self, stream: int) -> None:
        """Forgets a stream, unreleased batches too: deleted, or closed and all of it committed."""

    def sealed(self) -> list[Generation]:
        """Generations that are sealed and not released, oldest first."""

    def generations(self) -> list[Generation]:
        """All generations that hold anything, oldest first; the last one is the active one."""

    @property
    def bytes_max(self) -> int: ...
    @property
    def bytes(self) -> int:
        """Memory in use: batches, unfilled arenas and bookkeeping."""

    @property
    def unreleased_bytes(self) -> int:
        """Memory of the active and the sealed generations."""

    @property
    def active_bytes(self) -> int:
        """Bytes of batches in the active generation."""

    @property
    def evicted_bytes(self) -> int:
        """Bytes of batches evicted since the start."""

    @property
    def stream_count(self) -> int: ...

class CacheRead:
    """Whole batches of one stream, in order. Neighbours in memory are one `Buf`."""

    @property
    def bufs(self) -> list[Buf]:
        """A new list at each call."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def base_offset(self) -> int:
        """Base offset of the first batch (at or below the start); the start when there is none."""

    @property
    def next_offset(self) -> int:
        """One more than the last offset read; the start when nothing was."""

class BatchFound:
    """One whole batch that a search found."""

    @property
    def buf(self) -> Buf: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def max_timestamp(self) -> int: ...

class Generation:
    """What one generation of a LogCache holds now."""

    @property
    def id(self) -> int: ...
    @property
    def phase(self) -> Literal["active", "sealed", "released"]: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def payload_bytes(self) -> int: ...
    @property
    def record_count(self) -> int: ...
    @property
    def batch_count(self) -> int: ...
    @property
    def stream_count(self) -> int: ...

# -- object: the format is specified in docs/formats.md

class DamagedObject(Exception):
    """Bytes of an object are not what was written."""

    def __init__(self, why: str, position: int) -> None: ...
    @property
    def why(self) -> str: ...
    @property
    def position(self) -> int:
        """Where, counted from the start of the object."""

def build_object(
    cache: LogCache,
    generation: int,
    *,
    object_id: int,
    cluster_id: bytes,
    streams: list[int] | None = None,
) -> BuiltObject | None:
    """The object of a sealed, unreleased generation, or of some of its streams.

    None when nothing of it is left (streams were dropped): release it without a commit. All of the
    generation must be durable in the WAL before. Large batches are shared with the cache. Call it
    off the event loop: about 15 ms for 64 MiB, without the GIL.
    """

class BuiltObject:
    """A finished object. `parts`, one after another, are its bytes, to be PUT as one body."""

    @property
    def object_id(self) -> int: ...
    @property
    def parts(self) -> list[Buf]:
        """A new list at each call."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def index_position(self) -> int: ...
    @property
    def index_bytes(self) -> int: ...
    @property
    def ranges(self) -> list[tuple[int, int, int, int, int, int]]:
        """(stream, start, end, bytes, max_timestamp, record_count), by stream; bytes of batches."""

    def range_columns(
        self,
    ) -> tuple[list[int], list[int], list[int], list[int], list[int], list[int]]:
        """The same by column, as records carry them (`Columns`)."""

class ObjectWriter:
    """Writes an object from runs of batches, for merging and compaction.

    Runs come by stream, then by offset. Refused runs raise AssertionError, and the writer is then
    of no use.
    """

    def __init__(self, *, object_id: int, cluster_id: bytes, block_bytes: int = 524288) -> None: ...
    def add(
        self,
        stream: int,
        start: int,
        end: int,
        batches: list[Buf],
        *,
        digest: Buf | None = None,
    ) -> None:
        """Adds `[start, end)`; each of `batches` holds whole ones. Gaps between them are allowed.

        The digest is taken from the batches unless one is given (that of the range before log
        compaction left records out; digests of several runs are joined).
        """

    @property
    def size_bytes(self) -> int:
        """Bytes of the blocks written so far."""

    def finish(self) -> BuiltObject | None:
        """The object; None when nothing was added."""

class ObjectMerge:
    """Joins ranges of many objects, stream by stream, into one new object.

    `parts` are rows of stream, object, start, end, bytes, max timestamp (the last two are ignored),
    by stream, then by offset. For each source: read `spans`, give them to `take`; then `finish`.
    Call it off the event loop: what is read is checked and joined without the GIL.
    """

    def __init__(self, parts: Columns, *, object_id: int, cluster_id: bytes) -> None: ...
    def spans(self, index: ObjectIndex) -> list[tuple[int, int]]:
        """Which bytes `[start, end)` of the object of `index` are to be read, in order.

        At most 4 MiB each, unless a block is larger. Raises DamagedObject if it does not hold what
        the parts name.
        """

    def take(self, index: ObjectIndex, data: Sequence[Buf]) -> None:
        """Takes what was read at `spans(index)`; checks every block. Raises DamagedObject."""

    def finish(self) -> BuiltObject:
        """The object. A stream's digest is those of its parts, one after another. Once."""

def parse_footer(
    tail: Buf, object_bytes: int, *, object_id: int | None = None, cluster_id: bytes | None = None
) -> ObjectFooter:
    """The footer at the end of `tail`, the last bytes (72 or more) of an object.

    For those who know no more than the object; who knows `index_position` reads the index alone.
    Raises DamagedObject, also when the ids are not the given ones.
    """

class ObjectFooter:
    @property
    def object_id(self) -> int: ...
    @property
    def cluster_id(self) -> bytes: ...
    @property
    def object_bytes(self) -> int: ...
    @property
    def digest_position(self) -> int: ...
    @property
    def index_position(self) -> int: ...
    @property
    def index_bytes(self) -> int: ...
    @property
    def version(self) -> int: ...

class ObjectIndex:
    """The verified index of an object. Digests lie at `[digest_position, index_position)`."""

    def __init__(
        self,
        data: Buf,
        *,
        position: int,
        object_id: int | None = None,
        cluster_id: bytes | None = None,
    ) -> None:
        """Reads the index block that lies at `position` of the object. Raises DamagedObject."""

    def find(self, stream: int, offset: int, *, limit: int = 64) -> list[BlockRef]:
        """Blocks from the one that holds `offset` (or the first above it) on, in order."""

    def find_timestamp(
        self, stream: int, timestamp: int, *, start_offset: int = 0
    ) -> BlockRef | None:
        """The first block ending above `start_offset` that may hold a record at or after it."""

    def digest_ref(self, stream: int) -> DigestRef | None:
        """Where the stream's digest is; None when it is empty."""

    def streams(self) -> list[int]: ...
    def ranges(self) -> list[tuple[int, int, int, int, int, int]]:
        """As `BuiltObject.ranges`."""

    def blocks(self) -> list[BlockRef]:
        """All of them, in order of position, which is by stream, then by offset."""

    @property
    def object_id(self) -> int: ...
    @property
    def digest_position(self) -> int: ...
    @property
    def index_position(self) -> int: ...
    @property
    def block_count(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

class BlockRef:
    """Where a block lies (`position`, `size_bytes`) and what it holds: `[start, end)` of a stream.

    Blocks of one stream lie side by side, so one range GET may read several.
    """

    @property
    def object_id(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def record_count(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def max_timestamp(self) -> int: ...

class DigestRef:
    """Where the digest of one stream lies. Digests lie side by side, by stream."""

    @property
    def object_id(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...

def open_block(data: Buf, block: BlockRef) -> Buf:
    """The batches of a block, without a copy. `data` are exactly its bytes in the object.

    Raises DamagedObject when it is not this block of this object, or not what was written.
    """

def open_digest(data: Buf, digest: DigestRef) -> Buf:
    """The digest, for `decode_digest`. `data` are exactly its bytes. Raises DamagedObject."""

def cut(
    batches: Buf, start_offset: int, end_offset: int, bytes_max: int, at_least_one: bool
) -> CacheRead:
    """Whole batches of a block from the one that holds `start_offset`, or the first above it, on.

    As `LogCache.read`. When a block has nothing (more) above `start_offset`, read on at its end.
    Raises DamagedObject(why, position in `batches`) for bytes that are no batches.
    """

def inspect_object(data: Buf) -> list[ObjectPart]:
    """All parts of a whole object in order of position, verified down to each batch's CRC.

    Raises DamagedObject when it has no right footer or index, so that nothing can be listed.
    """

class ObjectPart:
    @property
    def kind(self) -> Literal["block", "digest", "index", "footer"]: ...
    @property
    def position(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def stream(self) -> int | None: ...
    @property
    def summary(self) -> str: ...
    @property
    def damage(self) -> str | None:
        """What is wrong with it; None when it is what it should be."""

class Wish:
    """What one read is for: whole batches of `[start_offset, end_offset)` of a stream.

    No more than `bytes_max` of them (below 0 is none), but for the first one with `at_least_one`;
    out of `blocks_max` blocks at most.
    """

    def __init__(
        self,
        stream_id: int,
        start_offset: int,
        end_offset: int,
        bytes_max: int,
        *,
        at_least_one: bool = True,
        blocks_max: int = 16,
    ) -> None: ...
    @property
    def stream_id(self) -> int: ...
    @property
    def start_offset(self) -> int: ...
    def below(self, end_offset: int) -> Wish:
        """The same, ending at `end_offset` at the latest."""

    def blocks(self, index: ObjectIndex) -> list[BlockRef]:
        """The blocks to read, at least one if there is one.

        The last one may be wanted in part: the next read finds the rest of it in memory.
        """

    def gather(self, refs: list[BlockRef], blocks: list[Buf]) -> CacheRead:
        """The batches out of the contents of `refs`, which follow each other; without a copy.

        Raises DamagedObject for bytes that are no batches.
        """

    def kept(self, index: ObjectIndex, cache: BlockCache) -> tuple[CacheRead, int] | None:
        """What of it is in memory, as far as that goes, and the bytes of the blocks it is out of.

        None: not even its first block is. As `BlockCache.get` and `gather`.
        """

class BlockCache:
    """Blocks and indexes of objects that were read, within a budget of bytes (S3-FIFO).

    What was asked for once leaves first: a long scan does not push out what others read again.
    """

    def __init__(self, *, bytes_max: int) -> None: ...
    def get(self, object_id: int, position: int, *, is_again: bool = False) -> Buf | None:
        """The batches that were put for the block at `position`.

        `is_again`: for a reader that has had them, and goes on within them.
        """

    def has(self, object_id: int, position: int) -> bool:
        """Whether they are kept; they have not been asked for by that."""

    def put(
        self,
        object_id: int,
        position: int,
        batches: Buf,
        *,
        copy: bool = False,
        is_ahead: bool = False,
    ) -> None:
        """Keeps what `open_block` gave. `copy` it when it is a slice of a read of several blocks:

        kept by reference it would pin the whole read, but be counted by its own length. `is_ahead`:
        nobody has it yet, it waits for a reader.
        """

    def get_index(self, object_id: int) -> ObjectIndex | None: ...
    def put_index(self, index: ObjectIndex) -> None: ...
    def drop_object(self, object_id: int) -> None:
        """Forgets all parts of an object that is no longer referred to."""

    @property
    def bytes(self) -> int: ...
    @property
    def entries(self) -> int: ...
    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def evicted_bytes(self) -> int: ...
    @property
    def unread_bytes(self) -> int:
        """Of what was put with `is_ahead`: evicted before anybody asked for it."""

# -- wal

WAL_SYNC_BOUNDS_US: list[int]
"""Upper bounds of the buckets of `sync_counts`, in microseconds; the last bucket has none."""

class WalError(Exception):
    """Something is wrong with a WAL. The message names the file, the position, what to do."""

class WalBusy(WalError):
    """An append was not taken, nothing changed: hold clients back and try again later."""

class WalQueueFull(WalBusy):
    """Too much waits for the disk. Try again when `durable` has moved."""

class WalSpaceFull(WalBusy):
    """The WAL's budget of disk space is used. Try again after a trim."""

class WalTooLarge(WalError):
    """A record is larger than the whole WAL may be. It can never be taken."""

class WalClosed(WalError):
    """The WAL is closed or closing."""

class WalFailed(WalError):
    """The WAL ended for good: a write, sync or close failed. The node has to exit."""

class WalLocked(WalError):
    """The WAL is in use by the process that the message names."""

class WalUsed(WalError):
    """The WAL id was used before. Take a new one."""

class WalMissing(WalError):
    """There is no such WAL: perhaps its disk is not mounted."""

class WalForeign(WalError):
    """The files belong to another WAL or another cluster."""

class WalUnsupported(WalError):
    """The files were written by a newer version."""

class WalDamaged(WalError):
    """Something that was synced cannot be read back. Names the file and the position."""

class WalFailure:
    """Why a WAL ended for good. `str()` is one sentence with all of it."""

    operation: str
    path: Path
    position: int
    errno: int | None
    message: str
    text: str

    def __init__(
        self, operation: str, path: str | Path, position: int, errno: int | None, message: str
    ) -> None: ...

class WalFull:
    """The disk has no room for another segment; appends wait, and it is tried again."""

    path: Path
    needed_bytes: int
    message: str

    def __init__(self, path: str | Path, needed_bytes: int, message: str) -> None: ...

class WalRecord:
    """What one append wrote, read back. `last_offset` is included."""

    position: int
    end_position: int
    stream_id: int
    epoch: int
    base_offset: int
    last_offset: int
    payload: Buf

    def __init__(
        self,
        position: int,
        end_position: int,
        stream_id: int,
        epoch: int,
        base_offset: int,
        last_offset: int,
        payload: Buf,
    ) -> None: ...

class WalEnd:
    """Where a WAL ended. `clean`: it was closed, nothing can be missing. `torn`: something that
    was never acknowledged lies behind the end."""

    position: int
    clean: bool
    torn: bool

    def __init__(self, position: int, clean: bool, torn: bool) -> None: ...

class Lane:
    """The end of a stream that is open here, and what is lent to it of its partition's state.

    What is lent is changed by `Producing` alone; it is taken back before anybody looks at it.
    """

    def __new__(cls, stream_id: int, epoch: int, start_offset: int, end_offset: int) -> Self: ...
    @property
    def stream_id(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    start_offset: int
    end_offset: int
    @property
    def durable_offset(self) -> int: ...
    def advance_durable(self, offset: int) -> None:
        """Everything below `offset` is synced. It never goes back."""

    @property
    def is_open(self) -> bool: ...
    def close(self) -> None:
        """Nothing is appended any more."""

    def lend_segment(
        self,
        rules: ProduceRules,
        *,
        segment_bytes: int,
        segment_ms: int,
        size_bytes: int,
        first_timestamp: int,
        max_timestamp: int,
    ) -> None:
        """The active segment as it stands, and when it rolls. Until then nothing is appended."""

    def take_segment(self) -> tuple[int, int] | None:
        """Its size in bytes and largest timestamp now; None if it is not lent."""

    def lend_producer(self, producer_id: int, epoch: int, last_sequence: int) -> None:
        """A producer without an open transaction."""

    def take_producer(self, producer_id: int) -> list[tuple[int, int, int, int, int]]:
        """Its batches since it was lent, five at most, oldest first.

        Each: first and last sequence, first and last offset, largest timestamp.
        """

    def take_producers(self) -> list[tuple[int, list[tuple[int, int, int, int, int]]]]:
        """The same of all that were lent and wrote, by id."""

@final
class Run:
    """Plain Produce requests that were appended together."""

    @property
    def requests(self) -> int: ...
    @property
    def frame_bytes(self) -> int: ...
    @property
    def appended_bytes(self) -> int: ...
    @property
    def position(self) -> int:
        """Once this is durable the answers may be sent; 0 where nothing was appended."""

    @property
    def refused(self) -> bool:
        """Whether the WAL had no room for one of them, which is answered so."""

    @property
    def answers(self) -> bytes:
        """The framed responses, one after another."""

    @property
    def mistake(self) -> Exception | None:
        """An error of the WAL that no request should meet; its producer is told its text."""

@final
class Producing:
    """Takes plain Produce requests from frames to WAL and log cache, and answers them.

    Plain: acks 1 or all, no transaction, partitions whose segment is lent and takes the batch,
    producers that are lent and go on where they were.
    """

    def __new__(cls, append: Callable[[int, int, int, int, Buf], int], cache: LogCache) -> Self:
        """`append` is the WAL's; that of `WalFiles` is called without Python."""

    def add(self, topic: str, topic_id: bytes, index: int, lane: Lane) -> None:
        """The partition is led here."""

    def remove(self, topic: str, topic_id: bytes, index: int, lane: Lane) -> None:
        """It is not any more; nothing happens where another lane took its place."""

    def produce(self, frames: list[Buf], *, now_ms: int, room_bytes: int) -> Run | None:
        """What is plain at the start of `frames`, appended; None if nothing is.

        The frames must be the caller's alone: batches are stamped in place. AssertionError: cache
        and lane disagree, a mistake of ours.
        """

    def complete(self, position: int) -> list[tuple[int, int]]:
        """Everything below `position` is synced: moves durable offsets; stream ids and bytes."""

    def take_epochs(self) -> dict[int, int]:
        """The epoch of every stream appended to since the last call."""

class WalFiles:
    """A WAL on segment files, open for appending. A native thread owns the files."""

    def __init__(
        self,
        root: str | Path,
        *,
        wal_id: int,
        node_id: int,
        cluster_id: bytes,
        segment_bytes: int,
        capacity_bytes: int,
        inflight_bytes_max: int,
        iops_max: int,
        spare_segments_max: int,
        shared: bool | None = None,
    ) -> None:
        """Makes a new WAL in `root/<wal_id>`. `iops_max` is syncs a second, 0 for no limit.

        `shared`: other machines may take it over, so its owner block is read after each sync and
        before `durable` moves; None: if the file system is not known to be this machine's alone.
        Raises ValueError, WalUsed, WalLocked, OSError.
        """

    def append(
        self,
        stream_id: int,
        epoch: int,
        base_offset: int,
        last_offset: int,
        payload: Buffer,
        /,
    ) -> int:
        """Queues a record; it is durable once `durable` has reached the returned position.

        A `Buf` is shared, anything else copied. Raises WalQueueFull, WalSpaceFull, WalTooLarge,
        WalClosed, WalFailed.
        """

    def submit(self) -> None:
        """Hands everything queued to the disk. Call it once per turn of the event loop."""

    def take_durable(self) -> int:
        """Makes `fileno` quiet, then tells `durable`."""

    def fileno(self) -> int:
        """An eventfd, readable when `durable`, `failure`, `full` or `ended` may have changed."""

    def trim(self, position: int) -> None:
        """Nothing below `position` is needed again. ValueError above `durable`."""

    def begin_close(self, clean: bool) -> None:
        """Begins to close; `fileno` tells when `ended` is true.

        Clean: writes and syncs all that was appended, and the end marker. Else: stops at once.
        """

    def stats(self) -> dict[str, int | list[int]]:
        """The fields of `automq.stream.wal.WalStats`."""

    @property
    def durable(self) -> int:
        """Everything below this position is synced."""

    @property
    def end(self) -> int:
        """Where the next record will begin."""

    @property
    def owner_reads(self) -> str | None:
        """How the owner block is read: "direct", past this machine's cache, or "cached", where the
        file system refuses that; None: there is none.
        """

    @property
    def path(self) -> Path: ...
    @property
    def failure(self) -> WalFailure | None: ...
    @property
    def full(self) -> WalFull | None: ...
    @property
    def ended(self) -> bool: ...

class WalReader:
    """Reads a WAL on a native thread, a chunk ahead of its user. Holds the WAL's lock.

    A `taker` (node id, node epoch) fences the writer first, if it has an
    owner block; then it may be alive and have the lock.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        wal_id: int,
        cluster_id: bytes | None,
        start: int,
        chunk_bytes: int,
        taker: tuple[int, int] | None = None,
    ) -> None: ...
    def fileno(self) -> int:
        """An eventfd, readable when `take` may have something. Take until it has nothing."""

    def take(self) -> list[WalRecord] | WalEnd | None:
        """The next records, or the end (the last there is), or None: not there yet.

        Raises WalMissing, WalLocked, WalForeign, WalUnsupported, WalDamaged, OSError; then it is
        over as well.
        """

def wal_ids(root: str | Path) -> list[int]:
    """The ids of the WALs under `root`, ascending. Raises OSError."""

def wal_owner(root: str | Path, wal_id: int) -> tuple[bytes, int] | None:
    """The cluster and the node that wrote a WAL; None where nothing readable says so.

    Raises OSError.
    """

WalObjectKind: TypeAlias = Literal["begin", "batch", "fence", "end"]

WAL_OBJECT_HEADER_BYTES: int
WAL_OBJECT_RECORD_BYTES: int
"""What a record takes in an object beside its payload."""
WAL_OBJECT_RECORDS_MAX: int
"""So many records end a batch."""
WAL_OBJECT_INDEX_BITS: int
"""A position is an object's number, and in this many lower bits a record's index in it."""

@final
class WalBatch:
    """Records on their way into one object of a WAL in an object store."""

    def __init__(self) -> None: ...
    def append(
        self,
        stream_id: int,
        epoch: int,
        base_offset: int,
        last_offset: int,
        payload: Buf | bytes,
        /,
    ) -> None:
        """Adds a record. A `Buf` is shared, anything else copied."""

    def __len__(self) -> int:
        """Records in it."""

    @property
    def size_bytes(self) -> int:
        """The size of the object that it makes."""

    def encode(
        self,
        kind: WalObjectKind,
        *,
        wal_id: int,
        number: int,
        cluster_id: bytes,
        nonce: bytes,
        node_id: int,
        node_epoch: int,
        acknowledged: int | None = None,
    ) -> list[Buf]:
        """The object, in pieces; large payloads are shared. Releases the GIL."""

@final
class WalObject:
    """What the header of an object of a WAL says."""

    kind: WalObjectKind
    wal_id: int
    number: int
    cluster_id: bytes
    nonce: bytes
    node_id: int
    """The owner, or who fenced it."""
    node_epoch: int
    records: int
    body_bytes: int
    acknowledged: int | None
    """Every number below it was stored and acknowledged when the owner sent this batch."""

def wal_object_header(data: Buf | bytes) -> WalObject:
    """What an object's first `WAL_OBJECT_HEADER_BYTES` say. Raises WalDamaged, WalUnsupported."""

def wal_object_read(data: Buf | bytes) -> tuple[WalObject, list[WalRecord]]:
    """A whole object, verified. Releases the GIL. Raises WalDamaged, WalUnsupported."""

def wal_is_shared(root: str | Path) -> bool:
    """Whether other machines may write there, as the file system's type tells. Raises OSError."""

def wal_remove(root: str | Path, wal_id: int) -> bool:
    """Deletes a WAL; False if it was not there. Raises WalLocked, OSError."""

# -- batch

class CorruptBatch(ValueError):
    """Bytes that are no record batches (or no digest). `args` are (position, why)."""

    position: int
    why: str

class BatchTooLarge(ValueError):
    """Decompression would give more than the caller allows."""

class BatchRefused(Exception):
    """A batch that a producer must not write."""

    error: str
    """Kafka's name of the error: INVALID_RECORD, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, ..."""
    message: str
    record_errors: list[tuple[int, str]]
    """Number of a record in the batch, and what is wrong with it (KIP-467)."""

@final
class Batch:
    """One record batch of magic 2: its header's fields, and its bytes, shared.

    `last_sequence` goes from 2^31 - 1 to 0. `codec` is none, gzip, snappy, lz4, zstd, or unknown;
    `timestamp_type` is CreateTime or LogAppendTime.
    """

    @property
    def records(self) -> Buf:
        """The whole batch, header included."""
    @property
    def base_offset(self) -> int: ...
    @property
    def last_offset(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def last_offset_delta(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def leader_epoch(self) -> int: ...
    @property
    def attributes(self) -> int: ...
    @property
    def codec(self) -> str: ...
    @property
    def timestamp_type(self) -> str: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_control(self) -> bool: ...
    @property
    def base_timestamp(self) -> int: ...
    @property
    def max_timestamp(self) -> int: ...
    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def base_sequence(self) -> int: ...
    @property
    def last_sequence(self) -> int: ...
    @property
    def record_count(self) -> int: ...
    def check_crc(self) -> None:
        """Raises CorruptBatch unless the CRC-32C is that of the bytes."""

    def producer_entry(self, base_offset: int | None = None) -> DigestEntry | None:
        """What it does to producer state, None if nothing; as if stored at `base_offset`."""

def batches(data: Buffer) -> list[Batch]:
    """The batches that lie one after another in `data`. The CRC is not checked.

    Raises CorruptBatch unless they are whole and end with it.
    """

@final
class ProduceRules:
    """What a topic asks of the batches that are sent to it; made once per change of its configs."""

    def __new__(
        cls,
        *,
        batch_bytes_max: int,
        segment_bytes: int = ...,
        compacted: bool = False,
        timestamp_before_max_ms: int = ...,
        timestamp_after_max_ms: int = 3_600_000,
        log_append_time: bool = False,
        codec: str | None = None,
        level: int | None = None,
        unpacked_bytes_max: int = ...,
    ) -> ProduceRules:
        """`batch_bytes_max` is max.message.bytes; `codec` is compression.type (None: producer).

        `unpacked_bytes_max` bounds a batch that has to be decompressed to be judged. ValueError
        for an unknown codec.
        """

def check_produce(records: Buffer, rules: ProduceRules, now_ms: int, version: int) -> Batch:
    """Judges what one partition of a Produce request of `version` carries.

    The answer's `records` are to be stored: the same memory, or a new batch where the topic wants
    another codec or LogAppendTime. Usually one pass over header and CRC; compressed records are
    unpacked only where a rule needs them. Raises BatchRefused.
    """

def stamp(records: Buf, base_offset: int, leader_epoch: int) -> None:
    """Writes offset and leader epoch into the one batch in `records`, where it lies.

    The caller owns that memory: nobody reads it yet, as with the records of a request that has
    not been answered, or a batch just built. Both fields lie outside the CRC.
    """

def stamp_copy(records: Buffer, base_offset: int, leader_epoch: int) -> Buf:
    """A copy of the one batch in `records` with that offset and leader epoch."""

def restamp(records: Buffer, append_time_ms: int) -> Buf:
    """A copy of the one batch in `records` whose records have the broker's time (LogAppendTime)."""

def recompress(
    records: Buffer, codec: str, level: int | None = None, *, bytes_max: int = ...
) -> Buf:
    """The one batch in `records` with its records packed by another codec, all else as it was.

    Raises CorruptBatch, BatchTooLarge.
    """

@final
class Record:
    """One record. `key` and `value` are copied when asked for."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> list[tuple[str, bytes | None]]: ...
    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_control(self) -> bool: ...

def read_records(data: Buffer, *, bytes_max: int = ...) -> list[Record]:
    """Every record of concatenated batches. `bytes_max` bounds what is decompressed in all.

    Raises CorruptBatch, BatchTooLarge. The CRC is not checked.
    """

def find_timestamp(
    data: Buffer, timestamp: int, *, start_offset: int = 0, bytes_max: int = ...
) -> tuple[int, int, int] | None:
    """(offset, timestamp, leader epoch) of the first record not older than `timestamp`.

    Only batches that hold one are decompressed, each to at most `bytes_max`.
    """

def max_timestamp(data: Buffer, *, bytes_max: int = ...) -> tuple[int, int, int] | None:
    """(offset, timestamp, leader epoch) of the first record with the largest one (KIP-734)."""

def build_batch(
    records: Sequence[
        tuple[int, Buffer | None, Buffer | None, Sequence[tuple[str, Buffer | None]]]
    ],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    codec: str = "none",
    level: int | None = None,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    control: bool = False,
    log_append_time_ms: int | None = None,
) -> Buf:
    """One batch of (timestamp, key, value, headers). ValueError when there is no record."""

def build_marker(
    *,
    commit: bool,
    coordinator_epoch: int,
    producer_id: int,
    producer_epoch: int,
    timestamp: int,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> Buf:
    """The control batch that ends a transaction in one partition (KIP-98)."""

def parse_marker(records: Buffer) -> tuple[bool, int, int] | None:
    """(commit, coordinator epoch, timestamp) of the one batch in `records`; None if it is none."""

@final
class LastByKey:
    """The last record of each key, gathered over batches in the order of their offsets.

    Records of a transaction wait for its marker; tombstones are kept (value None); records without
    a key are skipped. Nothing that is kept pins a batch.
    """

    def __new__(cls) -> LastByKey: ...
    def add(self, data: Buffer, *, bytes_max: int = ...) -> None:
        """Takes concatenated batches. Raises CorruptBatch, BatchTooLarge."""

    def take(self) -> tuple[list[Record], list[Record]]:
        """The last records, and those of transactions still open; by offset. Then starts again."""

    def __len__(self) -> int: ...

@final
class DigestEntry:
    """What a batch does to producer state. Of a marker, `max_timestamp` is its record's.

    `coordinator_epoch` is -1 in data.
    """

    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def last_offset(self) -> int: ...
    @property
    def base_sequence(self) -> int: ...
    @property
    def last_sequence(self) -> int: ...
    @property
    def max_timestamp(self) -> int: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_marker(self) -> bool: ...
    @property
    def is_commit(self) -> bool: ...
    @property
    def coordinator_epoch(self) -> int: ...

def digest_of(data: Buffer) -> Buf:
    """What concatenated batches do to producer state; no bytes if nothing. Raises CorruptBatch."""

def decode_digest(data: Buffer) -> list[DigestEntry]:
    """The entries of a digest, to be applied in order. Raises CorruptBatch."""

def join_digests(digests: Sequence[Buffer]) -> Buf:
    """The digest of ranges that follow one another."""

# -- blob

BLOB_MULTIPART_BYTES: int
"""A network store is given a larger object in parts..."""
BLOB_PART_BYTES: int
"""...of this size."""

class BlobError(Exception):
    """Refused at once. `args` is (name of the exception in `objectstore.errors`, message)."""

class BlobStore:
    """An object store. Every operation takes a token, runs exactly once, and completes by `drain`.

    One runtime thread serves all stores of the process; it starts with the first operation. In a
    child forked after that every operation is refused: spawn processes, do not fork them.
    Operations raise BlobError("Invalid", ...) for keys and ranges that no store can take.
    """

    @staticmethod
    def local(path: str) -> BlobStore:
        """The directory `path`, made if need be. Blocks while it opens it; raises BlobError."""

    @staticmethod
    def cloud(
        scheme: str,
        bucket: str,
        prefix: str,
        *,
        timeout_ms: int,
        options: Mapping[str, str],
        ca_pem: bytes | None = None,
        proxy: str | None = None,
        address: IPv4Address | IPv6Address | None = None,
        multipart_bytes: int = ...,
    ) -> BlobStore:
        """A store in the network, by the `scheme` of its URIs: s3, oss, gs, az. Sends nothing yet.

        `timeout_ms` is for a request without a body. `options` are those of the `object_store`
        crate (`aws_region`, `aws_endpoint`, ...), for oss `region`, `endpoint`, `path_style` and
        names of the environment; keys and tokens are among them. `ca_pem` are certificates trusted
        besides the system's. Without `proxy` none is used. With `address` the store is
        asked there, wherever its name leads. An object above `multipart_bytes` is put in parts
        (default: `BLOB_MULTIPART_BYTES`). Raises BlobError.
        """

    @property
    def authority(self) -> str | None:
        """Host, and port if it is not the usual one, of the server; None for a directory."""

    def fileno(self) -> int:
        """Readable when completions wait: written once when the queue stops being empty."""

    def put(self, token: int, key: str, data: Sequence[Buffer]) -> None:
        """Writes the pieces of `data` as one object. Completes with None."""

    def create(self, token: int, key: str, data: Sequence[Buffer]) -> None:
        """The same, unless the key has an object (AlreadyExists). Completes with None."""

    def get(self, token: int, key: str) -> None:
        """Completes with the whole object, a Buf."""

    def get_ranges(self, token: int, key: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Completes with a list of Buf, one per `[start, end)`; Corrupt if one is not whole."""

    def head(self, token: int, key: str) -> None:
        """Completes with (key, size in bytes, ms since the epoch when it was written)."""

    def list(self, token: int, prefix: str, after: str | None, page: str | None) -> None:
        """Completes with (objects as `head` gives them, `page` of the next call or None)."""

    def delete(self, token: int, keys: Sequence[str]) -> None:
        """Removes what there is of `keys`, at most 1,000. Completes with (key, error's name,
        message) of each that failed."""

    def copy(self, token: int, source: str, target: str) -> None:
        """Writes what `source` holds as `target`. Completes with None."""

    def settings(self, token: int) -> None:
        """Completes with (what stands before every key, answers): for each question in the store's
        words (question, None, XML) or (question, error's name, message); NotFound: not set."""

    def cancel(self, token: int) -> None:
        """Drops a request in the network; file work that has begun ends on its own. A completion
        may still come."""

    def drain(self) -> builtins.list[tuple[int, str | None, object]]:
        """All completions that wait: (token, None, answer) or (token, error's name, message)."""

# -- codec

_Message = TypeVar("_Message")

class MalformedMessage(ValueError):
    """Bytes that are not what they claim to be. `args`: where (a path of field names) and why."""

class UnencodableMessage(ValueError):
    """A message that its version cannot carry. `args`: where (a path of field names) and why."""

class FrameTooLarge(ValueError):
    """A frame's length is negative or over the limit. `args` are that length and the limit."""

@final
class RequestHead:
    """What stands before a request. `body_at` is where the request itself begins in its frame."""

    @property
    def api_key(self) -> int: ...
    @property
    def api_version(self) -> int: ...
    @property
    def correlation_id(self) -> int: ...
    @property
    def client_id(self) -> str | None: ...
    @property
    def body_at(self) -> int: ...

def read_request_header(frame: Buffer) -> RequestHead:
    """The header of a request frame, whose version follows from the API's (KIP-511, KIP-482).

    An API or a version that nobody knows has one too, so that it can be refused by name; for an
    unknown API `body_at` may point at the tagged fields. Raises MalformedMessage.
    """

def decode_message(cls: type[_Message], data: Buffer, version: int, at: int = 0) -> _Message:
    """The message of class `cls` (from `protocol.messages`) that begins at `at`, in `version`.

    Fields that the version lacks have their defaults. `records` are slices of `data` without a copy
    if it is a `Buf`; all else is copied. Bytes behind the message are ignored, as Kafka does.
    Raises MalformedMessage: for a string that is not UTF-8 and for an unknown version as well.
    """

def encode_message(msg: object, version: int) -> bytes:
    """The bytes of a message in `version`, without a header.

    A field that the version lacks is dropped if Kafka calls it ignorable, and must be at its
    default otherwise. `records` may be a `Buf`, `bytes` or a list of them, to be joined. Raises
    UnencodableMessage, also for values of a wrong type.
    """

def encode_request(msg: object, version: int, correlation_id: int, client_id: str | None) -> bytes:
    """The frame of a request: length, header, message. Raises like `encode_message`."""

def encode_response(msg: object, version: int, correlation_id: int) -> list[bytes | Buf]:
    """The frame of a response, in pieces to be written one after the other.

    Records of 4 KiB and more (each element, if they are a list) are pieces of their own and not
    copied; everything else is `bytes`. Raises like `encode_message`.
    """

def response_header_version(cls: type[object], version: int) -> int:
    """The version of the header before a response: 1 if flexible, but always 0 for ApiVersions."""

@final
class Frames:
    """Splits what a connection receives into frames; made for `asyncio.BufferedProtocol`.

    Frames that are read together share a block of 64 KiB at most; a larger frame gets memory of
    exactly its size as soon as its length is known, and the next reads go straight into it.
    """

    def __init__(self, max_frame_bytes: int) -> None: ...
    def get_buffer(self, size_hint: int, /) -> Self:
        """An object whose writable buffer, never empty, is where the next bytes go: this one.

        The memory is not initialised, and it is written between `get_buffer` and `received` only:
        afterwards it belongs to frames that others read.
        """

    def received(self, count: int) -> list[Buf]:
        """The frames, without their lengths, that `count` bytes written to the buffer complete.

        Raises FrameTooLarge before anything is reserved; the connection cannot be read any further
        then, and frames completed by the same bytes are lost.
        """

    def __len__(self) -> int:
        """The size of the room for the next read."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

# -- tables

class Columns:
    """Rows of 64-bit integers, kept by column and delta-coded: how a record carries many rows.

    Immutable; equal when the values are. At most 32 columns.
    """

    def __init__(self, *columns: list[int]) -> None:
        """Packs columns of one length. Raises ValueError if they differ in length."""

    @staticmethod
    def parse(packed: Buffer) -> Columns:
        """Reads what `packed` gave. Raises ValueError on anything else; never allocates more than
        a small multiple of the bytes given."""

    @property
    def packed(self) -> Buf:
        """The packed bytes, shared."""

    @property
    def width(self) -> int: ...
    def column(self, index: int) -> list[int]:
        """One column. Raises IndexError."""

    def columns(self) -> list[list[int]]: ...
    def __len__(self) -> int:
        """How many rows."""

    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

class StorageTables:
    """Streams, objects and who holds which range of what.

    `judge_*` change nothing. The others apply what was judged good, and raise AssertionError where
    a row does not fit (our own mistake). Column layouts are those of the records that carry them.
    A located range is (object, start, end, bytes, max_timestamp, object_bytes, index_position,
    index_bytes).
    """

    def __init__(self) -> None: ...
    @property
    def next_stream(self) -> int: ...
    @property
    def next_object(self) -> int: ...
    def set_bounds(self, next_stream: int, next_object: int) -> None: ...
    @property
    def stream_count(self) -> int: ...
    @property
    def object_count(self) -> int: ...
    def create_streams(self, first: int, streams: list[tuple[bytes, int, int]]) -> None:
        """Each (topic id, partition, kind); ids ascend from `first`."""

    def judge_opens(
        self, node_id: int, node_epoch: int, streams: list[int], epochs: list[int]
    ) -> list[tuple[int, int, int, int]]:
        """For each (code, start, owner node, owner epoch). Codes: 0 free, 1 held by the owner,
        2 opened so already, 3 stale (start is the current epoch), 4 unknown."""

    def open_streams(self, node_id: int, node_epoch: int, streams: Columns) -> None:
        """Columns stream, epoch, start."""

    def close_streams(self, streams: Columns) -> None:
        """Columns stream, epoch, end."""

    def judge_trims(self, streams: list[int], starts: list[int]) -> Columns:
        """Those (stream, start) that free a range, with starts clamped to the committed end."""

    def trim_streams(self, streams: Columns) -> None: ...
    def remove_streams(self, streams: Columns) -> None: ...
    def stream(
        self, stream: int
    ) -> tuple[bytes, int, int, bool, int, int, int, int, int, int, int, int] | None:
        """topic id, partition, kind, open, start, end, epoch, node, node epoch, bytes,
        cleaned to, delete horizon."""

    def opens(self, stream: int) -> list[tuple[int, int]]:
        """The leader-epoch history: (epoch, start), ascending."""

    def streams_of_topic(self, topic: bytes) -> list[int]:
        """Scans all streams."""

    def streams_of_node(self, node_id: int) -> list[int]:
        """Those the node has open, whatever its epoch. Scans all streams."""

    def prepare_objects(
        self,
        first: int,
        count: int,
        node_id: int,
        node_epoch: int,
        purpose: int,
        deadline_ms: int,
    ) -> None: ...
    def judge_commits(self, commits: list[tuple[int, int, Columns]]) -> list[tuple[bytes, Columns]]:
        """Judges commits as if applied in turn. Each (owner node, owner epoch, ranges), ranges
        being stream, epoch, start, end, bytes, max_timestamp with ascending streams.

        Answers a verdict per range (0 taken, 1 already, 2 gone, 3 fenced) and the taken ranges
        without their epochs. Raises ValueError on what no correct node sends: a gap, an epoch that
        was never opened, a range of a stream that another node has open.
        """

    def commit(
        self,
        object: int,
        bytes: int,
        level: int,
        index_position: int,
        index_bytes: int,
        ranges: Columns,
    ) -> None: ...
    def judge_replace(self, removed: Columns, added: Columns) -> list[tuple[int, int]]:
        """A verdict for each stream: 0 taken, 1 gone, 2 refused. Raises ValueError where what is
        added does not cover what is removed."""

    def plan_merge(
        self,
        node_id: int,
        limits: tuple[int, int, int, int, int],
        left_out: tuple[list[int], list[int]],
    ) -> tuple[int, int, Columns] | None:
        """What a node should merge next: the reason (0 uploads, 1 runs, 2 sparse), the level of the
        new object, and its parts: stream, object, start, end, bytes, max_timestamp, by stream and
        offset, those of a stream without a gap. Changes nothing.

        `limits`: objects of level 0 that a node may have, how many small ranges in a row make a
        run, bytes of a new object, parts of a merge, dead bytes that are no trouble. `left_out`:
        objects and streams that are not touched.
        """

    def uploads_by_node(self) -> dict[int, int]:
        """How many objects of level 0 of each node small ranges are read from."""

    def space(self) -> tuple[int, int]:
        """Bytes of all objects that are read, and about what is read from them."""

    def replace(
        self, removed: Columns, added: Columns, objects: Columns, cleaned: Columns
    ) -> None: ...
    def doom(self, objects: Columns) -> None: ...
    def forget(self, objects: Columns) -> None: ...
    def prepared(self, limit: int) -> list[int]: ...
    def unreferenced(self, limit: int) -> list[int]:
        """Committed objects from which nothing is read any more."""

    def doomed(self, limit: int) -> list[int]: ...
    def object(self, object: int) -> tuple[int, int, int, int, int, int, int, int, int, int] | None:
        """state, bytes, level, index position, index bytes, node, node epoch, purpose, deadline,
        live ranges. States: 0 prepared, 1 committed, 2 doomed."""

    def locate(
        self, stream: int, offset: int, limit: int
    ) -> list[tuple[int, int, int, int, int, int, int, int]]:
        """The ranges of a stream in order, from the one that holds `offset`."""

    def locate_timestamp(
        self, stream: int, timestamp: int
    ) -> tuple[int, int, int, int, int, int, int, int] | None:
        """The first range with a record of this time or later."""

    def dump_streams(
        self, after: int, limit: int
    ) -> tuple[list[bytes], Columns, Columns, Columns, int] | None:
        """topics, streams, opens, large ranges, last id of the slice."""

    def dump_objects(self, after: int, limit: int) -> tuple[Columns, Columns, int] | None:
        """objects, small ranges, last id of the slice."""

    def load_streams(self, topics: list[bytes], streams: Columns, opens: Columns) -> None: ...
    def load_objects(self, objects: Columns) -> None: ...
    def load_ranges(self, ranges: Columns) -> None: ...

class PartitionTables:
    """The partitions of all topics, 64 bytes each. Topic ids are 16 bytes.

    A row is (replicas, adding, removing, leader, leader epoch, partition epoch, state, moving to,
    reason, data stream, state stream).
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def count(self, topic: bytes) -> int: ...
    def create(
        self, topic: bytes, first: int, partitions: list[tuple[list[int], int, int, int]]
    ) -> None:
        """Each (replicas, leader, leader epoch, data stream). Raises AssertionError on a gap."""

    def set(
        self,
        topic: bytes,
        partition: int,
        replicas: tuple[list[int], list[int], list[int]],
        leader: int,
        leader_epoch: int,
        partition_epoch: int,
        state: int,
        moving_to: int,
        reason: int,
    ) -> None:
        """`replicas`: those placed, those being added, those being removed."""

    def set_state_stream(self, topic: bytes, partition: int, stream: int) -> None: ...
    def remove(self, topic: bytes) -> int: ...
    def get(
        self, topic: bytes, partition: int
    ) -> tuple[list[int], list[int], list[int], int, int, int, int, int, int, int, int] | None: ...
    def topic(
        self, topic: bytes
    ) -> list[tuple[list[int], list[int], list[int], int, int, int, int, int, int, int, int]]: ...
    def led_by(self, node_id: int) -> list[tuple[bytes, int]]:
        """(topic id, partition) of those that the node leads. Scans all partitions."""

    def placed_on(self, node_id: int) -> list[tuple[bytes, int]]:
        """(topic id, partition) of those that list the node. Scans all partitions."""

    def dump(self, after: bytes | None, limit: int) -> tuple[list[bytes], Columns, Columns] | None:
        """topics, partitions, node ids, for the topics after `after`, until `limit` rows."""

    def load(self, topics: list[bytes], partitions: Columns, nodes: Columns) -> None: ...
