"""The metadata log in a readable form: one line for an entry, one for each of its records."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from enum import IntEnum
from typing import Any

from automq._native import Columns
from automq.metadata.fields import Rows
from automq.metadata.log import (
    CHUNK_ENTRIES,
    Entry,
    chunk_of,
    closed_key,
    decode_entry,
    decode_pointer,
    entry_key,
)
from automq.metadata.reader import newest_closed
from automq.metadata.records.cluster import ClusterCreated, SnapshotTaken
from automq.metadata.records.registry import Record, spec_of
from automq.metadata.register import SteadyRegister
from automq.metadata.snapshots import read_snapshot

ROWS_SHOWN = 8
"""Rows of columns that are written out unless all are wanted."""


def describe(record: Record, *, rows: int = ROWS_SHOWN) -> str:
    """One line: the record's name and its fields as `name=value`."""
    kinds = spec_of(record).body.kinds
    named = [
        f"{it.name}={_text(getattr(record, it.name), kinds[it.name], rows)}"
        for it in fields(record)  # type: ignore[arg-type]
    ]
    return f"{type(record).__name__} {' '.join(named)}"


def describe_entry(entry: Entry, *, rows: int = ROWS_SHOWN) -> Iterator[str]:
    """The lines of an entry."""
    yield (
        f"entry {entry.number} epoch={entry.epoch} node={entry.author.node_id} "
        f"bytes={entry.size_bytes} checksum={entry.checksum.hex()}"
    )
    for record in entry.records:
        yield f"  {describe(record, rows=rows)}"


async def dump_log(register: SteadyRegister, *, rows: int = ROWS_SHOWN) -> AsyncIterator[str]:
    """The log as it is: the newest closed chunk, its snapshot, and all entries after it.

    Raises DamagedLog, UnknownRecord at the place where nothing further can be read.
    """
    number, chunk_entries = 0, CHUNK_ENTRIES
    closed = await newest_closed(register)
    if closed is not None:
        yield f"chunk {closed.chunk} is the newest that is closed"
        async for line, created in _dump_snapshot(register, closed.snapshot, rows):
            chunk_entries = chunk_entries if created is None else created.chunk_entries
            yield line
        number = closed.snapshot.position + 1
    while (data := await register.read(entry_key(number, chunk_entries))) is not None:
        entry = decode_entry(data, number)
        for line in describe_entry(entry, rows=rows):
            yield line
        for record in entry.records:
            if isinstance(record, ClusterCreated):
                chunk_entries = record.chunk_entries
        number += 1
    key = closed_key(chunk_of(number, chunk_entries))
    if (data := await register.read(key)) is not None:
        yield f"chunk {decode_pointer(data, key).chunk} was closed meanwhile: dump again"


async def _dump_snapshot(
    register: SteadyRegister, snapshot: SnapshotTaken, rows: int
) -> AsyncIterator[tuple[str, ClusterCreated | None]]:
    parts = await read_snapshot(register, snapshot)
    if parts is None:
        yield f"snapshot after entry {snapshot.position} is missing", None
        return
    yield f"snapshot after entry {snapshot.position}, {snapshot.size_bytes} bytes", None
    for part in parts:
        for record in part:
            created = record if isinstance(record, ClusterCreated) else None
            yield f"  {describe(record, rows=rows)}", created


def _text(value: Any, kind: Any, rows: int) -> str:
    match value:
        case Columns():
            return _table(value, kind, rows)
        case IntEnum():
            return value.name
        case bytes():
            return value.hex() if value else "-"
        case str():
            return repr(value)
        case tuple():
            return f"[{', '.join(_item(item) for item in value)}]"
    return str(value)


def _item(value: Any) -> str:
    if hasattr(value, "__dataclass_fields__"):
        named = (f"{it.name}={_text(getattr(value, it.name), None, 0)}" for it in fields(value))
        return "{" + " ".join(named) + "}"
    return _text(value, None, 0)


def _table(columns: Columns, kind: Any, rows: int) -> str:
    names = kind.names if isinstance(kind, Rows) else range(columns.width)
    shown = list(zip(*columns.columns(), strict=True))[:rows]
    lines = ["(" + " ".join(f"{n}={v}" for n, v in zip(names, row, strict=True)) + ")"
             for row in shown]  # fmt: skip
    more = len(columns) - len(shown)
    return f"[{', '.join(lines)}{f', and {more} more' if more > 0 else ''}]"
