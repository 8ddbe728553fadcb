"""Record batches, a line each."""

from collections.abc import Iterator

from automq._native import Batch, Buf, CorruptBatch, batches

HEAD = (
    f"{'OFFSETS':>23} {'RECORDS':>7} {'SIZE':>8} {'EPOCH':>5} {'CODEC':<6} "
    f"{'PRODUCER':>10} {'SEQUENCES':>15} {'NEWEST':>13}  CRC"
)


def batch_lines(data: Buf) -> Iterator[tuple[str, bool]]:
    """A line for each batch in `data`, and whether it is what was written."""
    try:
        found = batches(data)
    except CorruptBatch as error:
        yield f"  DAMAGED: {error}", False
        return
    for batch in found:
        yield batch_line(batch)


def batch_line(batch: Batch) -> tuple[str, bool]:
    """The header of a batch, and what checking its CRC gives."""
    wrong = ""
    try:
        batch.check_crc()
    except CorruptBatch as error:
        wrong = f"DAMAGED: {error}"
    offsets = f"{batch.base_offset}..{batch.last_offset}"
    producer, sequences = "-", "-"
    if batch.producer_id >= 0:
        producer = f"{batch.producer_id}/{batch.producer_epoch}"
        sequences = f"{batch.base_sequence}..{batch.last_sequence}"
    kind = "control" if batch.is_control else "transactional" if batch.is_transactional else ""
    line = (
        f"{offsets:>23} {batch.record_count:>7} {len(batch.records):>8} {batch.leader_epoch:>5} "
        f"{batch.codec:<6} {producer:>10} {sequences:>15} {batch.max_timestamp:>13}  "
        f"{wrong or 'ok'} {kind}"
    )
    return line.rstrip(), not wrong
