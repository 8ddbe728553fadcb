"""Loading a machine: only what counts, and never for long at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from automq._native import Buf, build_batch
from automq.coordinator.group.machine import Groups
from automq.coordinator.group.records import CommittedOffset, OffsetCommitted
from automq.coordinator.loading import load
from automq.protocol import errors


class SlowClock:
    """Every look at it takes a millisecond."""

    def __init__(self) -> None:
        self.mono_ms = 0

    def now_ms(self) -> int:
        return 0

    def monotonic_ms(self) -> float:
        self.mono_ms += 1
        return self.mono_ms


def batch(*offsets: int, partition: int = 0, at: int = 0) -> Buf:
    records = [
        OffsetCommitted("g", "t", partition, CommittedOffset(offset, -1, "", 0)).key_value()
        for offset in offsets
    ]
    return build_batch([(0, key, value, []) for key, value in records], base_offset=at)


async def pieces(*bufs: Buf) -> AsyncIterator[Buf]:
    for buf in bufs:
        yield buf


async def test_the_last_record_of_a_key_counts_across_pieces() -> None:
    groups = Groups()
    bufs = [batch(1, 2), batch(7, partition=1, at=2), batch(3, at=3)]
    await load(groups, pieces(*bufs), SlowClock(), name="x")
    assert {p: c.offset for p, c in groups.offsets["g"]["t"].items()} == {0: 3, 1: 7}


async def test_a_long_load_lets_others_run() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.ensure_future(others())
    bufs = [batch(1, partition=partition) for partition in range(50)]
    await load(Groups(), pieces(*bufs), SlowClock(), name="x")
    running.cancel()
    assert turns > 50 + 50 // 5 - 2


async def test_a_damaged_batch_names_the_log() -> None:
    damaged = bytearray(bytes(batch(1)))
    damaged[-1] ^= 1
    with pytest.raises(errors.CorruptMessage, match="__consumer_offsets-3"):
        await load(Groups(), pieces(Buf(damaged)), SlowClock(), name="__consumer_offsets-3")
