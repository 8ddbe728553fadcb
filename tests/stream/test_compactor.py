"""Merging objects: what streams read stays the same, through faults, races and deaths."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from automq.controller.local import LocalController
from automq.objectstore.simulated import Effect, Fault
from automq.protocol import errors
from automq.stream.client import FoundRange, ObjectReplacement, ReplaceVerdict
from automq.stream.compactor import LEFT_OUT_MS, Compactor
from automq.stream.keys import data_key
from support.compaction import MERGES, compactor, held, merge_all, sweep_all, write
from support.storage import CLUSTER, CONFIG, KIB, NODE_ID, Machine, Sizes, StorageNode, running
from support.virtual_time import virtual

QUIET = Sizes(upload_bytes=1 << 20, interval_ms=10**9)


@virtual
async def test_small_ranges_become_large_ones_that_read_the_same() -> None:
    machine = Machine()
    async with running(machine, QUIET) as node:
        streams = [await node.new_stream(name) for name in ("a", "b", "c")]
        written = await write(node, streams, 4)
        node.evict()
        working = await merge_all(node)
        assert [len(await held(node, stream)) for stream in streams] == [1, 1, 1]
        for stream in streams:
            assert await node.read_values(stream) == written[stream.stream_id]
        await sweep_all(node)
        [merged] = {range_[0] for stream in streams for range_ in await held(node, stream)}
        assert machine.object_keys() == [data_key(CLUSTER, merged)]
        metrics = working.metrics
        assert (metrics.merges, metrics.removed_ranges, metrics.added_ranges) == (1, 12, 3)


@virtual
async def test_too_little_is_left_alone_without_a_call_or_an_entry() -> None:
    machine = Machine()
    async with running(machine, QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 3)
        entries, calls = len(machine.register.data), len(machine.store.calls)
        working = asyncio.create_task(compactor(node).run())
        await asyncio.sleep(100_000)
        assert (len(machine.register.data), len(machine.store.calls)) == (entries, calls)
        working.cancel()


@virtual
async def test_what_was_merged_is_merged_again_until_ranges_are_few() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        working = compactor(node)
        running_ = asyncio.create_task(working.run())
        written: list[bytes] = []
        for _ in range(8):
            found = await write(node, [stream], 8)
            written += found[stream.stream_id]
            working.wake()
            await asyncio.sleep(20)
        node.evict()
        assert len(await held(node, stream)) < MERGES.objects_max + 4 * MERGES.fan_in
        assert await node.read_values(stream) == written
        running_.cancel()


# -- death


@virtual
async def test_a_death_at_any_await_of_a_merge_loses_nothing() -> None:
    """The node dies at the n-th step, for every n; the next one merges what is left."""
    steps = 0
    while await dies_at(steps):
        steps += 1
    assert steps >= 10, "the merge has so many places to die at"


async def dies_at(steps: int) -> bool:
    """Whether the merge was not over after so many steps."""
    machine = Machine(seed=steps)
    async with running(machine, QUIET) as node:
        streams = [await node.new_stream(name) for name in ("a", "b")]
        written = await write(node, streams, 4)
        is_over = await run_steps(compactor(node), steps)
    async with running(machine, QUIET) as node:
        await merge_all(node)
        await node.sweeper().sweep()
        for name in ("a", "b"):
            at = node.controller.partition_at(node.metadata.image.cluster.topic_ids[name], 0)
            assert at is not None
            stream = node.open(at)
            assert await node.read_values(stream) == written[stream.stream_id]
            assert len(await held(node, stream)) == 1
        storage = node.metadata.image.storage
        known = {
            data_key(CLUSTER, id_)
            for id_ in range(storage.tables.next_object)
            if (it := storage.object(id_)) is not None and it.live > 0
        }
        assert set(machine.object_keys()) == known
    return not is_over


async def run_steps(working: Compactor, steps: int) -> bool:
    """Run `merge_next` for so many steps at most, then never again."""
    step: Any = working.merge_next().__await__()
    for _ in range(steps):
        try:
            waits_for = next(step)
        except StopIteration:
            return True
        if waits_for is None:
            await asyncio.sleep(0)
        else:
            await asyncio.wait([waits_for])
            waits_for._asyncio_future_blocking = False
    step.close()
    return False


# -- races


class Racing:
    """The controller; something happens right before a replace, or right after it."""

    def __init__(self, node: StorageNode, *, before: Any = None, after: Any = None) -> None:
        self._controller = node.controller
        self._before, self._after = before, after
        self.verdicts: list[Sequence[ReplaceVerdict]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    async def replace_extents(self, replacement: ObjectReplacement) -> Sequence[ReplaceVerdict]:
        if self._before is not None:
            await self._before()
        verdicts = await self._controller.replace_extents(replacement)
        self.verdicts.append(verdicts)
        if self._after is not None:
            await self._after()
        return verdicts


async def trim(node: StorageNode, stream_id: int, start: int) -> None:
    node.controller.trim_later(stream_id, start)
    await node.controller._trim_now()


@virtual
async def test_a_trim_during_a_merge_keeps_that_stream_as_it_is() -> None:
    async with running(Machine(), QUIET) as node:
        first, second = await node.new_stream("a"), await node.new_stream("b")
        written = await write(node, [first, second], 4)
        node.evict()
        racing = Racing(node, before=lambda: trim(node, first.stream_id, 2))
        working = compactor(node, client=racing)
        assert await working.merge_next()
        assert racing.verdicts == [[ReplaceVerdict.REFUSED, ReplaceVerdict.TAKEN]]
        assert len(await held(node, first)) == 2
        assert len(await held(node, second)) == 1
        await sweep_all(node)
        assert await node.read_values(first, 2) == written[first.stream_id][2:]
        assert await node.read_values(second) == written[second.stream_id]
        assert working.metrics.refused_streams == 1


@virtual
async def test_records_deleted_inside_a_range_change_nothing_for_a_merge() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        written: list[bytes] = []
        for number in range(4):
            for record in range(5):
                written.append(b"%d/%d" % (number, record))
                await node.append(stream, written[-1])
            await node.upload()
        node.evict()
        racing = Racing(node, before=lambda: trim(node, stream.stream_id, 3))
        await merge_all(node, client=racing)
        assert racing.verdicts == [[ReplaceVerdict.TAKEN]]
        assert await node.read_values(stream, 3) == written[3:]
        await trim(node, stream.stream_id, 20)
        assert await held(node, stream) == []
        await sweep_all(node)
        assert node.machine.object_keys() == []


@virtual
async def test_a_topic_that_is_deleted_during_a_merge_leaves_nothing_behind() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 4)
        topic_id = node.metadata.image.cluster.topic_ids["t"]
        racing = Racing(node, before=lambda: node.controller.delete_topic(topic_id))
        await merge_all(node, client=racing)
        assert racing.verdicts == [[ReplaceVerdict.GONE]]
        await sweep_all(node)
        assert node.machine.object_keys() == []


@virtual
async def test_a_merge_that_is_late_for_a_takeover_changes_nothing() -> None:
    """The next life has registered and taken the WAL when the merge of the old one comes."""
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        written = await write(node, [stream], 4)
        world = node.machine.world
        heir = LocalController(node.metadata, NODE_ID, world.clock)

        async def take_over() -> None:
            await heir.register(CONFIG, world.new_uuid())
            await heir.fence_and_take_over(NODE_ID)

        before = await held(node, stream)
        with pytest.raises(errors.StaleBrokerEpoch):
            await compactor(node, client=Racing(node, before=take_over)).merge_next()
        assert await held(node, stream) == before
        assert await compactor(node, client=heir).merge_next()
        assert len(await held(node, stream)) == 1
        node.evict()
        assert await node.read_values(stream) == written[stream.stream_id]


@virtual
async def test_an_answer_that_is_lost_after_the_replace_does_no_harm() -> None:
    async def lose() -> None:
        raise errors.RequestTimedOut("no answer")

    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        written = await write(node, [stream], 4)
        node.evict()
        with pytest.raises(errors.RequestTimedOut):
            await compactor(node, client=Racing(node, after=lose)).merge_next()
        assert len(await held(node, stream)) == 1
        await sweep_all(node)
        assert await node.read_values(stream) == written[stream.stream_id]
        assert not await compactor(node).merge_next()


class Remembering:
    """A controller whose first answer about a stream is an old one."""

    def __init__(self, node: StorageNode, old: Sequence[FoundRange]) -> None:
        self._controller = node.controller
        self._old: Sequence[FoundRange] | None = old

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    async def locate(self, stream_id: int, offset: int, limit: int) -> Sequence[FoundRange]:
        old, self._old = self._old, None
        if old is not None:
            return old
        return await self._controller.locate(stream_id, offset, limit)


@virtual
async def test_a_reader_that_holds_replaced_ranges_asks_again() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        written = await write(node, [stream], 4)
        node.evict()
        old = await node.controller.locate(stream.stream_id, 0, 1)
        await merge_all(node)
        await sweep_all(node)
        node.engine.reader._client = Remembering(node, old)
        assert await node.read_values(stream) == written[stream.stream_id]


@virtual
async def test_readers_read_on_while_their_objects_are_replaced_and_deleted() -> None:
    machine = Machine(latency_ms=(1, 30))
    async with running(
        machine, Sizes(upload_bytes=1 << 20, interval_ms=10**9, block_cache_bytes=KIB)
    ) as node:
        stream = await node.new_stream()
        written: list[bytes] = []
        working = compactor(node)
        for _ in range(6):
            written += (await write(node, [stream], 4))[stream.stream_id]
            node.evict()
            reading = [
                asyncio.create_task(node.read_values(stream, bytes_max=100)) for _ in range(3)
            ]
            while await working.merge_next():
                await sweep_all(node)
            for read in reading:
                assert await read == written


# -- damage


def damage(node: StorageNode, object_id: int) -> None:
    """One byte of its first block."""
    objects = node.machine.store.memory.objects
    key = data_key(CLUSTER, object_id)
    bytes_ = bytearray(objects.get(key))
    bytes_[60] ^= 1
    objects.put(key, [bytes(bytes_)])


@contextmanager
def logged() -> Iterator[list[str]]:
    """What the compactor says meanwhile, with its level."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(  # type: ignore[method-assign]
        f"{record.levelname} {record.getMessage()}"
    )
    logger = logging.getLogger("automq.stream.compactor")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


@virtual
async def test_a_damaged_source_is_an_alarm_and_others_go_on() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 9)
        damage(node, 1)
        with logged() as lines:
            working = await merge_all(node)
        assert working.metrics.damaged_objects == 1
        assert [line for line in lines if line.startswith("ERROR") and data_key(CLUSTER, 1) in line]
        ranges = await held(node, stream)
        assert [(start, end) for _, start, end in ranges] == [
            *((0, 1), (1, 2), (2, 6)),
            *((6, 7), (7, 8), (8, 9)),
        ]


@virtual
async def test_a_damaged_source_is_tried_again_after_a_while() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 4)
        key = data_key(CLUSTER, 2)
        objects = node.machine.store.memory.objects
        whole = objects.get(key)
        objects.delete([key])
        working = await merge_all(node)
        assert working.metrics.damaged_objects == 1
        assert len(await held(node, stream)) == 4
        objects.put(key, [whole])
        assert not await working.merge_next()
        await asyncio.sleep(LEFT_OUT_MS / 1000)
        assert await working.merge_next()
        assert len(await held(node, stream)) == 1


@virtual
async def test_a_source_that_a_store_without_a_quorum_hides_for_a_while_is_no_damage() -> None:
    machine = Machine()
    async with running(machine, QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 4)
        machine.store.inject(Fault(Effect.HIDE, frozenset({"get"}), data_key(CLUSTER, 2), times=3))
        working = await merge_all(node)
        assert working.metrics.damaged_objects == 0
        assert len(await held(node, stream)) == 1


@virtual
async def test_a_source_that_went_away_is_no_damage() -> None:
    """It was trimmed and deleted between the plan and the reading."""
    machine = Machine()
    async with running(machine, QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 4)
        machine.store.inject(Fault(Effect.DELAY, frozenset({"get"}), wait_ms=(1_000, 1_000)))
        working = compactor(node)
        merging = asyncio.create_task(working.merge_next())
        await asyncio.sleep(0.5)
        await trim(node, stream.stream_id, 2)
        await sweep_all(node)
        assert await merging
        assert working.metrics.damaged_objects == 0
        assert working.metrics.abandoned_merges == 1


@virtual
async def test_a_merge_that_outlives_its_id_is_thrown_away() -> None:
    machine = Machine()
    async with running(machine, QUIET) as node:
        stream = await node.new_stream()
        written = await write(node, [stream], 4)
        machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), times=None))
        sweeping = asyncio.create_task(node.sweep(grace_ms=0))
        merging = asyncio.create_task(compactor(node).merge_next())
        await asyncio.sleep(2 * 3600)
        machine.store.heal()
        assert await merging
        assert len(machine.object_keys()) == 4
        assert await node.read_values(stream) == written[stream.stream_id]
        await merge_all(node)
        assert len(await held(node, stream)) == 1
        sweeping.cancel()


@virtual
async def test_a_store_that_fails_for_a_while_costs_time_and_nothing_else() -> None:
    machine = Machine(seed=4)
    async with running(machine, QUIET) as node:
        stream = await node.new_stream()
        written = await write(node, [stream], 16)
        machine.store.inject(Fault(Effect.FAIL, probability=0.5, times=None))
        machine.store.inject(Fault(Effect.LOSE_ANSWER, probability=0.3, times=None))
        await merge_all(node)
        machine.store.heal()
        node.evict()
        assert await node.read_values(stream) == written[stream.stream_id]
        assert len(await held(node, stream)) == 4


# -- what it takes


@virtual
async def test_it_takes_no_more_than_its_share_of_the_bandwidth() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 8, value_bytes=20 * KIB)
        clock = node.machine.world.clock
        started_ms = clock.monotonic_ms()
        working = await merge_all(node, bytes_per_s=10 * KIB)
        seconds = (clock.monotonic_ms() - started_ms) / 1000
        moved = working.metrics.read_bytes + working.metrics.written_bytes
        assert moved > 300 * KIB
        # The last object goes at once; its pause follows.
        assert (moved - 100 * KIB) / seconds <= 10 * KIB


@virtual
async def test_it_gives_way_to_uploads_and_readers_but_not_for_ever() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 4)
        clock = node.machine.world.clock
        started_ms = clock.monotonic_ms()
        working = await merge_all(node, is_pressed=lambda: True)
        waited_ms = clock.monotonic_ms() - started_ms
        assert 200 * working.metrics.requests <= waited_ms < 300 * working.metrics.requests
        assert len(await held(node, stream)) == 1


@virtual
async def test_it_says_once_that_it_does_not_keep_up_and_what_to_do() -> None:
    async with running(Machine(), QUIET) as node:
        stream = await node.new_stream()
        await write(node, [stream], 16)
        working = compactor(node, bytes_per_s=1)
        with logged() as lines:
            merging = asyncio.create_task(working.run())
            while not lines or lines[-1].startswith("INFO"):  # noqa: ASYNC110 (time is virtual)
                await asyncio.sleep(1)
            assert working.metrics.behind_ms >= 600_000
            await asyncio.sleep(100_000)
        merging.cancel()
        warnings = [line for line in lines if line.startswith("WARNING")]
        assert len(warnings) == 1
        assert "automq.object.compaction.bytes.per.second" in warnings[0]
        assert working.metrics.behind_ms == 0, "it has caught up"
