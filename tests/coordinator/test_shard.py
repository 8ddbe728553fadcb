"""The shell: what it answers when, and what becomes of a refused append."""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from automq.coordinator import Decision, Moment, Shard, ShardSettings, Waiting
from automq.coordinator.shard import ShardState
from automq.protocol import errors
from support.shard_log import MemoryLog
from support.virtual_time import LoopClock, run_virtual


@dataclass
class Total:
    """A machine that adds numbers up, and lets callers wait for the next one."""

    total: int = 0
    waiting: list[int] = field(default_factory=list)
    wake_ms: int | None = None
    ticks: int = 0

    def parse(self, key: bytes, value: bytes | None) -> "Added | None":
        return Added(int(value)) if key == b"total" and value is not None else None

    def resume(self, now: Moment) -> Iterator["Decision[Total, None]"]:
        yield Decision(None)

    def wake_at_ms(self) -> int | None:
        return self.wake_ms

    def tick(self, now: Moment) -> "Decision[Total, None]":
        self.ticks += 1
        self.wake_ms = None
        return Decision(None, [Added(self.total + 1_000)])

    def add(self, number: int) -> "Decision[Total, int]":
        released = [(token, number) for token in self.waiting]
        return Decision(self.total + number, [Added(self.total + number)], [NoneWaits()], released)

    def wait(self, token: int) -> "Decision[Total, int]":
        return Decision(Waiting(token), soft=[OneWaits(token)])


@dataclass(frozen=True)
class Added:
    total: int

    def apply(self, machine: Total, /) -> None:
        assert self.total != 13, "an unlucky number"
        machine.total = self.total

    def key_value(self) -> tuple[bytes, bytes | None]:
        return b"total", str(self.total).encode()


@dataclass(frozen=True)
class OneWaits:
    token: int

    def apply(self, machine: Total, /) -> None:
        machine.waiting.append(self.token)


@dataclass(frozen=True)
class NoneWaits:
    def apply(self, machine: Total, /) -> None:
        machine.waiting.clear()


@dataclass(frozen=True)
class Wakes:
    at_ms: int

    def apply(self, machine: Total, /) -> None:
        machine.wake_ms = self.at_ms


class Scene:
    """A shard that is being served."""

    def __init__(self, log: MemoryLog, settings: ShardSettings | None = None) -> None:
        self.log = log
        self.shard: Shard[Total] = Shard(
            name="totals", log=log, new_machine=Total, clock=LoopClock(), settings=settings
        )
        self.tasks: list[asyncio.Task[Any]] = []

    async def add(self, number: int) -> int:
        return await self.shard.run(lambda total, _: total.add(number))

    async def total(self) -> int:
        return await self.shard.run(lambda total, _: Decision(total.total))

    async def wait_for_next(self) -> int:
        token = self.shard.new_token()
        return await self.shard.run(lambda total, _: total.wait(token))

    async def begin(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start something and let it get as far as it can."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.append(task)
        await settle()
        return task


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    log: MemoryLog | None = None, settings: ShardSettings | None = None
) -> AsyncIterator[Scene]:
    scene = Scene(log or MemoryLog(), settings)
    serve = asyncio.ensure_future(scene.shard.serve())
    await settle()
    try:
        yield scene
    finally:
        serve.cancel()
        await asyncio.gather(serve, *scene.tasks, return_exceptions=True)


def test_a_reply_waits_until_its_records_are_stored() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            adding = await scene.begin(scene.add(5))
            assert not adding.done()
            scene.log.store()
            assert await adding == 5

    run_virtual(story())


def test_a_read_waits_until_what_it_saw_is_stored() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            await scene.begin(scene.add(5))
            reading = await scene.begin(scene.total())
            assert not reading.done()
            scene.log.store()
            assert await reading == 5

    run_virtual(story())


def test_a_command_without_records_is_answered_at_once_when_all_is_stored() -> None:
    async def story() -> None:
        async with serving() as scene:
            assert await scene.total() == 0
            assert scene.log.appends == 0

    run_virtual(story())


def test_replies_leave_in_order_even_if_verdicts_do_not_come_so() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            first = await scene.begin(scene.add(1))
            second = await scene.begin(scene.add(1))
            scene.log.pending[1][1].set_result(None)
            await settle()
            assert not second.done()
            scene.log.pending[0][1].set_result(None)
            assert [await first, await second] == [1, 2]

    run_virtual(story())


def test_commands_that_come_during_a_store_see_what_was_decided() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            first = await scene.begin(scene.add(1))
            second = await scene.begin(scene.add(1))
            scene.log.store()
            assert [await first, await second] == [1, 2]

    run_virtual(story())


def test_a_waiting_reply_is_released_when_the_decision_that_frees_it_is_stored() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            waiting = await scene.begin(scene.wait_for_next())
            await scene.begin(scene.add(7))
            assert not waiting.done()
            scene.log.store()
            assert await waiting == 7

    run_virtual(story())


def test_a_refused_append_reloads_the_machine_and_sends_its_callers_away() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            stored = await scene.begin(scene.add(1))
            scene.log.store()
            await stored
            waiting = await scene.begin(scene.wait_for_next())
            refused = await scene.begin(scene.add(10))
            behind = await scene.begin(scene.total())
            scene.log.refuse(errors.NotEnoughReplicas())
            await settle()
            with pytest.raises(errors.CoordinatorNotAvailable):
                await refused
            with pytest.raises(errors.CoordinatorNotAvailable):
                await behind
            with pytest.raises(errors.NotCoordinator):
                await waiting
            assert await scene.total() == 1
            assert scene.log.reads == 2

    run_virtual(story())


def test_a_refusal_fails_every_later_append_too() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            await scene.begin(scene.add(1))
            later = await scene.begin(scene.add(1))
            scene.log.pending[0][1].set_exception(errors.NotLeaderOrFollower())
            await settle()
            assert scene.shard.state is ShardState.LOADING
            scene.log.pending[1][1].set_result(None)
            with pytest.raises(errors.NotCoordinator):
                await later

    run_virtual(story())


def test_a_reload_waits_for_the_verdict_on_every_append() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            await scene.begin(scene.add(1))
            await scene.begin(scene.add(1))
            scene.log.pending[0][1].set_exception(errors.NotLeaderOrFollower())
            await settle()
            assert scene.log.reads == 1
            with pytest.raises(errors.CoordinatorLoadInProgress):
                await scene.total()
            scene.log.pending[1][1].set_exception(errors.NotLeaderOrFollower())
            scene.log.pending.clear()
            await settle()
            assert scene.log.reads == 2

    run_virtual(story())


def test_an_unknown_outcome_is_waited_for_but_its_callers_are_not_kept_for_ever() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            with pytest.raises(errors.CoordinatorNotAvailable, match="waited too long"):
                await scene.add(1)
            assert scene.shard.state is ShardState.ACTIVE
            scene.log.store()
            await settle()
            assert await scene.total() == 1
            assert scene.log.reads == 1

    run_virtual(story())


def test_a_caller_that_gave_up_does_not_take_its_append_along() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            adding = await scene.begin(scene.add(1))
            adding.cancel()
            await settle()
            scene.log.store()
            await settle()
            assert await scene.total() == 1

    run_virtual(story())


def test_a_log_without_room_holds_new_commands_back() -> None:
    async def story() -> None:
        settings = ShardSettings(inflight_appends_max=1)
        async with serving(MemoryLog(automatic=False), settings) as scene:
            await scene.begin(scene.add(1))
            held = await scene.begin(scene.add(1))
            assert scene.log.appends == 1
            scene.log.store()
            await settle()
            assert scene.log.appends == 2
            scene.log.store()
            assert await held == 2

    run_virtual(story())


def test_a_record_that_never_fits_is_refused_before_anything_changes() -> None:
    async def story() -> None:
        async with serving(settings=ShardSettings(append_bytes_max=70)) as scene:
            with pytest.raises(errors.UnknownServerError, match="an append holds 70"):
                await scene.add(10_000)
            assert await scene.total() == 0
            assert scene.log.reads == 1

    run_virtual(story())


def test_a_large_decision_is_cut_into_several_appends() -> None:
    async def story() -> None:
        async with serving(settings=ShardSettings(append_bytes_max=150)) as scene:
            records = [Added(number) for number in range(5)]
            await scene.shard.run(lambda total, _: Decision(None, records))
            assert scene.log.appends == 3
            assert [value for _, value in scene.log.stored] == [b"0", b"1", b"2", b"3", b"4"]

    run_virtual(story())


def test_a_refused_command_changes_nothing_and_says_why() -> None:
    async def story() -> None:
        async with serving() as scene:

            def refuse(total: Total, now: Moment) -> Decision[Total, None]:
                raise errors.UnknownMemberId("nobody")

            with pytest.raises(errors.UnknownMemberId, match="nobody"):
                await scene.shard.run(refuse)
            assert await scene.total() == 0

    run_virtual(story())


def test_a_decision_may_change_soft_state_and_still_answer_with_an_error() -> None:
    async def story() -> None:
        async with serving() as scene:
            error = errors.RebalanceInProgress()
            with pytest.raises(errors.RebalanceInProgress):
                await scene.shard.run(lambda total, _: Decision(error, soft=[OneWaits(99)]))
            assert await scene.shard.run(lambda total, _: Decision(list(total.waiting))) == [99]

    run_virtual(story())


def test_a_decision_that_fails_in_the_middle_reloads_the_machine() -> None:
    async def story() -> None:
        async with serving() as scene:
            await scene.add(1)
            with pytest.raises(AssertionError):
                await scene.add(12)
            await settle()
            assert await scene.total() == 1
            assert scene.log.reads == 2

    run_virtual(story())


def test_until_it_is_loaded_a_shard_says_so() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.read_gate = asyncio.Event()
        async with serving(log) as scene:
            with pytest.raises(errors.CoordinatorLoadInProgress):
                await scene.total()
            log.read_gate.set()
            await settle()
            assert await scene.total() == 0

    run_virtual(story())


def test_a_load_takes_the_last_record_of_each_key_and_leaves_unknown_ones() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.stored = [(b"total", b"4"), (b"other", b"x"), (b"total", b"6")]
        async with serving(log) as scene:
            assert await scene.total() == 6

    run_virtual(story())


def test_a_load_that_fails_is_tried_again() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.read_errors = [errors.KafkaStorageError("no store"), errors.KafkaStorageError()]
        async with serving(log) as scene:
            await asyncio.sleep(1)
            assert await scene.total() == 0
            assert log.reads == 3

    run_virtual(story())


def test_a_shard_whose_log_has_moved_ends() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.read_errors = [errors.NotLeaderOrFollower()]
        async with serving(log) as scene:
            assert scene.shard.state is ShardState.CLOSED
            with pytest.raises(errors.NotCoordinator):
                await scene.total()

    run_virtual(story())


def test_closing_sends_everyone_to_the_next_coordinator() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            waiting = await scene.begin(scene.wait_for_next())
            adding = await scene.begin(scene.add(1))
            scene.shard.close()
            for task in (waiting, adding):
                with pytest.raises(errors.NotCoordinator):
                    await task
            scene.log.store()

    run_virtual(story())


def test_an_append_that_is_refused_behind_a_closing_is_nobodys_trouble() -> None:
    async def story() -> None:
        troubles: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with serving(MemoryLog(automatic=False)) as scene:
            adding = await scene.begin(scene.add(1))
            scene.shard.close()
            with pytest.raises(errors.NotCoordinator):
                await adding
            scene.log.refuse(errors.NotLeaderOrFollower())
            await settle()
            gc.collect()
            assert not troubles

    run_virtual(story())


def test_the_machine_is_woken_when_it_asked_for_it() -> None:
    async def story() -> None:
        async with serving() as scene:
            await scene.shard.run(lambda total, _: Decision(None, soft=[Wakes(60_000)]))
            await scene.shard.run(lambda total, _: Decision(None, soft=[Wakes(30_000)]))
            await asyncio.sleep(29)
            assert await scene.total() == 0
            await asyncio.sleep(2)
            assert await scene.total() == 1_000
            assert scene.log.stored == [(b"total", b"1000")]

    run_virtual(story())


def test_time_stands_still_for_a_machine_that_is_loading() -> None:
    async def story() -> None:
        async with serving(MemoryLog(automatic=False)) as scene:
            await scene.shard.run(lambda total, _: Decision(None, soft=[Wakes(1_000)]))
            await scene.begin(scene.add(1))
            scene.log.read_gate = asyncio.Event()
            scene.log.refuse(errors.NotLeaderOrFollower())
            await asyncio.sleep(5)
            assert scene.log.appends == 1

    run_virtual(story())


def test_a_deadline_that_cannot_be_acted_on_reloads_the_machine() -> None:
    async def story() -> None:
        async with serving() as scene:
            await scene.add(13 - 1_000)
            await scene.shard.run(lambda total, _: Decision(None, soft=[Wakes(1_000)]))
            await asyncio.sleep(2)
            assert await scene.total() == 13 - 1_000
            assert scene.log.reads == 2

    run_virtual(story())


def test_deadlines_wait_for_a_log_without_room() -> None:
    async def story() -> None:
        settings = ShardSettings(inflight_appends_max=1)
        async with serving(MemoryLog(automatic=False), settings) as scene:
            await scene.shard.run(lambda total, _: Decision(None, soft=[Wakes(1_000)]))
            await scene.begin(scene.add(1))
            await asyncio.sleep(2)
            assert scene.log.appends == 1
            scene.log.automatic = True
            scene.log.store()
            await asyncio.sleep(1)
            assert await scene.total() == 1_001

    run_virtual(story())
