"""What is repeated, how long, how loud, and what never is."""

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import ClassVar

import pytest

from automq.objectstore import (
    AlreadyExists,
    Corrupt,
    Denied,
    NotAllDeleted,
    NotFound,
    OutcomeUnknown,
    StoreError,
    Throttled,
    TryAgain,
    Unavailable,
)
from automq.objectstore.memory import MemoryStore
from automq.objectstore.retry import BACKOFF_MAX_MS, RetryBudget, Retrying
from automq.objectstore.simulated import Effect, Fault, SimulatedStore
from automq.world import World
from support.virtual_time import LoopClock, run_virtual


def seeded_world(seed: int = 0) -> World:
    return World(clock=LoopClock(), chance=random.Random(seed))


def make(seed: int = 0) -> tuple[SimulatedStore, Retrying]:
    world = seeded_world(seed)
    store = SimulatedStore(world)
    return store, Retrying(store, world)


def elapsed_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("error", [Unavailable, Throttled, Denied, TryAgain, OutcomeUnknown])
def test_a_failed_put_is_repeated_until_it_works(error: type[StoreError]) -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.FAIL, times=20, error=error))
        await retrying.put("a", [b"x"])
        assert store.calls == [("put", "a")] * 21
        assert bytes(await retrying.get("a")) == b"x"

    run_virtual(story())


def test_ten_minutes_of_outage_are_waited_out() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.FAIL, times=None))
        asyncio.get_running_loop().call_later(600, store.heal)
        await retrying.put("a", [b"x"])
        assert 600 <= elapsed_s() <= 600 + BACKOFF_MAX_MS / 1000
        assert len(store.calls) < 300

    run_virtual(story())


def test_a_create_is_sent_once_whatever_happens() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.LOSE_ANSWER))
        with pytest.raises(OutcomeUnknown):
            await retrying.put_if_absent("a", [b"x"])
        assert store.calls == [("create", "a")]

    run_virtual(story())


def test_a_create_whose_answer_was_lost_is_settled_by_what_is_stored() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.LOSE_ANSWER))
        with pytest.raises(AlreadyExists):
            await retrying.create_until_settled("a", [b"my nonce"])
        assert bytes(await store.get("a")) == b"my nonce"

    run_virtual(story())


def test_a_create_that_is_applied_late_never_becomes_two() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.APPLY_LATE, wait_ms=(5_000, 5_000)))
        await retrying.create_until_settled("a", [b"mine"])
        await asyncio.sleep(10)
        assert bytes(await store.get("a")) == b"mine"

    run_virtual(story())


def test_answers_are_not_repeated() -> None:
    async def story() -> None:
        store, retrying = make()
        await store.put("a", [b"x"])
        with pytest.raises(NotFound):
            await retrying.get("b")
        with pytest.raises(Corrupt):
            await retrying.get_range("a", 0, 2)
        with pytest.raises(AlreadyExists):
            await retrying.create_until_settled("a", [b"y"])
        assert len(store.calls) == 4
        assert elapsed_s() < 0.01

    run_virtual(story())


def test_a_deadline_ends_with_the_last_failure() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.FAIL, times=None, error=Throttled))
        with pytest.raises(Throttled):
            await retrying.within(10_000).get("a")
        assert 4 < elapsed_s() <= 10

    run_virtual(story())


def test_a_cancelled_call_stops_repeating() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.FAIL, times=None))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await retrying.put("a", [b"x"])
        asked = len(store.calls)
        await asyncio.sleep(60)
        assert len(store.calls) == asked

    run_virtual(story())


def test_a_listing_that_breaks_goes_on_where_it_was() -> None:
    async def story() -> None:
        store, retrying = make()
        for key in "abc":
            await store.put(key, [b"x"])
        found = []
        async for known in retrying.list(""):
            found.append(known.key)
            store.inject(Fault(Effect.FAIL, frozenset({"list"})))
        assert found == ["a", "b", "c"]

    run_virtual(story())


def test_a_listing_that_cannot_begin_is_repeated() -> None:
    async def story() -> None:
        store, retrying = make()
        await store.put("a", [b"x"])
        store.inject(Fault(Effect.FAIL, frozenset({"list"}), times=3))
        assert [known.key async for known in retrying.list("")] == ["a"]
        assert store.calls.count(("list", "")) == 4

    run_virtual(story())


def test_an_outage_is_told_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.FAIL, times=None))
        asyncio.get_running_loop().call_later(60, store.heal)
        await asyncio.gather(*(retrying.put(f"a/{n}", [b"x"]) for n in range(50)))
        await retrying.get("a/1")

    with caplog.at_level(logging.INFO):
        run_virtual(story())
    told = [record.getMessage() for record in caplog.records if "store" in record.getMessage()]
    assert len(told) == 2
    assert told[0].startswith("object store fails, repeating until it works: put 'a/")
    assert told[1].startswith("object store works again after 6")


def test_one_lost_request_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.FAIL))
        await retrying.put("a", [b"x"])

    run_virtual(story())
    assert not caplog.records


def test_many_failing_calls_spend_the_budget_and_slow_down() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.FAIL, times=None))
        calls = [asyncio.ensure_future(retrying.get(f"a/{n}")) for n in range(200)]
        await asyncio.sleep(2)
        assert len(store.calls) <= 200 + 100
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    run_virtual(story())


def test_successes_earn_retries_back() -> None:
    budget = RetryBudget()
    spent = sum(budget.spend() for _ in range(1_000))
    assert spent == 100
    for _ in range(11):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_the_same_seed_waits_the_same() -> None:
    async def story() -> float:
        store, retrying = make(seed=7)
        store.inject(Fault(Effect.FAIL, times=9))
        await retrying.put("a", [b"x"])
        return elapsed_s()

    assert run_virtual(story()) == run_virtual(story())


def test_a_write_that_hangs_ends_at_its_deadline_with_an_unknown_outcome() -> None:
    async def story() -> None:
        store, retrying = make()
        store.inject(Fault(Effect.DELAY, times=None, wait_ms=(60_000, 60_000)))
        limited = retrying.within(3_000)
        for write in (limited.put("a", [b"x"]), limited.put_if_absent("b", [b"x"])):
            with pytest.raises(OutcomeUnknown, match="within 3000 ms"):
                await write
        with pytest.raises(Unavailable, match="within 3000 ms"):
            await limited.get("a")
        assert elapsed_s() == pytest.approx(9)

    run_virtual(story())


def test_only_the_keys_that_failed_are_deleted_again() -> None:
    class Stubborn(MemoryStore):
        asked: ClassVar[list[tuple[str, ...]]] = []

        async def delete_many(self, keys: Iterable[str]) -> None:
            some = tuple(keys)
            self.asked.append(some)
            if len(self.asked) < 3:
                why = Throttled("delete", self.name, some[-1], "slow down")
                raise NotAllDeleted(self.name, {some[-1]: why})
            await super().delete_many(some)

    async def story() -> None:
        world = seeded_world()
        await Retrying(Stubborn(world.clock), world).delete_many(["a", "b", "c"])
        assert Stubborn.asked == [("a", "b", "c"), ("c",), ("c",)]

    run_virtual(story())
