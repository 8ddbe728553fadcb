"""A batch as one line of text, in the words of `tools/java/BatchVectors.java`."""

from base64 import b64decode
from zlib import crc32

from automq import _native as native


def dump(encoded: str | bytes) -> str:
    """The headers and records of the batches in `encoded` (base64, or plain bytes)."""
    data = b64decode(encoded) if isinstance(encoded, str) else encoded
    return "".join(_batch(batch) for batch in native.batches(data))


def _batch(batch: native.Batch) -> str:
    batch.check_crc()
    head = (
        f"{batch.base_offset} {batch.last_offset} {batch.leader_epoch} {batch.codec} "
        f"{batch.timestamp_type} {batch.max_timestamp} {batch.producer_id} "
        f"{batch.producer_epoch} {batch.base_sequence} {batch.last_sequence} "
        f"{batch.record_count} {str(batch.is_transactional).lower()} "
        f"{str(batch.is_control).lower()}"
    )
    return ";".join([head, *map(_record, native.read_records(batch.records))])


def _record(record: native.Record) -> str:
    parts = [str(record.offset), str(record.timestamp), _hex(record.key), _hex(record.value)]
    for name, content in record.headers:
        parts.append(f"{name}={'-' if content is None else content.hex()}")
    return " ".join(parts)


def _hex(data: bytes | None) -> str:
    if data is None:
        return "-"
    return f"x{data.hex()}" if len(data) <= 64 else f"#{len(data)}:{crc32(data)}"
