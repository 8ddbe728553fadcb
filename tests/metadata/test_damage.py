"""What is damaged below its checksum, or is another part than the log names: told as damage."""

import asyncio

import pytest

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
from automq.metadata.register import SteadyRegister
from automq.metadata.snapshots import read_snapshot
from automq.world import system_world
from support.memory_register import MemoryRegister

KEY = "meta/snapshots/x"
NO_CHECKSUM = bytes(CHECKSUM_BYTES)


def snapshot_of(data: bytes) -> SnapshotTaken:
    return SnapshotTaken(9, NO_CHECKSUM, (SnapshotPart(KEY, len(data), data[-CHECKSUM_BYTES:]),))


def read_back(stored: bytes, named: SnapshotTaken) -> None:
    register = MemoryRegister()
    register.create_now(KEY, stored)
    asyncio.run(read_snapshot(SteadyRegister(register, system_world()), named))


def test_a_pointer_of_an_unknown_kind_is_damage() -> None:
    good = encode_pointer(Pointer(PointerKind.HINT, 3, snapshot_of(sealed(b""))))
    body = bytearray(good[:-CHECKSUM_BYTES])
    body[2] = 7
    with pytest.raises(DamagedLog, match="meta/0/closed: format 1, kind 7"):
        decode_pointer(sealed(body), "meta/0/closed")


def test_another_part_than_the_log_names_is_damage_and_not_a_group_of_errors() -> None:
    with pytest.raises(DamagedLog, match="not the part of"):
        read_back(sealed(b"another"), snapshot_of(sealed(b"one")))


def test_a_part_that_is_too_short_is_damage() -> None:
    short = sealed(b"short")
    with pytest.raises(DamagedLog, match="bytes are less than a part has"):
        read_back(short, snapshot_of(short))
