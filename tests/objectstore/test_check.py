"""What a check sees in a store that does not keep its promises, and what it leaves behind."""

import asyncio
import random
from collections.abc import Callable

import pytest

from automq.objectstore import Denied, NoBucket, StoreError, Unavailable
from automq.objectstore.check import (
    Finding,
    Outcome,
    Trial,
    Unfit,
    Unusable,
    Verdict,
    examine,
    refuse_unfit,
    verdict_of,
)
from automq.objectstore.settings import BucketSettings
from automq.objectstore.simulated import Effect, Fault, SimulatedStore
from automq.world import World
from support.virtual_time import LoopClock, run_virtual

HOUR_MS = 3_600_000
OSS_SUSPENDED = BucketSettings(
    answers={
        "versioning": "<Status>Suspended</Status>",
        "lifecycle": None,
        "worm": None,
    }
)


def new_store(seed: int = 0) -> tuple[SimulatedStore, World]:
    world = World(clock=LoopClock(), chance=random.Random(seed))
    store = SimulatedStore(world, latency_ms=(1.0, 20.0))
    store.memory.bucket = BucketSettings(is_bucket=True)
    return store, world


async def found(*stores: SimulatedStore, world: World) -> dict[str, Finding]:
    """All findings of an examination, which leaves nothing behind."""
    trial = Trial(stores, world)
    findings = [it async for told in examine(trial) for it in told.findings]
    await trial.clean()
    return {it.what: it for it in findings}


def examined(fault: Fault | None = None) -> dict[str, Finding]:
    """The findings on a store with a fault, which ends before the cleaning."""

    async def story() -> dict[str, Finding]:
        store, world = new_store()
        if fault is not None:
            store.inject(fault)
        trial = Trial([store], world)
        findings = [it async for told in examine(trial) for it in told.findings]
        store.heal()
        await trial.clean()
        assert not store.memory.objects.list("", None)
        return {it.what: it for it in findings}

    return run_virtual(story())


def unfit(findings: dict[str, Finding]) -> set[str]:
    return {it.what for it in findings.values() if it.outcome is Outcome.UNFIT}


def test_a_store_that_keeps_its_promises_is_fit() -> None:
    findings = examined()
    assert verdict_of(findings.values()) is Verdict.FIT
    assert "one winner in each" in findings["race of 32 creators"].text


def test_a_store_that_ignores_the_condition_is_unfit() -> None:
    findings = examined(Fault(Effect.IGNORE_CONDITION, times=None))
    assert unfit(findings) == {"create if absent", "race of 32 creators"}
    assert "32 of 32 creators at once won" in findings["race of 32 creators"].text


def test_a_store_that_ignores_it_under_load_alone_is_unfit() -> None:
    fault = Fault(Effect.IGNORE_CONDITION, key_prefix="check", probability=0.05, times=None)
    findings = examined(fault)
    assert "race of 32 creators" in unfit(findings)


def test_lost_answers_are_no_broken_promise() -> None:
    lost = Fault(Effect.LOSE_ANSWER, frozenset({"create"}), probability=0.2, times=None)
    assert unfit(examined(lost)) == set()


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (Fault(Effect.HIDE, probability=0.3, times=None), "read after write"),
        (Fault(Effect.CUT, times=None), "ranges"),
        (Fault(Effect.DAMAGE, times=None), "large object"),
        (Fault(Effect.FAIL, frozenset({"list"}), times=None), "list"),
        (Fault(Effect.FAIL, frozenset({"delete"}), times=None, error=Denied), "delete"),
    ],
)
def test_what_a_node_needs_and_does_not_get_is_named(fault: Fault, what: str) -> None:
    assert what in unfit(examined(fault))


def test_copies_are_needed_by_nobody_yet() -> None:
    findings = examined(Fault(Effect.FAIL, frozenset({"copy"}), times=None, error=Denied))
    assert findings["copy"].outcome is Outcome.WARNING
    assert verdict_of(findings.values()) is Verdict.FIT_WITH_WARNINGS


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoBucket, "there is no such bucket"),
        (Denied, "access is refused"),
        (Unavailable, "the store cannot be reached"),
    ],
)
def test_a_store_that_cannot_be_tried_is_told_in_one_line(
    error: type[StoreError], words: str
) -> None:
    async def story() -> None:
        store, world = new_store()
        store.inject(Fault(Effect.FAIL, times=None, error=error))
        with pytest.raises(Unusable, match=words) as caught:
            await anext(examine(Trial([store], world)))
        assert "\n" not in str(caught.value)
        assert len(store.calls) == 1

    run_virtual(story())


def test_what_others_have_in_the_store_is_left_alone() -> None:
    async def story() -> None:
        store, world = new_store()
        await store.put("data/a", [b"theirs"])
        await store.put("check/of-somebody-else", [b"theirs"])
        await found(store, store, world=world)
        left = [it.key for it in store.memory.objects.list("", None)]
        assert left == ["check/of-somebody-else", "data/a"]

    run_virtual(story())


def test_two_addresses_that_lead_to_two_stores_are_unfit() -> None:
    async def story() -> None:
        (one, world), (other, _) = new_store(), new_store()
        trial = Trial([one, other], world)
        findings = [it async for told in examine(trial) for it in told.findings]
        wrong = {it.what for it in findings if it.outcome is Outcome.UNFIT}
        assert {"create if absent", "race of 32 creators", "read after write"} <= wrong

    run_virtual(story())


def test_a_clock_that_is_wrong_is_told() -> None:
    class Ahead(LoopClock):
        def now_ms(self) -> int:
            return super().now_ms() + HOUR_MS

    async def story() -> None:
        store, world = new_store()
        here = World(clock=Ahead(), chance=world.chance)
        findings = await found(store, world=here)
        assert findings["clock"].outcome is Outcome.WARNING
        assert "3599 s ahead of the store" in findings["clock"].text

    run_virtual(story())


# -- the first start


def first_start(prepare: Callable[[SimulatedStore], None], *, conditions: bool = True) -> list[str]:
    """What stays in a store that a first start has tried."""

    async def story() -> list[str]:
        store, world = new_store()
        prepare(store)
        try:
            await refuse_unfit(store, world, conditions=conditions)
        finally:
            left = [it.key for it in store.memory.objects.list("", None)]
        return left

    return run_virtual(story())


def test_a_store_that_keeps_our_rules_is_taken_and_left_as_it_was() -> None:
    assert first_start(lambda store: None) == []


def test_a_store_that_ignores_the_condition_is_refused() -> None:
    with pytest.raises(Unfit, match="ignores the condition"):
        first_start(lambda store: store.inject(Fault(Effect.IGNORE_CONDITION, times=None)))


def test_data_alone_need_no_condition() -> None:
    def ignoring(store: SimulatedStore) -> None:
        store.inject(Fault(Effect.IGNORE_CONDITION, times=None))

    assert first_start(ignoring, conditions=False) == []


def test_a_bucket_of_oss_that_was_versioned_is_refused() -> None:
    def versioned(store: SimulatedStore) -> None:
        store.memory.bucket = OSS_SUSPENDED

    with pytest.raises(Unfit, match="versioning: Suspended"):
        first_start(versioned)


def test_a_missing_bucket_is_told() -> None:
    def missing(store: SimulatedStore) -> None:
        store.inject(Fault(Effect.FAIL, times=None, error=NoBucket))

    with pytest.raises(Unfit, match="there is no such bucket"):
        first_start(missing)


def test_a_store_that_is_down_is_waited_for() -> None:
    async def story() -> float:
        store, world = new_store()
        store.inject(Fault(Effect.FAIL, times=None))

        asyncio.get_running_loop().call_later(600, store.heal)
        await refuse_unfit(store, world)
        assert not store.memory.objects.list("", None)
        return LoopClock().monotonic_ms()

    assert 600_000 <= run_virtual(story()) < 700_000


def test_a_directory_is_not_tried() -> None:
    async def story() -> None:
        store, world = new_store()
        store.memory.bucket = BucketSettings(is_bucket=False)
        await refuse_unfit(store, world)
        assert store.calls == [("settings", "")]

    run_virtual(story())
