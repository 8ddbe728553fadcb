"""Offsets by timestamp (KIP-79, KIP-734): in objects first, then in memory."""

from typing import TYPE_CHECKING

from automq._native import find_timestamp

if TYPE_CHECKING:
    from automq.partition.partition import Partition

Found = tuple[int, int]
"""(timestamp in ms, offset)"""


async def offset_for_timestamp(partition: "Partition", timestamp: int) -> Found | None:
    """The first record at or above `timestamp`, from the log's start on; None if there is none.

    Timestamps need not grow, so the search is in order of offsets: objects, then memory. What was
    uploaded and evicted between the two makes the search start again.
    """
    engine, stream = partition.engine, partition.data
    while True:
        cached_from = engine.cache.start_offset(stream.stream_id)
        found = await engine.reader.find_timestamp(
            stream.stream_id, timestamp, partition.log_start_offset
        )
        if found is not None:
            return found
        if engine.cache.start_offset(stream.stream_id) != cached_from:
            continue
        return _find_cached(partition, timestamp)


def _find_cached(partition: "Partition", timestamp: int) -> Found | None:
    """Search what memory holds of the partition, up to its high watermark."""
    engine, stream = partition.engine, partition.data
    start_offset = partition.log_start_offset
    while True:
        batch = engine.cache.find_timestamp(
            stream.stream_id, timestamp, partition.high_watermark, start_offset=start_offset
        )
        if batch is None:
            return None
        found = find_timestamp(batch.buf, timestamp, start_offset=partition.log_start_offset)
        if found is not None:
            return found[1], found[0]
        start_offset = batch.next_offset


async def largest_timestamp(partition: "Partition") -> Found | None:
    """The largest timestamp of the partition and the first record that has it."""
    engine, stream = partition.engine, partition.data
    best = await engine.reader.largest_timestamp(stream.stream_id, partition.log_start_offset)
    while True:
        batch = engine.cache.find_timestamp(
            stream.stream_id,
            best + 1,
            partition.high_watermark,
            start_offset=partition.log_start_offset,
        )
        if batch is None:
            break
        best = batch.max_timestamp
    return None if best < 0 else await _newest(partition, best)


async def _newest(partition: "Partition", best: int) -> Found | None:
    """The record with the largest timestamp, which is `best` or less.

    Ranges and batches know their largest timestamp, but DeleteRecords may have taken the record
    that had it. Then what is left is searched by halves.
    """
    found = await offset_for_timestamp(partition, best)
    low, high = 0, best
    while found is None and low < high:
        middle = (low + high + 1) // 2
        if await offset_for_timestamp(partition, middle) is None:
            high = middle - 1
        else:
            low = middle
    return found or await offset_for_timestamp(partition, low)
