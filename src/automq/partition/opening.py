"""From what the controller and the store know of a partition to its state, without its data."""

import logging

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


async def load(partition: Partition) -> None:
    """Make `partition` ready: the newest snapshot, then the digests of what came after it.

    Raises MissingData, DamagedObject, UnknownSnapshot; NotLeaderOrFollower if it was the successor
    of this process that has deleted what is missing.
    """
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
    await follow(partition, at_offset, end_offset)
    partition.producers.advance(end_offset)
    partition.producers.settle(end_offset)
    partition.producers.trim(partition.log_start_offset)
    partition.segments.trim(partition.log_start_offset)
    partition.epochs.trim(partition.log_start_offset)
    partition.become_ready()


async def follow(partition: Partition, offset: int, end_offset: int) -> None:
    """Apply what the ranges from `offset` to `end_offset` did. Raises like `load`.

    Merging replaces and deletes objects all the time, perhaps each of them before it is read here:
    the extents are asked for again where one is missing, and it is damage when they name a missing
    one again and again at the same offset (`ObjectReader.is_damage`).
    """
    reader, missing = partition.engine.reader, 0
    while offset < end_offset:
        ranges = await reader.locate(partition.data.stream_id, offset, RANGES_AT_ONCE)
        if not ranges or ranges[0].start_offset > offset:
            # What cannot be seen may be a producer's last batch: its duplicates would be accepted.
            probe("partition: its data cannot be seen when it is opened")
            raise MissingData(
                f"{partition}: no object holds offset {offset}, its end is {end_offset}"
            )
        try:
            for found in ranges:
                if found.start_offset > offset:
                    break
                await add_range(partition, found, offset)
                offset, missing = found.end_offset, 0
        except NotFound as why:
            missing += 1
            log.info("opening %s, at offset %d: %s", partition, offset, why)
            if await reader.is_damage(found, missing):
                raise MissingData(f"{partition}: {why}") from None


async def newest_snapshot(partition: Partition) -> Snapshot | None:
    """The last record of the state stream; None where nothing was ever remembered."""
    state = partition.state
    if state is None or state.durable_offset == state.start_offset:
        return None
    found = await partition.engine.read(
        state, state.durable_offset - 1, state.durable_offset, READ_BYTES, at_least_one=True
    )
    return decode_snapshot(found.bufs, f"{partition}: state stream {state.stream_id}")


async def add_range(partition: Partition, found: FoundRange, offset: int) -> None:
    """Apply what a range did from `offset` on, which lies in it: all before is known.

    Producers know by themselves what they have seen. Raises NotFound before it has done anything.
    """
    digest = await partition.engine.reader.digest(found, partition.data.stream_id)
    for entry in decode_digest(digest) if digest is not None else ():
        partition.producers.apply(entry)
    share = (found.end_offset - offset) / (found.end_offset - found.start_offset)
    partition.segments.add(
        base_offset=offset,
        size_bytes=round(found.size_bytes * share),
        max_timestamp=found.max_timestamp,
        segment_bytes=partition.config.segment_bytes,
        segment_ms=partition.config.segment_ms,
    )
