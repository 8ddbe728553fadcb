"""The write-ahead log: what makes an append durable before it is acknowledged.

`wal_home(uri)` is a place of WALs: it opens one to append to, hands out what an earlier one holds,
lists and removes. `FileWals` keeps them in segment files, written
by a native thread (its front page, the crate `automq-wal`, specifies every byte); `SimulatedDisk`
is its twin in memory, which survives the crash of a simulated node and loses what was not synced.
`ObjectWals` keeps them in an object store, in numbered objects that are created if absent.

Invariants, the same for all:
* `durable` passes a record only after a successful sync (or create) of it and of all before it.
* A WAL id serves one incarnation of a node. A WAL is never opened for writing a second time.
* After a failed write or sync nothing is acknowledged any more; the node exits.
* Recovery hands out a prefix of what was appended: everything that was durable, perhaps more.
  What is bad below the highest position known to be synced is damage and raises WalDamaged.
* A full disk is no failure: appends wait until there is room.

It never knows what a payload is, and never reads back what it wrote except in recovery. A lock of
files guards against accidents on one machine; it never fences another. In an object store recovery
fences the owner, wherever it is.
"""

from automq._native import (
    WAL_SYNC_BOUNDS_US,
    WalBusy,
    WalClosed,
    WalDamaged,
    WalEnd,
    WalError,
    WalFailed,
    WalFailure,
    WalForeign,
    WalFull,
    WalLocked,
    WalMissing,
    WalQueueFull,
    WalRecord,
    WalSpaceFull,
    WalTooLarge,
    WalUnsupported,
    WalUsed,
)
from automq.stream.wal.file import FileWal, FileWals
from automq.stream.wal.object_home import ObjectWals
from automq.stream.wal.object_wal import ObjectWal
from automq.stream.wal.simulated import SimulatedDisk, SimulatedWal
from automq.stream.wal.uri import store_uri_of, wal_home
from automq.stream.wal.wal import (
    Wal,
    WalHome,
    WalOptions,
    WalOwner,
    WalRecovery,
    WalStats,
    WalTaker,
)

SYNC_BOUNDS_US: tuple[int, ...] = tuple(WAL_SYNC_BOUNDS_US)
"""Upper bounds of `WalStats.sync_counts`, in microseconds."""

__all__ = [
    "SYNC_BOUNDS_US",
    "FileWal",
    "FileWals",
    "ObjectWal",
    "ObjectWals",
    "SimulatedDisk",
    "SimulatedWal",
    "Wal",
    "WalBusy",
    "WalClosed",
    "WalDamaged",
    "WalEnd",
    "WalError",
    "WalFailed",
    "WalFailure",
    "WalForeign",
    "WalFull",
    "WalHome",
    "WalLocked",
    "WalMissing",
    "WalOptions",
    "WalOwner",
    "WalQueueFull",
    "WalRecord",
    "WalRecovery",
    "WalSpaceFull",
    "WalStats",
    "WalTaker",
    "WalTooLarge",
    "WalUnsupported",
    "WalUsed",
    "store_uri_of",
    "wal_home",
]
