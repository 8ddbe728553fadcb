"""The store that fails as told does exactly that."""

import asyncio
import random
from pathlib import Path

import pytest

from automq.objectstore import (
    AlreadyExists,
    Denied,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    open_store,
)
from automq.objectstore.metrics import READS
from automq.objectstore.simulated import Effect, Fault, Faulty, SimulatedStore
from automq.world import World, system_world
from support.virtual_time import LoopClock, run_virtual


def seeded_world(seed: int = 0) -> World:
    return World(clock=LoopClock(), chance=random.Random(seed))


def test_a_failed_call_has_no_effect_and_the_next_works() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        store.inject(Fault(Effect.FAIL, error=Denied))
        with pytest.raises(Denied, match="put 'a'"):
            await store.put("a", [b"x"])
        with pytest.raises(NotFound):
            await store.get("a")
        await store.put("a", [b"x"])

    run_virtual(story())


def test_a_fault_hits_only_what_it_names() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        store.inject(Fault(Effect.FAIL, frozenset({"get"}), key_prefix="meta/", times=None))
        await store.put("meta/1", [b"x"])
        await store.put("data/1", [b"x"])
        await store.get("data/1")
        with pytest.raises(Unavailable):
            await store.get("meta/1")

    run_virtual(story())


def test_a_lost_answer_has_its_effect() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        store.inject(Fault(Effect.LOSE_ANSWER))
        with pytest.raises(OutcomeUnknown):
            await store.put_if_absent("a", [b"first"])
        with pytest.raises(AlreadyExists):
            await store.put_if_absent("a", [b"second"])

    run_virtual(story())


def test_a_late_create_meets_what_was_created_meanwhile() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        store.inject(Fault(Effect.APPLY_LATE, wait_ms=(100, 200)))
        with pytest.raises(OutcomeUnknown):
            await store.put_if_absent("a", [b"first"])
        with pytest.raises(NotFound):
            await store.get("a")
        await store.put_if_absent("a", [b"second"])
        await asyncio.sleep(1)
        assert bytes(await store.get("a")) == b"second"

    run_virtual(story())


def test_a_late_create_lands_when_nobody_looks() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        store.inject(Fault(Effect.APPLY_LATE, wait_ms=(100, 200)))
        with pytest.raises(OutcomeUnknown):
            await store.put_if_absent("a", [b"first"])
        await asyncio.sleep(1)
        assert bytes(await store.get("a")) == b"first"

    run_virtual(story())


def test_an_object_can_be_hidden_from_reads() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        await store.put("a", [b"x"])
        store.inject(Fault(Effect.HIDE, READS))
        with pytest.raises(NotFound):
            await store.get("a")
        assert bytes(await store.get("a")) == b"x"

    run_virtual(story())


def test_a_condition_can_be_ignored_once() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        await store.put("a", [b"first"])
        store.inject(Fault(Effect.IGNORE_CONDITION))
        await store.put_if_absent("a", [b"second"])
        assert bytes(await store.get("a")) == b"second"
        with pytest.raises(AlreadyExists):
            await store.put_if_absent("a", [b"third"])

    run_virtual(story())


def test_a_delayed_call_takes_the_loops_time() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world(), latency_ms=(10, 10))
        store.inject(Fault(Effect.DELAY, wait_ms=(5_000, 5_000)))
        await store.put("a", [b"x"])
        assert asyncio.get_running_loop().time() == pytest.approx(5.02)

    run_virtual(story())


def test_a_caller_that_is_cancelled_after_the_effect_does_not_undo_it() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world(), latency_ms=(10, 10))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.015):
                await store.put("a", [b"x"])
        assert bytes(await store.get("a")) == b"x"

    run_virtual(story())


def test_a_healed_store_works_and_half_the_calls_can_fail() -> None:
    async def story(seed: int) -> list[str]:
        store = SimulatedStore(seeded_world(seed))
        store.inject(Fault(Effect.FAIL, times=None, probability=0.5))
        outcomes = await asyncio.gather(
            *(store.put(f"a/{n}", [b"x"]) for n in range(100)), return_exceptions=True
        )
        store.heal()
        await store.put("b", [b"x"])
        return [type(outcome).__name__ for outcome in outcomes]

    outcomes = run_virtual(story(1))
    assert 25 < outcomes.count("Unavailable") < 75
    assert outcomes == run_virtual(story(1))
    assert outcomes != run_virtual(story(2))


def test_half_of_the_keys_are_deleted_when_a_deletion_breaks_off() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        for key in "abcd":
            await store.put(key, [b"x"])
        store.inject(Fault(Effect.HALF, frozenset({"delete", "put"}), times=2))
        with pytest.raises(OutcomeUnknown):
            await store.delete_many("abcd")
        with pytest.raises(OutcomeUnknown):
            await store.put("e", [b"x"])
        assert [known.key async for known in store.list("")] == ["c", "d"]

    run_virtual(story())


def test_a_damaged_read_differs_in_one_byte_and_a_cut_one_is_short() -> None:
    async def story() -> None:
        store = SimulatedStore(seeded_world())
        await store.put("a", [bytes(100)])
        store.inject(Fault(Effect.DAMAGE, times=2))
        assert sum(byte != 0 for byte in bytes(await store.get("a"))) == 1
        assert sum(byte != 0 for byte in bytes(await store.get_range("a", 10, 20))) == 1
        store.inject(Fault(Effect.CUT))
        assert bytes(await store.get("a")) == bytes(50)
        assert bytes(await store.get("a")) == bytes(100)

    run_virtual(story())


async def test_faults_hit_a_real_store_as_well(tmp_path: Path) -> None:
    world = system_world()
    store = Faulty(open_store(f"file://{tmp_path}/s", world), world)
    store.inject(Fault(Effect.LOSE_ANSWER, frozenset({"create"})))
    with pytest.raises(OutcomeUnknown, match="create 'a'"):
        await store.put_if_absent("a", [b"x"])
    with pytest.raises(AlreadyExists):
        await store.put_if_absent("a", [b"x"])
    store.inject(Fault(Effect.FAIL, frozenset({"get"})))
    with pytest.raises(Unavailable):
        await store.get("a")
    assert bytes(await store.get("a")) == b"x"
    await store.close()


async def test_a_real_store_is_written_late_as_well(tmp_path: Path) -> None:
    world = system_world()
    async with asyncio.TaskGroup() as tasks:
        store = Faulty(open_store(f"file://{tmp_path}/s", world), world, tasks=tasks)
        store.inject(Fault(Effect.APPLY_LATE))
        with pytest.raises(OutcomeUnknown, match="no answer yet"):
            await store.put("a", [b"x"])
    assert bytes(await store.get("a")) == b"x"
    await store.close()
