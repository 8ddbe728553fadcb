"""What a WAL is, whatever it is written to."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from automq._native import (
    Buf,
    WalEnd,
    WalFailure,
    WalFull,
    WalQueueFull,
    WalRecord,
    WalSpaceFull,
    WalTooLarge,
)

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WalOptions:
    """The budgets of one WAL."""

    segment_bytes: int = 64 * MIB
    """Size of a segment file; one that must hold a larger record grows."""
    capacity_bytes: int = 2048 * MIB
    """Space of all segments or objects together; over it `append` raises WalSpaceFull."""
    inflight_bytes_max: int = 64 * MIB
    """What may wait for the disk or the store; over it `append` raises WalQueueFull."""
    iops_max: int = 0
    """Syncs of a disk a second, 0 for no limit."""
    spare_segments_max: int = 4
    """Trimmed segments that are kept to be written again."""
    batch_bytes: int = 8 * MIB
    """In an object store: a batch that has so many is closed."""
    batch_interval_ms: int = 250
    """In an object store: a batch is closed so long after the one before; the first after a pause
    at once."""
    urgent_interval_ms: int = 25
    """The same for a batch with an append that somebody waits for (`hurry`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalStats:
    """A look at the counters of a WAL."""

    commits: int
    """Groups made durable."""
    records: int
    written_bytes: int
    sync_us_sum: int
    sync_counts: tuple[int, ...]
    """Syncs by latency; the bounds are in `SYNC_BOUNDS_US`, the last bucket has none."""
    inflight_bytes: int
    """Appended and not yet durable."""
    inflight_records: int
    live_bytes: int
    """Disk space of the segments in use."""
    segments: int
    spare_segments: int
    segments_created: int
    segments_recycled: int


class WalOwner(NamedTuple):
    """Whose a WAL is, as its own bytes say."""

    cluster_id: bytes
    node_id: int


class WalTaker(NamedTuple):
    """Who reads a WAL to the end and closes it: a node, at the epoch at which the log knows it."""

    node_id: int
    node_epoch: int


class Wal(Protocol):
    """A write-ahead log, written by one incarnation of one node.

    A position grows with every record, by how much is the kind's affair; only a WAL's own positions
    compare. `durable` only grows, and only past what is synced.
    """

    @property
    def wal_id(self) -> int: ...

    @property
    def durable(self) -> int:
        """Everything below this position survives a crash. What `on_durable` was told last."""
        ...

    @property
    def end(self) -> int:
        """Where the next record will begin."""
        ...

    @property
    def used_bytes(self) -> int:
        """What is appended and was not let go by `trim`."""
        ...

    @property
    def bytes_max(self) -> int:
        """What `used_bytes` may grow to, with something left for what a kind wastes."""
        ...

    @property
    def failure(self) -> WalFailure | None:
        """Why the WAL ended for good, if it did. The node has to exit."""
        ...

    @property
    def full(self) -> WalFull | None:
        """Set while the disk has no room for what is waiting."""
        ...

    def append(
        self,
        stream_id: int,
        epoch: int,
        base_offset: int,
        last_offset: int,
        payload: Buf,
        /,
    ) -> int:
        """Queues a record; it is durable once `durable` has reached the returned position.

        One record is always taken when nothing waits. An empty payload is allowed: it proves that
        the WAL can still be written. Raises WalBusy (hold clients back: WalQueueFull until
        `durable` moves, WalSpaceFull until a trim), WalTooLarge, WalClosed, WalFailed.
        """
        ...

    def hurry(self) -> None:
        """What was appended last is waited for in a chain of such waits (HAZARDS 20): it must not
        wait for others to share its write. Call it before `submit`."""
        ...

    def submit(self) -> None:
        """Hands everything queued to the disk. Call it once per turn of the event loop."""
        ...

    def on_durable(self, callback: Callable[[int], None]) -> None:
        """Calls `callback(durable)` once per wake-up in which it moved. There is one callback."""
        ...

    def on_failure(self, callback: Callable[[WalFailure], None]) -> None:
        """Calls `callback` when the WAL fails; at once if it has. There is one callback."""
        ...

    def on_full(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when the disk has no room, and again each time it still has none."""
        ...

    def trim(self, position: int) -> None:
        """Nothing below `position` is needed again: the caller has stored it as the new start.

        Raises ValueError above `durable`.
        """
        ...

    async def close(self, *, clean: bool) -> None:
        """Ends the WAL and lets its lock go.

        Clean: everything appended becomes durable first, and recovery will know that nothing can
        be missing; raises WalFailed if that is not possible. Else: stops at once, as if crashed.
        """
        ...

    def stats(self) -> WalStats: ...


def check_budgets(
    options: WalOptions, size_bytes: int, *, inflight_bytes: int, used_bytes: int, waits_for: str
) -> None:
    """Raise unless a record of `size_bytes` may be appended: WalQueueFull, WalTooLarge,
    WalSpaceFull. One record is always taken when nothing is in flight.
    """
    if inflight_bytes > 0 and inflight_bytes + size_bytes > options.inflight_bytes_max:
        raise WalQueueFull(f"{inflight_bytes} bytes wait for the WAL's {waits_for}")
    if size_bytes > options.capacity_bytes:
        raise WalTooLarge(f"a record of {size_bytes} bytes, of {options.capacity_bytes} in all")
    if used_bytes + size_bytes > options.capacity_bytes:
        raise WalSpaceFull(f"WAL full: it has {used_bytes} of {options.capacity_bytes} bytes")


class WalRecovery(Protocol):
    """The records of a WAL, in order, in chunks. Iterate it once."""

    def __aiter__(self) -> AsyncIterator[list[WalRecord]]:
        """Raises WalMissing, WalLocked, WalForeign, WalUnsupported, WalDamaged, OSError."""
        ...

    @property
    def end(self) -> WalEnd:
        """Where the log ends, known once the iteration is over: nothing is from there on."""
        ...


class WalHome(Protocol):
    """A place where WALs live, each under its id. Any call may raise OSError or StoreError."""

    @property
    def is_shared(self) -> bool:
        """Whether several nodes keep their WALs here."""
        ...

    async def open(
        self, *, wal_id: int, node_id: int, cluster_id: bytes, options: WalOptions
    ) -> Wal:
        """A new WAL. Raises WalUsed if the id was used before, WalLocked, ValueError."""
        ...

    def recover(
        self,
        *,
        wal_id: int,
        start: int,
        cluster_id: bytes | None = None,
        taker: WalTaker | None = None,
    ) -> WalRecovery:
        """What WAL `wal_id` holds from the stored position `start` on, once nobody can add to it.

        The caller has stored that the owner is fenced, and itself as the `taker`, which fences the
        WAL by its kind's means before the first record is read: all that was ever acknowledged is
        read. Where the kind has only a lock, WalLocked says that the owner's process is still
        there. A `cluster_id` is compared with what the WAL says.
        """
        ...

    async def holds(self, wal_id: int) -> bool:
        """Whether this WAL is here, or what is left of it."""
        ...

    async def owner_of(self, wal_id: int) -> WalOwner | None:
        """Who wrote it; None where nothing readable says so."""
        ...

    async def remove(self, wal_id: int) -> bool:
        """Deletes a WAL whose content is stored elsewhere, and that fact too; False if absent."""
        ...

    async def wal_ids(self) -> list[int]:
        """The ids of the WALs that are there, ascending."""
        ...
