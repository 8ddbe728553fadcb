"""What a partition remembers beyond its data: snapshots in its state stream.

A snapshot is one record of the state stream; the newest one counts. It holds where the log starts
(DeleteRecords, retention), the producers' state, and the virtual segments, as of `at_offset`.
Opening applies the digests of the objects behind it, and never reads data (HAZARDS 13).

Invariant: a snapshot lies in the WAL behind all data that it speaks of, so a snapshot that
survives a crash never knows more than the data that survived with it.
"""

import msgspec

from automq._native import Batch, Buf, batches, build_batch, read_records
from automq.partition.segments import Segment

VERSION = 1
RECORD_BYTES_MAX = 64 * 1024 * 1024
NO_TIMESTAMP = -1


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """The state of a partition at `at_offset`, its log end then."""

    version: int
    at_offset: int
    log_start_offset: int
    producers: bytes
    segments: list[Segment]


class UnknownSnapshot(Exception):
    """A snapshot of a version that this software does not know."""


def encode_snapshot(snapshot: Snapshot) -> Batch:
    """A batch of one record, for the state stream."""
    value = msgspec.msgpack.encode(snapshot)
    return batches(build_batch([(NO_TIMESTAMP, None, value, [])]))[0]


def decode_snapshot(bufs: list[Buf], where: str) -> Snapshot:
    """The snapshot in the last record of `bufs`. Raises UnknownSnapshot."""
    record = read_records(bufs[-1], bytes_max=RECORD_BYTES_MAX)[-1]
    assert record.value is not None, where
    version = msgspec.msgpack.decode(record.value)[0]
    if version != VERSION:
        raise UnknownSnapshot(f"{where}: snapshot version {version}, known is {VERSION}")
    return msgspec.msgpack.decode(record.value, type=Snapshot)
