"""The metadata log's keys and bytes: entries, and pointers to snapshots (docs/formats.md)."""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from automq.metadata.fields import DamagedRecord, Reader
from automq.metadata.records.cluster import SnapshotTaken
from automq.metadata.records.registry import Record, UnknownRecord, decode, encode

CHUNK_ENTRIES = 4096
"""Entries of a chunk, unless the log was created with another number."""

ENTRY_BYTES_MAX = 8 << 20
CHECKSUM_BYTES = 16
NO_CHECKSUM = bytes(CHECKSUM_BYTES)
"""What the first entry names as the checksum of the one before it."""

_ENTRY_FORMAT = 1
_POINTER_FORMAT = 1
_HEADER = struct.Struct(">hqii16s16s16sq")
_POINTER = struct.Struct(">hbq")


class DamagedLog(Exception):
    """What is stored is not what was written, or contradicts itself. An operator must look."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes entries: one process, by its incarnation."""

    node_id: int
    incarnation: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is stored. `written_ms` is for people."""

    number: int
    epoch: int
    author: Author
    nonce: bytes
    previous: bytes
    written_ms: int
    records: tuple[Record, ...]
    checksum: bytes
    size_bytes: int


class PointerKind(IntEnum):
    """A chunk that is closed, or a hint where to start reading."""

    CLOSED = 0
    HINT = 1


_POINTER_KINDS = frozenset(PointerKind)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Names a snapshot that the log named before. The snapshot of a closed chunk covers it."""

    kind: PointerKind
    chunk: int
    snapshot: SnapshotTaken


def chunk_of(number: int, chunk_entries: int) -> int:
    return number // chunk_entries


def entry_key(number: int, chunk_entries: int) -> str:
    return f"meta/{chunk_of(number, chunk_entries):010d}/{number:014d}"


def closed_key(chunk: int) -> str:
    return f"meta/{chunk:010d}/closed"


def hint_key(chunk: int, index: int) -> str:
    """Hints of a chunk are counted; the snapshot of each ends right before or within the chunk."""
    return f"meta/{chunk:010d}/snapshot-{index}"


def checksum_of(data: bytes) -> bytes:
    """BLAKE2b with 16 bytes: proves both the bytes and, through `previous`, all before them."""
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest()


def sealed(body: bytes | bytearray) -> bytes:
    """The bytes with their checksum behind them."""
    return bytes(body) + checksum_of(bytes(body))


def unsealed(data: bytes, what: str) -> bytes:
    """The bytes without their checksum. Raises DamagedLog if it is not theirs."""
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if checksum_of(body) != checksum:
        raise DamagedLog(f"{what}: the checksum over its {len(data)} bytes does not hold")
    return body


def encode_entry(
    body: bytes | bytearray,
    *,
    number: int,
    epoch: int,
    author: Author,
    nonce: bytes,
    previous: bytes,
    written_ms: int,
) -> bytes:
    """An entry of records that are encoded already."""
    header = _HEADER.pack(
        _ENTRY_FORMAT,
        number,
        epoch,
        author.node_id,
        author.incarnation,
        nonce,
        previous,
        written_ms,
    )
    return sealed(header + body)


def decode_entry(data: bytes, number: int) -> Entry:
    """Raises DamagedLog, UnknownRecord."""
    what = f"metadata entry {number}"
    if len(data) < _HEADER.size + CHECKSUM_BYTES:
        raise DamagedLog(f"{what}: {len(data)} bytes are less than an entry has")
    body = unsealed(data, what)
    layout, stored, epoch, node_id, incarnation, nonce, previous, written_ms = _HEADER.unpack_from(
        body
    )
    if layout != _ENTRY_FORMAT:
        raise DamagedLog(f"{what}: format {layout}; this version of automq reads {_ENTRY_FORMAT}")
    if stored != number:
        raise DamagedLog(f"{what}: it says that it is entry {stored}")
    return Entry(
        number=number,
        epoch=epoch,
        author=Author(node_id, incarnation),
        nonce=nonce,
        previous=previous,
        written_ms=written_ms,
        records=decode_records(body, _HEADER.size, what),
        checksum=data[-CHECKSUM_BYTES:],
        size_bytes=len(data),
    )


def decode_records(body: bytes, at: int, what: str) -> tuple[Record, ...]:
    """The records from `at` to the end. Errors name `what` they were in."""
    try:
        return tuple(decode(Reader(body, at)))
    except DamagedRecord as why:
        raise DamagedLog(f"{what}: {why}") from why
    except UnknownRecord as why:
        raise UnknownRecord(why.key, why.version, where=what) from None


def encode_pointer(pointer: Pointer) -> bytes:
    body = bytearray(_POINTER.pack(_POINTER_FORMAT, pointer.kind, pointer.chunk))
    encode([pointer.snapshot], body)
    return sealed(body)


def decode_pointer(data: bytes, key: str) -> Pointer:
    """Raises DamagedLog, UnknownRecord."""
    body = unsealed(data, key)
    if len(body) < _POINTER.size:
        raise DamagedLog(f"{key}: {len(data)} bytes are less than a pointer has")
    layout, kind, chunk = _POINTER.unpack_from(body)
    records = decode_records(body, _POINTER.size, key)
    match records:
        case (SnapshotTaken() as snapshot,) if layout == _POINTER_FORMAT and kind in _POINTER_KINDS:
            return Pointer(PointerKind(kind), chunk, snapshot)
    raise DamagedLog(
        f"{key}: format {layout}, kind {kind} with {len(records)} records names no snapshot"
    )


def encode_all(records: Iterable[Record]) -> bytearray:
    """Records as an entry holds them."""
    out = bytearray()
    encode(records, out)
    return out
