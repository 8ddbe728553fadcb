"""The native core. Every call that works on bytes releases the GIL while it does.

Payloads cross as `Buf`: shared, never copied. This file is the contract and carries the docs.
"""

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
        """The first cached batch in `[start_offset, end_offset)` with max_timestamp >= `timestamp`."""

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
    ) -> None:
        """Makes a new WAL in `root/<wal_id>`. `iops_max` is syncs a second, 0 for no limit.

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
    def path(self) -> Path: ...
    @property
    def failure(self) -> WalFailure | None: ...
    @property
    def full(self) -> WalFull | None: ...
    @property
    def ended(self) -> bool: ...

class WalReader:
    """Reads a WAL on a native thread, a chunk ahead of its user. Holds the WAL's lock."""

    def __init__(
        self,
        root: str | Path,
        *,
        wal_id: int,
        cluster_id: bytes | None,
        start: int,
        chunk_bytes: int,
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

def wal_remove(root: str | Path, wal_id: int) -> bool:
    """Deletes a WAL; False if it was not there. Raises WalLocked, OSError."""

# -- blob

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
        """Removes what there is of `keys`. Completes with None."""

    def cancel(self, token: int) -> None:
        """Drops a request in the network; file work that has begun ends on its own. A completion
        may still come."""

    def drain(self) -> builtins.list[tuple[int, str | None, object]]:
        """All completions that wait: (token, None, answer) or (token, error's name, message)."""
