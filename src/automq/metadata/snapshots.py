"""Snapshots: the image at a stored entry, in parts, verified by reading them back.

A part is an object `meta/snapshots/<position>-<checksum>/<try>-<part>`: a header and records, of
the same kinds as entries hold. The name carries the checksum of the entry that it follows, so
snapshots of different histories never share one.
"""

import asyncio
import logging
import struct
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from automq.metadata.log import (
    CHECKSUM_BYTES,
    DamagedLog,
    decode_records,
    encode_all,
    sealed,
    unsealed,
)
from automq.metadata.records.cluster import SnapshotPart, SnapshotTaken
from automq.metadata.records.registry import Record
from automq.metadata.register import SteadyRegister

log = logging.getLogger(__name__)

T = TypeVar("T")

PART_BYTES = 4 << 20
"""A part is ended by the record with which it passes this."""

PARTS_AT_ONCE = 8
_TRIES_MAX = 100

_FORMAT = 1
_HEADER = struct.Struct(">hqi16s")


def encode_parts(records: Iterable[Record], position: int, checksum: bytes) -> list[bytes]:
    """The parts of a snapshot after the entry at `position`, in the order of their loading."""
    parts: list[bytes] = []
    body = bytearray()
    for record in records:
        body += encode_all([record])
        if len(body) >= PART_BYTES:
            parts.append(_part(body, position, len(parts), checksum))
            body.clear()
    if body or not parts:
        parts.append(_part(body, position, len(parts), checksum))
    return parts


def _part(body: bytearray, position: int, index: int, checksum: bytes) -> bytes:
    return sealed(_HEADER.pack(_FORMAT, position, index, checksum) + body)


async def write_snapshot(
    register: SteadyRegister, parts: Sequence[bytes], position: int, checksum: bytes
) -> SnapshotTaken:
    """Stores the parts and reads them back; what it answers counts once the log holds it."""
    room = asyncio.Semaphore(PARTS_AT_ONCE)

    async def write(index: int, data: bytes) -> SnapshotPart:
        async with room:
            key = await _write_part(register, index, data, position, checksum)
        return SnapshotPart(key, len(data), data[-CHECKSUM_BYTES:])

    written = await _all(write(index, data) for index, data in enumerate(parts))
    return SnapshotTaken(position, checksum, tuple(written))


async def _write_part(
    register: SteadyRegister, index: int, data: bytes, position: int, checksum: bytes
) -> str:
    # Another software version may have encoded the same image otherwise, under the same name.
    for attempt in range(_TRIES_MAX):
        key = f"meta/snapshots/{position:014d}-{checksum.hex()}/{attempt}-{index}"
        await register.create(key, data)
        if await register.read(key) == data:
            return key
    raise DamagedLog(f"snapshot after entry {position}: part {index} does not read back as written")


async def read_snapshot(
    register: SteadyRegister, snapshot: SnapshotTaken
) -> list[tuple[Record, ...]] | None:
    """The records of each part, in order; None if a part is not there (any more).

    Raises DamagedLog, UnknownRecord.
    """
    room = asyncio.Semaphore(PARTS_AT_ONCE)

    async def read(index: int, part: SnapshotPart) -> tuple[Record, ...] | None:
        async with room:
            data = await register.read(part.key)
        return None if data is None else _decode_part(data, index, part, snapshot)

    parts = await _all(read(*numbered) for numbered in enumerate(snapshot.parts))
    return [part for part in parts if part is not None] if None not in parts else None


async def _all(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them at once. Raises what the first that failed raised, not a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _decode_part(
    data: bytes, index: int, part: SnapshotPart, snapshot: SnapshotTaken
) -> tuple[Record, ...]:
    if len(data) != part.size_bytes or data[-CHECKSUM_BYTES:] != part.checksum:
        raise DamagedLog(f"{part.key}: not the part of {part.size_bytes} bytes that the log names")
    stored = decode_part(data, part.key)
    expected = (snapshot.position, index, snapshot.checksum)
    if (stored.position, stored.index, stored.checksum) != expected:
        raise DamagedLog(
            f"{part.key}: says position {stored.position}, part {stored.index}, not {expected}"
        )
    return stored.records


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as its own bytes tell it: of the snapshot after the entry with this checksum."""

    position: int
    index: int
    checksum: bytes
    records: tuple[Record, ...]


def decode_part(data: bytes, key: str) -> StoredPart:
    """A part by itself. Raises DamagedLog, UnknownRecord."""
    body = unsealed(data, key)
    if len(body) < _HEADER.size:
        raise DamagedLog(f"{key}: {len(data)} bytes are less than a part has")
    layout, position, index, checksum = _HEADER.unpack_from(body)
    if layout != _FORMAT:
        raise DamagedLog(f"{key}: format {layout}; this version of automq reads {_FORMAT}")
    return StoredPart(position, index, checksum, decode_records(body, _HEADER.size, key))


async def delete_snapshot(register: SteadyRegister, snapshot: SnapshotTaken) -> None:
    """Deletes the parts; those that are gone are fine."""
    for part in snapshot.parts:
        await register.delete(part.key)
    log.info("metadata snapshot after entry %d deleted", snapshot.position)
