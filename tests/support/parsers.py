"""What parses bytes of a store or below a checksum: good input for each, and what reads it."""

import asyncio
import random

from automq._native import (
    BatchRefused,
    BatchTooLarge,
    Buf,
    Columns,
    CorruptBatch,
    DamagedObject,
    LastByKey,
    ObjectIndex,
    ObjectWriter,
    ProduceRules,
    WalBatch,
    WalDamaged,
    WalUnsupported,
    build_batch,
    check_produce,
    decode_digest,
    digest_of,
    find_timestamp,
    inspect_object,
    join_digests,
    max_timestamp,
    open_block,
    parse_footer,
    read_records,
    recompress,
    wal_object_header,
    wal_object_read,
)
from automq.coordinator.group.records import parse_record
from automq.coordinator.group.subscription import subscribed_topics
from automq.metadata.log import (
    CHECKSUM_BYTES,
    DamagedLog,
    Pointer,
    PointerKind,
    decode_pointer,
    encode_pointer,
    sealed,
)
from automq.metadata.records.cluster import SnapshotPart, SnapshotTaken
from automq.metadata.records.registry import UnknownRecord
from automq.metadata.register import SteadyRegister
from automq.metadata.snapshots import encode_parts, read_snapshot
from automq.protocol import errors
from support.damage import Parse, Target

Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
LENGTH_AT, CRC_AT, CRC_FROM = 8, 17, 21
CASTAGNOLI = 0x82F63B78
UNPACKED_BYTES_MAX = 1 << 20
CLUSTER = bytes(16)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """RFC 3720's checksum, as batches carry it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def put_right(data: bytes) -> bytes:
    """The batch with a right length and checksum, so that what is behind them is looked at."""
    if len(data) < CRC_FROM:
        return data
    fixed = bytearray(data)
    fixed[LENGTH_AT : LENGTH_AT + 4] = (len(data) - 12).to_bytes(4, "big")
    fixed[CRC_AT : CRC_AT + 4] = crc32c(data[CRC_FROM:]).to_bytes(4, "big")
    return bytes(fixed)


def some_batch(chance: random.Random, base_offset: int = 0) -> bytes:
    rows: list[Row] = [
        (
            chance.getrandbits(40),
            chance.choice([None, chance.randbytes(3)]),
            chance.choice([None, chance.randbytes(9), bytes(200)]),
            [("name", chance.choice([None, b"value"]))] * chance.choice([0, 0, 1, 3]),
        )
        for _ in range(chance.randint(1, 5))
    ]
    return bytes(build_batch(rows, base_offset=base_offset, codec=chance.choice(CODECS)))


def _produced(chance: random.Random) -> tuple[bytes, Parse]:
    """A batch as a producer sends it, damaged below its checksum: its records, maybe packed."""
    rules = ProduceRules(
        batch_bytes_max=1 << 20,
        compacted=chance.random() < 0.3,
        codec=chance.choice([None, *CODECS]),
        unpacked_bytes_max=UNPACKED_BYTES_MAX,
    )
    version = chance.choice([3, 7, 12])

    def parse(data: bytes) -> None:
        check_produce(Buf(put_right(data)), rules, 0, version)

    return some_batch(chance), parse


def _stored_batch(chance: random.Random) -> tuple[bytes, Parse]:
    """The same where a broker reads it: searches, copies, the last record of each key."""
    codec = chance.choice(CODECS)
    timestamp = chance.getrandbits(40)

    def read(data: bytes) -> None:
        read_records(data, bytes_max=UNPACKED_BYTES_MAX)

    def search(data: bytes) -> None:
        find_timestamp(data, timestamp, bytes_max=UNPACKED_BYTES_MAX)
        max_timestamp(data, bytes_max=UNPACKED_BYTES_MAX)

    def pack_again(data: bytes) -> None:
        recompress(data, codec, bytes_max=UNPACKED_BYTES_MAX)

    def gather(data: bytes) -> None:
        LastByKey().add(data, bytes_max=UNPACKED_BYTES_MAX)

    def digest(data: bytes) -> None:
        digest_of(data)

    use = chance.choice([read, search, pack_again, gather, digest])
    return some_batch(chance), lambda data: use(put_right(data))


def some_object(chance: random.Random) -> bytes:
    writer = ObjectWriter(object_id=7, cluster_id=CLUSTER, block_bytes=chance.choice([1, 4096]))
    for stream in range(chance.randint(1, 3)):
        batch = some_batch(chance)
        count = sum(1 for _ in read_records(batch))
        writer.add(stream, 0, count, [Buf(batch)])
    built = writer.finish()
    assert built is not None
    return b"".join(bytes(part) for part in built.parts)


def _object(chance: random.Random) -> tuple[bytes, Parse]:
    """A whole object: its footer, index, blocks and digests, in the way of who knows nothing."""

    def parse(data: bytes) -> None:
        whole = Buf(data)
        footer = parse_footer(whole.slice(max(len(data) - 72, 0), len(data)), len(data))
        start, end = footer.index_position, footer.index_position + footer.index_bytes
        index = ObjectIndex(whole.slice(start, min(end, len(data))), position=start)
        for ref in index.blocks():
            end = min(ref.position + ref.size_bytes, len(data))
            open_block(whole.slice(min(ref.position, end), end), ref)

    return some_object(chance), chance.choice([parse, lambda data: inspect_object(Buf(data))])


def _digest(chance: random.Random) -> tuple[bytes, Parse]:
    rows: list[Row] = [(1, None, b"v", [])]
    batch = build_batch(rows, producer_id=5, producer_epoch=0, base_sequence=0)
    good = bytes(digest_of(batch))

    def parse(data: bytes) -> None:
        decode_digest(data)
        join_digests([data, good])

    return good, parse


def _pointer(chance: random.Random) -> tuple[bytes, Parse]:
    """What closes a chunk, damaged below its checksum."""
    part = SnapshotPart("meta/snapshots/x", 100, bytes(CHECKSUM_BYTES))
    taken = SnapshotTaken(9, bytes(CHECKSUM_BYTES), (part,))
    good = encode_pointer(Pointer(chance.choice(list(PointerKind)), 3, taken))
    return good[:-CHECKSUM_BYTES], lambda body: decode_pointer(sealed(body), "meta/3/closed")


def _snapshot_part(chance: random.Random) -> tuple[bytes, Parse]:
    """A part of a snapshot, damaged below its checksum, which the log would name."""
    checksum = chance.randbytes(CHECKSUM_BYTES)
    records = [SnapshotTaken(7, bytes(CHECKSUM_BYTES), ())]
    [good] = encode_parts(records, 9, checksum)

    def parse(body: bytes) -> None:
        data = sealed(body)
        part = SnapshotPart("meta/snapshots/x", len(data), data[-CHECKSUM_BYTES:])
        asyncio.run(read_snapshot(_Holds(data), SnapshotTaken(9, checksum, (part,))))

    return good[:-CHECKSUM_BYTES], parse


class _Holds(SteadyRegister):
    """A register in which every key has the same bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, key: str) -> bytes | None:
        return self._data


def _wal_object(chance: random.Random) -> tuple[bytes, Parse]:
    """An object of a write-ahead log in the store, records or a mark."""
    batch = WalBatch()
    for number in range(chance.choice([0, 1, 3])):
        batch.append(1, 2, number, number, Buf(some_batch(chance)))
    pieces = batch.encode(
        "batch" if len(batch) else "fence",
        wal_id=5,
        number=6,
        cluster_id=CLUSTER,
        nonce=chance.randbytes(16),
        node_id=1,
        node_epoch=2,
    )
    read = chance.choice([wal_object_read, wal_object_header])
    return b"".join(bytes(piece) for piece in pieces), lambda data: read(Buf(data))


def _columns(chance: random.Random) -> tuple[bytes, Parse]:
    rows = chance.randint(0, 5)
    columns = Columns(*([chance.getrandbits(40) for _ in range(rows)] for _ in range(3)))
    return bytes(columns.packed), Columns.parse


def _subscription(chance: random.Random) -> tuple[bytes, Parse]:
    name = b"topic"
    good = b"\0\1\0\0\0\1" + len(name).to_bytes(2, "big") + name + b"\xff\xff\xff\xff"
    return good, lambda data: subscribed_topics([data])


def _group_record(chance: random.Random) -> tuple[bytes, Parse]:
    """A record of `__consumer_offsets`; its key and its value, apart at a place that is drawn."""
    key = b"\0\1\0\5group\0\5topic\0\0\0\1"
    value = b"\0\3" + bytes(8) + b"\xff\xff\xff\xff" + b"\0\0" + bytes(8)

    def parse(data: bytes) -> None:
        parse_record(data[: len(key)], data[len(key) :] or None)

    return key + value, parse


STORED = [
    Target("produced batch", _produced, (BatchRefused, BatchTooLarge, CorruptBatch)),
    Target("stored batch", _stored_batch, (CorruptBatch, BatchTooLarge)),
    Target("object", _object, (DamagedObject,)),
    Target("digest", _digest, (CorruptBatch,)),
    Target("pointer", _pointer, (DamagedLog, UnknownRecord)),
    Target("snapshot part", _snapshot_part, (DamagedLog, UnknownRecord)),
    Target("wal object", _wal_object, (WalDamaged, WalUnsupported)),
    Target("columns", _columns, (ValueError,)),
    Target("subscription", _subscription, ()),
    Target("group record", _group_record, (errors.CorruptMessage,)),
]
