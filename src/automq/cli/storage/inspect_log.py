"""Objects of the metadata log: entries, parts of snapshots, pointers to them."""

from collections.abc import Iterator

from automq.cli.configured import FAILED, say
from automq.metadata.dump import describe, describe_entry
from automq.metadata.log import DamagedLog, Pointer, PointerKind, decode_entry, decode_pointer
from automq.metadata.records.registry import UnknownRecord
from automq.metadata.snapshots import decode_part


def show_log_object(key: str, data: bytes | None) -> int:
    """What lies under a key of the log; the exit status."""
    if data is None:
        say(f"automq: there is no {key!r} in the metadata log")
        return FAILED
    print(f"{key}: {len(data)} bytes")
    try:
        for line in lines_of(key, data):
            print(line)
    except (DamagedLog, UnknownRecord) as error:
        print(f"DAMAGED: {error}")
        return FAILED
    print("its checksum is right")
    return 0


def lines_of(key: str, data: bytes) -> Iterator[str]:
    """Raises DamagedLog, UnknownRecord where the bytes are not what the key promises."""
    last = key.rpartition("/")[2]
    if key.startswith("meta/snapshots/"):
        part = decode_part(data, key)
        yield f"part {part.index} of the snapshot after entry {part.position}"
        yield f"that entry's checksum: {part.checksum.hex()}"
        for record in part.records:
            yield f"  {describe(record)}"
    elif last.isdigit():
        entry = decode_entry(data, int(last))
        yield from describe_entry(entry)
        yield f"nonce={entry.nonce.hex()} checksum of the entry before={entry.previous.hex()}"
    else:
        yield from pointer_lines(decode_pointer(data, key))


def pointer_lines(pointer: Pointer) -> Iterator[str]:
    snapshot = pointer.snapshot
    if pointer.kind is PointerKind.CLOSED:
        yield f"chunk {pointer.chunk} is closed, for ever; what it held is in the snapshot"
    else:
        yield f"a hint where to start reading, in chunk {pointer.chunk}: the snapshot"
    yield f"after entry {snapshot.position}, whose checksum is {snapshot.checksum.hex()}:"
    for part in snapshot.parts:
        yield f"  {part.key}: {part.size_bytes} bytes, checksum {part.checksum.hex()}"
