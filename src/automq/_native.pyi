"""The native core. Every call that works on bytes releases the GIL while it does.

Payloads cross as `Buf`: shared, never copied. This file is the contract and carries the docs.
"""

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
