"""From what the controller and the store know of a partition to its state, without its data."""

import logging
from collections.abc import Sequence

from automq._native import decode_digest
from automq.objectstore import NotFound
from automq.partition.partition import Partition
from automq.partition.producers import ProducerStates
from automq.partition.segments import Segments
from automq.partition.state import Snapshot, decode_snapshot
from automq.stream.client import FoundRange
from automq.stream.engine import MissingData
from automq.world.probe import probe

log = logging.getLogger(__name__)

RANGES_AT_ONCE = 1_000
READ_BYTES = 1 << 20
ATTEMPTS = 3


async def load(partition: Partition) -> None:
    """Make `partition` ready: the newest snapshot, then the digests of what came after it.

    Raises MissingData, DamagedObject, UnknownSnapshot; NotLeaderOrFollower if it was the successor
    of this process that has deleted what is missing.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            await load_once(partition)
        except NotFound as missing:
            # Compaction may have replaced it since; only the extents can tell.
            log.info("opening %s again: %s", partition, missing)
        else:
            break
    else:
        try:
            await load_once(partition)
        except NotFound as missing:
            await partition.engine.reader.confirm()
            raise MissingData(f"{partition}: {missing}") from None
    partition.become_ready()


async def load_once(partition: Partition) -> None:
    """Take the state from the snapshot and the digests. Raises NotFound as well."""
    partition.producers = ProducerStates()
    partition.segments = Segments(start_offset=partition.data.start_offset)
    at_offset = partition.log_start_offset
    snapshot = await newest_snapshot(partition)
    if snapshot is not None:
        at_offset = snapshot.at_offset
        partition.log_start_offset = max(partition.log_start_offset, snapshot.log_start_offset)
        partition.producers = ProducerStates.load([snapshot.producers])
        partition.segments = Segments(snapshot.segments)
    end_offset = partition.log_end_offset
    offset = at_offset
    while offset < end_offset:
        ranges = await partition.engine.reader.locate(
            partition.data.stream_id, offset, RANGES_AT_ONCE
        )
        if not ranges or ranges[0].start_offset > offset:
            # What cannot be seen may be a producer's last batch: its duplicates would be accepted.
            probe("partition: its data cannot be seen when it is opened")
            raise MissingData(
                f"{partition}: no object holds offset {offset}, its end is {end_offset}"
            )
        await add_ranges(partition, ranges, at_offset)
        offset = ranges[-1].end_offset
    partition.producers.advance(end_offset)
    partition.producers.settle(end_offset)
    partition.producers.trim(partition.log_start_offset)
    partition.segments.trim(partition.log_start_offset)
    partition.epochs.trim(partition.log_start_offset)


async def newest_snapshot(partition: Partition) -> Snapshot | None:
    """The last record of the state stream; None where nothing was ever remembered."""
    state = partition.state
    if state is None or state.durable_offset == state.start_offset:
        return None
    found = await partition.engine.read(
        state, state.durable_offset - 1, state.durable_offset, READ_BYTES, at_least_one=True
    )
    return decode_snapshot(found.bufs, f"{partition}: state stream {state.stream_id}")


async def add_ranges(partition: Partition, ranges: Sequence[FoundRange], at_offset: int) -> None:
    """Apply what each range did behind `at_offset`, in order.

    A range that begins before it is applied in part: the snapshot has the rest of it.
    """
    config = partition.config
    for found in ranges:
        digest = await partition.engine.reader.digest(found, partition.data.stream_id)
        for entry in decode_digest(digest) if digest is not None else ():
            partition.producers.apply(entry)
        if found.end_offset > at_offset:
            first_offset = max(found.start_offset, at_offset)
            share = (found.end_offset - first_offset) / (found.end_offset - found.start_offset)
            partition.segments.add(
                base_offset=first_offset,
                size_bytes=round(found.size_bytes * share),
                max_timestamp=found.max_timestamp,
                segment_bytes=config.segment_bytes,
                segment_ms=config.segment_ms,
            )
