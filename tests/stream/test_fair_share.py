"""Sharing something limited: never more than there is, and everyone gets a turn."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest

from automq.stream.fair_share import FairShare, Grant
from support.virtual_time import virtual


async def queue(share: FairShare, taker: str, amount: int) -> "asyncio.Task[Grant]":
    """Somebody who takes, and whether it waits."""
    task = asyncio.get_running_loop().create_task(share.take(taker, amount))
    await asyncio.sleep(0)
    return task


@virtual
async def test_what_fits_is_given_at_once_and_what_does_not_waits_for_room() -> None:
    share = FairShare(10)
    first = await share.take("a", 6)
    second = await queue(share, "b", 6)
    assert not second.done()
    first.release()
    assert (await second).amount == 6
    assert share.used == 6


@virtual
async def test_a_wish_larger_than_everything_is_given_alone() -> None:
    share = FairShare(10)
    small = await share.take("a", 1)
    huge = await queue(share, "b", 25)
    after = await queue(share, "c", 1)
    assert not huge.done()
    small.release()
    grant = await huge
    assert (share.used, after.done()) == (25, False), "nothing beside it"
    grant.release()
    assert (await after).amount == 1


@virtual
async def test_a_large_wish_is_not_starved_by_small_ones() -> None:
    share = FairShare(10)
    held = [await share.take(f"small-{number}", 1) for number in range(10)]
    large = await queue(share, "large", 8)
    later = await queue(share, "late", 1)
    for grant in held[:8]:
        await asyncio.sleep(0)
        assert {large.done(), later.done()} == {False}
        grant.release()
    assert (await large).amount == 8


@virtual
async def test_the_taker_that_holds_least_is_next() -> None:
    share = FairShare(4)
    greedy = [await share.take("greedy", 1) for _ in range(4)]
    more = [await queue(share, "greedy", 1) for _ in range(3)]
    modest = await queue(share, "modest", 1)
    greedy[0].release()
    assert (await modest).taker == "modest"
    assert not any(task.done() for task in more)
    for task in more:
        task.cancel()


@virtual
async def test_a_taker_that_holds_something_leaves_room_for_the_next_one() -> None:
    share = FairShare(12, is_capped=True)
    assert share.take_now("a", 4) is not None
    assert share.take_now("a", 3) is None, "alone it gets half"
    assert share.take_now("a", 2) is not None
    assert share.take_now("b", 4) is not None
    assert share.take_now("b", 1) is None, "two get a third each"


@virtual
async def test_one_that_is_over_its_own_share_does_not_hold_up_others() -> None:
    share = FairShare(12, is_capped=True)
    held = await share.take("a", 6)
    more = await queue(share, "a", 2)
    assert not more.done()
    assert (await share.take("b", 4)).amount == 4
    held.release()
    assert (await more).amount == 2


@virtual
async def test_whoever_stops_waiting_takes_nothing_and_lets_others_pass() -> None:
    share = FairShare(10)
    held = await share.take("a", 5)
    leaves = await queue(share, "b", 8)
    behind = await queue(share, "c", 5)
    leaves.cancel()
    assert (await behind).amount == 5
    held.release()
    assert share.used == 5
    gone = await queue(share, "d", 10)
    (await behind).release()
    gone.cancel()  # it was granted in the moment in which it was cancelled
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (share.used, share.has_waiting) == (0, False)


@virtual
async def test_a_grant_is_given_back_by_the_last_of_its_holders() -> None:
    share = FairShare(10)
    grant = await share.take("a", 10)
    also = grant.hold()
    grant.release()
    assert share.used == 10
    also.release()
    assert share.used == 0


@virtual
async def test_shares_hold_and_everyone_ends_over_any_history() -> None:
    chance = random.Random(7)
    share = FairShare(64, is_capped=True)
    done: Counter[int] = Counter()

    async def one(taker: int) -> None:
        for _ in range(60):
            amount = chance.choice([1, 1, 4, 16, 100])
            if chance.random() < 0.2:
                with suppress(TimeoutError):
                    (await asyncio.wait_for(share.take(taker, amount), 0.001)).release()
            grant = await share.take(taker, amount)
            assert share.used <= share.total or share.used == amount == 100
            await asyncio.sleep(chance.random() / 50)
            grant.release()
            done[taker] += 1

    async with asyncio.TaskGroup() as tasks:
        for taker in range(12):
            tasks.create_task(one(taker))
    assert set(done.values()) == {60}
    assert (share.used, share.has_waiting) == (0, False)
