"""Old data gives way to appends, and is never starved by them."""

import asyncio
from dataclasses import fields
from math import inf
from typing import Any

from automq.broker.cold_pace import (
    BYTES_PER_S_MIN,
    CATCH_UP,
    LATE_MS,
    LOOK_MS,
    SYNCS_MIN,
    WAIT_MS_MAX,
    ColdPace,
    ColdPacing,
    Syncs,
    UsualSyncs,
)
from automq.stream.wal import WalStats
from automq.world.background import Background
from broker.test_cold_fetch import ask, memory, now_s, opened, written
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, produce
from support.storage import KIB, Machine
from support.virtual_time import LoopClock, virtual

MIB = 1 << 20
LOOK_S = LOOK_MS / 1000


def looked(
    pace: ColdPace, *, late_share: float, sent_bytes: int = 0, appended_bytes: int = 1
) -> float:
    """The rate after one look."""
    pace.wait_ms(sent_bytes, now_ms=0)
    pace.look(LOOK_MS, late_share=late_share, appended_bytes=appended_bytes)
    return pace.bytes_per_s


def test_while_nothing_is_appended_there_is_no_limit() -> None:
    pace = ColdPace()
    assert looked(pace, late_share=1.0, appended_bytes=0) == inf
    assert pace.wait_ms(1 << 40, 0) == 0
    assert pace.wait_ms(1 << 40, 0) == 0


def test_a_loop_that_is_late_makes_it_slower_than_it_was() -> None:
    pace = ColdPace()
    sent_bytes = 100 * MIB
    was_per_s = sent_bytes / LOOK_S
    assert looked(pace, late_share=0.05, sent_bytes=sent_bytes) == was_per_s * 0.85
    assert looked(pace, late_share=1.0, sent_bytes=sent_bytes) == was_per_s * 0.85 * 0.7


def test_a_loop_that_is_not_late_makes_it_faster() -> None:
    pace = ColdPace()
    slow = looked(pace, late_share=1.0, sent_bytes=50 * MIB)
    fast = [looked(pace, late_share=0) for _ in range(20)][-1]
    assert fast > slow + 50 * MIB


def test_when_the_appends_end_so_does_the_limit() -> None:
    pace = ColdPace()
    assert looked(pace, late_share=1.0) < inf
    assert looked(pace, late_share=1.0, appended_bytes=0) == inf


def test_however_late_the_loop_is_a_reader_behind_comes_nearer() -> None:
    pace = ColdPace()
    assert [looked(pace, late_share=1.0) for _ in range(50)][-1] == BYTES_PER_S_MIN
    appended_bytes = 20 * MIB
    rate = looked(pace, late_share=1.0, appended_bytes=appended_bytes)
    assert rate == CATCH_UP * appended_bytes / LOOK_S


def test_answers_take_turns_at_the_rate_and_wait_no_longer_than_they_may() -> None:
    pace = ColdPace()
    rate = looked(pace, late_share=1.0)
    answer_bytes = int(rate / 10)
    waits_ms = [pace.wait_ms(answer_bytes, now_ms=1000) for _ in range(15)]
    assert [round(wait_ms) for wait_ms in waits_ms[:4]] == [0, 100, 200, 300]
    assert max(waits_ms) == WAIT_MS_MAX
    assert pace.wait_ms(answer_bytes, now_ms=5000) == 0


def test_syncs_that_take_longer_than_while_nothing_was_sent_are_slower() -> None:
    usual = UsualSyncs()
    usual.undisturbed(Syncs(100, 50_000))
    assert not usual.are_slower(Syncs(10, 6_000), at_lowest_rate=False)
    assert [usual.are_slower(Syncs(10, 20_000), at_lowest_rate=False) for _ in range(9)][-1]
    usual.undisturbed(Syncs(100, 250_000))
    assert not usual.are_slower(Syncs(10, 20_000), at_lowest_rate=False)


def test_one_slow_look_at_the_syncs_says_nothing() -> None:
    usual = UsualSyncs()
    usual.undisturbed(Syncs(100, 50_000))
    usual.are_slower(Syncs(10, 5_000), at_lowest_rate=False)
    assert not usual.are_slower(Syncs(10, 10_000), at_lowest_rate=False)
    assert not usual.are_slower(Syncs(0, 0), at_lowest_rate=False)


def test_what_is_usual_is_not_known_by_a_few_syncs() -> None:
    usual = UsualSyncs()
    usual.undisturbed(Syncs(SYNCS_MIN - 1, 10))
    assert not usual.are_slower(Syncs(100, 10**9), at_lowest_rate=False)


def test_syncs_that_are_slow_at_the_lowest_rate_are_slow_for_another_reason() -> None:
    usual = UsualSyncs()
    usual.undisturbed(Syncs(100, 50_000))
    assert [usual.are_slower(Syncs(10, 50_000), at_lowest_rate=False) for _ in range(5)][-1]
    assert not usual.are_slower(Syncs(10, 50_000), at_lowest_rate=True)
    assert not usual.are_slower(Syncs(10, 50_000), at_lowest_rate=False)


class BusyClock(LoopClock):
    """Every turn of the loop takes longer than it should."""

    turns = 0

    def monotonic_ms(self) -> float:
        self.turns += 1
        return super().monotonic_ms() + self.turns * LATE_MS * 2


class SteadyLog:
    """A log to which something is appended at every look, each sync as long as it is told."""

    def __init__(self) -> None:
        self.end = 0
        self.sync_us = 500
        self._sync_us_sum = 0

    def stats(self) -> WalStats:
        self.end += 1
        self._sync_us_sum += self.sync_us
        counters: dict[str, Any] = dict.fromkeys((field.name for field in fields(WalStats)), 0)
        return WalStats(
            **{**counters, "commits": self.end, "sync_us_sum": self._sync_us_sum, "sync_counts": ()}
        )


async def sending(pacing: ColdPacing, looks: int) -> None:
    for _ in range(2 * looks):
        pacing.wait_ms(MIB * 10)
        await asyncio.sleep(LOOK_S / 2)


@virtual
async def test_the_length_of_turns_is_looked_at_while_old_data_is_sent_and_new_is_appended() -> (
    None
):
    async with asyncio.TaskGroup() as tasks:
        pacing = ColdPacing(Background(tasks), BusyClock(), SteadyLog())
        await sending(pacing, looks=50)
        assert pacing.pace.bytes_per_s == BYTES_PER_S_MIN
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == 1, "nobody looks when nothing is sent"


@virtual
async def test_old_data_is_sent_slower_while_syncs_take_longer_than_before() -> None:
    log = SteadyLog()
    for _ in range(SYNCS_MIN):
        log.stats()
    async with asyncio.TaskGroup() as tasks:
        pacing = ColdPacing(Background(tasks), LoopClock(), log)
        await sending(pacing, looks=10)
        assert pacing.pace.bytes_per_s == inf
        log.sync_us = 5_000
        await sending(pacing, looks=20)
        assert pacing.pace.bytes_per_s < 150 * MIB
        log.sync_us = 500
        slow = pacing.pace.bytes_per_s
        await sending(pacing, looks=20)
        assert pacing.pace.bytes_per_s > slow


@virtual
async def test_old_data_waits_for_its_turn_and_recent_data_does_not() -> None:
    machine = Machine()
    old = bytes(100 * KIB)
    await written(machine, old, b"small")
    async with opened(machine) as node:
        client, reader = node.client(), node.client()
        await ask(client, {0: 0})
        pace = node.broker.cold_pacing.pace
        pace.bytes_per_s = 1 * MIB
        pace.wait_ms(MIB // 2, now_s() * 1000)
        began_s = now_s()
        waiting = client.send(fetch(), FETCH_VERSION)
        await node.client().ask(produce(b"new", partition=1), PRODUCE_VERSION)
        assert (await ask(reader, {0: 0, 1: 1}))[1] == [b"new"]
        assert now_s() - began_s < 0.1
        await waiting.wait()
        assert 0.4 < now_s() - began_s <= WAIT_MS_MAX / 1000 + 0.1


@virtual
async def test_a_client_that_leaves_while_its_answer_waits_keeps_no_memory() -> None:
    machine = Machine()
    await written(machine, bytes(100 * KIB))
    async with opened(machine) as node:
        pace = node.broker.cold_pacing.pace
        pace.bytes_per_s = 1 * MIB
        pace.wait_ms(MIB, now_s() * 1000)
        client = node.client()
        client.send(fetch(), FETCH_VERSION)
        await asyncio.sleep(0.2)
        assert memory(node).used > 0
        client.close()
        await asyncio.sleep(2)
        assert memory(node).used == 0
