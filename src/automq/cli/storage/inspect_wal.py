"""Write-ahead logs: segment files, and objects of one that is in a store."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from automq._native import WalDamaged, WalEnd, WalError, WalRecord, WalUnsupported, wal_object_read
from automq.cli.configured import FAILED, say
from automq.cli.storage.inspect_batches import HEAD, batch_lines
from automq.cli.storage.sizes import readable
from automq.metadata.storage import Wal
from automq.objectstore import NotFound
from automq.stream.wal.file import FileRecovery
from automq.stream.wal.object_keys import mark_key, wal_prefix

if TYPE_CHECKING:
    from automq.objectstore import ObjectStore

SEGMENT = struct.Struct("<8sIIqii16sQQ")
"""What a segment begins with (docs/formats.md)."""
MAGIC = b"AQWALSEG"


def show_registered(wal: Wal) -> None:
    """What the metadata say of it."""
    state = "closed" if wal.closed else "open"
    if wal.attempt:
        state += f", taken over by node {wal.taker} (epoch {wal.taker_epoch})"
    print(f"write-ahead log {wal.wal} of node {wal.node_id}, epoch {wal.node_epoch}: {state}")
    fence = "" if wal.fence < 0 else f"; it ends at {wal.fence}"
    print(f"{wal.uri}: what is in front of position {wal.start} is committed{fence}")


async def show_files(wal: Wal, cluster_id: bytes) -> int:
    """The segments of a log on this machine, and every record in them; the exit status.

    Reading holds its lock, as a start does: one that is written to is not read.
    """
    root = Path(unquote(wal.uri.partition("://")[2].partition("?")[0]))
    directory = root / str(wal.wal)
    segments = sorted(directory.glob("[0-9]*.wal"))
    if not segments:
        say(f"automq: there is nothing of it in {directory}" + (" any more" if wal.closed else ""))
        return 0 if wal.closed else FAILED
    print(f"{'FROM POSITION':>20} {'SIZE':>10} {'VERSION':>7} {'WAL':>6} {'NODE':>6} CLUSTER")
    for segment in segments:
        print(segment_line(segment))
    start = int(segments[0].stem)
    # Without a taker nobody is fenced: this only looks.
    reading = FileRecovery(root, wal_id=wal.wal, start=start, cluster_id=cluster_id, taker=None)
    is_whole = True
    try:
        async for records in reading:
            is_whole = show_records(records) and is_whole
    except (WalError, OSError) as error:
        say(f"automq: {error}")
        return FAILED
    print(end_line(reading.end))
    return 0 if is_whole else FAILED


def segment_line(path: Path) -> str:
    """The header of a segment; the reading behind it checks its checksum."""
    with path.open("rb") as file:
        head = file.read(SEGMENT.size)
    if len(head) < SEGMENT.size:
        return f"{path.name}: DAMAGED: {len(head)} bytes are less than a header has"
    magic, version, _, wal_id, node_id, _, cluster, first, size_bytes = SEGMENT.unpack(head)
    if magic != MAGIC:
        return f"{path.name}: DAMAGED: it does not begin as a segment does"
    size = readable(size_bytes)
    return f"{first:>20} {size:>10} {version:>7} {wal_id:>6} {node_id:>6} {cluster.hex()}"


def end_line(end: WalEnd) -> str:
    how = "it was closed in order" if end.clean else "it was not closed"
    torn = "; behind it is what was begun and never acknowledged" if end.torn else ""
    return f"all checksums are right; the log ends at {end.position}, {how}{torn}"


def show_records(records: Sequence[WalRecord]) -> bool:
    """Each record, and below it its batches; whether all are what was written."""
    is_whole = True
    if records:
        print(HEAD)
    for record in records:
        print(
            f"position {record.position}: stream {record.stream_id} epoch {record.epoch} "
            f"offsets {record.base_offset}..{record.last_offset} {len(record.payload)} bytes"
        )
        for line, is_good in batch_lines(record.payload):
            print(line)
            is_whole = is_whole and is_good
    return is_whole


async def show_objects(wal: Wal, cluster_id: bytes, store: "ObjectStore") -> int:
    """The objects of a log in a store, in their order; the exit status."""
    shown = failed = 0
    keys = [mark_key(cluster_id, wal.wal)]
    keys += [info.key async for info in store.list(wal_prefix(cluster_id, wal.wal))]
    for key in keys:
        try:
            data = await store.get(key)
        except NotFound:
            # The begin mark goes before the rest, and the rest while it is shown.
            continue
        shown += 1
        failed += show_object(key, bytes(data)) != 0
    if not shown:
        say(f"automq: there is nothing of it in {store.name}" + (" any more" * wal.closed))
        return 0 if wal.closed else FAILED
    return FAILED if failed else 0


def show_object(key: str, data: bytes) -> int:
    """One object of a log; the exit status."""
    print(f"{key}: {len(data)} bytes")
    try:
        head, records = wal_object_read(data)
    except (WalDamaged, WalUnsupported) as error:
        print(f"DAMAGED: {error}")
        return FAILED
    print(
        f"{head.kind}: number {head.number} of write-ahead log {head.wal_id}, by node "
        f"{head.node_id}, {head.records} records, nonce {head.nonce.hex()}"
    )
    is_whole = show_records(records)
    if is_whole:
        print("all checksums are right")
    return 0 if is_whole else FAILED
