"""Runs: what the core does with plain produce requests is what the general way does with them."""

import gc
import random
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from automq._native import Buf, Lane, LogCache, ProduceRules, Producing, Run, build_batch
from automq.broker.apis.produce import FIRST_TOPIC_ID_VERSION
from automq.broker.connection import Slot
from automq.broker.runs import Runs
from automq.protocol import errors
from automq.protocol.codec import encode_request
from automq.protocol.messages.produce_request import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from automq.stream.wal import FileWals, WalOptions, WalSpaceFull
from automq.stream.wal.simulated import SimulatedWal
from support.partitions import hosting
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce
from support.storage import Machine, batch, values_of
from support.virtual_node import Answer, VirtualClient, VirtualNode, virtual_node
from support.virtual_time import WALL_START_MS, run_virtual, virtual

TOPICS: dict[str, dict[str, str]] = {
    "plain": {},
    "rolls": {"segment_ms": "100"},
    "stamped": {"message_timestamp_type": "LogAppendTime"},
    "packed": {"compression_type": "lz4"},
    "keyed": {"cleanup_policy": "compact"},
}
PARTITIONS = 2
PRODUCERS = (-1, -1, -1, 11, 11, 12, 13)
STEPS, BURST_MAX = 40, 12


class Story:
    """A random client: most of what it sends is right and in order, some is not."""

    def __init__(self, seed: int, topic_ids: dict[str, bytes]) -> None:
        self.chance = random.Random(seed)
        self.topic_ids = topic_ids
        self.sequences: dict[tuple[str, int, int], int] = {}

    def request(self) -> tuple[ProduceRequest, int]:
        chance = self.chance
        version = chance.randint(3, FIRST_TOPIC_ID_VERSION)
        names = chance.sample(list(TOPICS), 2 if chance.random() < 0.1 else 1)
        topics = [
            TopicProduceData(
                name="" if version == FIRST_TOPIC_ID_VERSION else name,
                topic_id=self.topic_ids[name] if version == FIRST_TOPIC_ID_VERSION else bytes(16),
                partition_data=[
                    PartitionProduceData(index, self.records(name, index))
                    for index in self.indexes()
                ],
            )
            for name in names
        ]
        acks = chance.choice([-1] * 8 + [1] * 4 + [7])
        return ProduceRequest(acks=acks, timeout_ms=1000, topic_data=topics), version

    def indexes(self) -> list[int]:
        draw = self.chance.random()
        if draw < 0.1:
            return [0, 1]
        return [9] if draw < 0.11 else [0, 0] if draw < 0.12 else [self.chance.choice((0, 0, 0, 1))]

    def records(self, topic: str, index: int) -> Any:
        chance = self.chance
        key = b"k" if topic == "keyed" and chance.random() < 0.9 else None
        rows: list[tuple[int, bytes | None, bytes, list[Any]]] = [
            (
                WALL_START_MS + chance.randint(0, 60),
                key,
                chance.randbytes(chance.randint(0, 40)),
                [],
            )
            for _ in range(chance.randint(1, 3))
        ]
        if chance.random() < 0.05:
            rows = [(stamp + 200, *rest) for stamp, *rest in rows]  # type: ignore[misc]
        codec = chance.choice(["none", "none", "gzip", "lz4"])
        fields = self.sequenced(topic, index, len(rows))
        batch = bytes(build_batch(rows, codec=codec, **fields))
        return batch if chance.random() < 0.97 else batch[:-1] + b"?"

    def sequenced(self, topic: str, index: int, count: int) -> dict[str, Any]:
        chance = self.chance
        producer_id = chance.choice(PRODUCERS)
        if producer_id < 0:
            return {}
        place = (topic, index, producer_id)
        sequence = self.sequences.get(place, 0)
        draw = chance.random()
        if draw < 0.08:
            sequence = max(0, sequence - count)  # perhaps a duplicate, perhaps out of order
        elif draw < 0.1:
            sequence += 5
        else:
            self.sequences[place] = sequence + count
        epoch = 1 if draw > 0.995 else 0
        return {
            "producer_id": producer_id,
            "producer_epoch": epoch,
            "base_sequence": sequence,
            "transactional": producer_id == 13 and draw > 0.9,
        }


def state_of(node: VirtualNode) -> dict[str, Any]:
    """All that requests leave behind, of every partition."""
    found: dict[str, Any] = {}
    for partition in node.broker.partitions:
        if partition.topic in TOPICS:
            found[f"{partition.topic}-{partition.index}"] = (
                partition.log_end_offset,
                partition.high_watermark,
                partition.last_stable_offset,
                list(partition.producers.describe()),
                partition.producers.end_offset,
                [str(row) for row in partition.segments.rows],
            )
    return found


def wal_of(node: VirtualNode) -> list[tuple[Any, ...]]:
    entries = node.machine.disk._platters[node.parts.engine.wal.wal_id].entries
    return [
        (row.stream_id, row.epoch, row.base_offset, row.last_offset, bytes(row.payload))
        for row in (entry.record for entry in entries)
    ]


async def told(seed: int) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """The answers and states of a story, and the WAL's records."""
    seen: list[Any] = []
    async with virtual_node(Machine(seed)) as node:
        ids = {
            name: await node.create_topic(name, PARTITIONS, **configs)
            for name, configs in TOPICS.items()
        }
        story = Story(seed, ids)
        clients = [node.client() for _ in range(3)]
        for _ in range(STEPS):
            seen.append(await burst(story, clients))
            if story.chance.random() < 0.15:
                seen.append(state_of(node))
        seen.append(state_of(node))
        return seen, wal_of(node)


async def burst(story: Story, clients: list[VirtualClient]) -> list[Any]:
    sent: list[Answer] = []
    for _ in range(story.chance.randint(1, BURST_MAX)):
        client = story.chance.choice(clients)
        request, version = story.request()
        sent.append(client.send(request, version))
    return [await answer.wait() for answer in sent]


def sequenced(sequence: int) -> ProduceRequest:
    """A batch of one record of producer 5."""
    return produce(b"x", producer_id=5, producer_epoch=0, base_sequence=sequence)


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many requests each run has had, of nodes started inside the `with` block."""
    taken: list[int] = []
    real = Runs.answer

    def answer(self: Runs, slot: Slot, run: Run) -> None:
        taken.append(run.requests)
        real(self, slot, run)

    with patch.object(Runs, "answer", answer):
        yield taken


@contextmanager
def the_general_way_only() -> Iterator[None]:
    with patch.object(Runs, "start", lambda self, frames: None):
        yield


@contextmanager
def a_log_that_raises() -> Iterator[list[Exception]]:
    """What the write-ahead logs of nodes started in the `with` block raise, once there is any."""
    raised: list[Exception] = []
    real = SimulatedWal.append

    def append(self: SimulatedWal, *record: Any) -> int:
        if raised:
            raise raised[0]
        return real(self, *record)

    with patch.object(SimulatedWal, "append", append):
        yield raised


@pytest.mark.parametrize("seed", range(8))
def test_runs_answer_remember_and_write_what_the_general_way_does(seed: int) -> None:
    with counted() as taken:
        fast = run_virtual(told(seed))
    assert sum(taken) > STEPS, "most of it is plain"
    with the_general_way_only():
        assert run_virtual(told(seed)) == fast


@virtual
async def test_what_goes_on_where_it_was_is_done_by_the_core() -> None:
    with counted() as taken:
        async with virtual_node(Machine()) as node:
            await node.create_topic()
            client = node.client()
            for sequence in range(3):
                row = only(await client.ask(sequenced(sequence), PRODUCE_VERSION))
                assert (row.error_code, row.base_offset) == (0, sequence)
    assert taken == [1, 1]


@virtual
async def test_a_reader_that_waits_is_woken_by_a_run() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        reader, writer = node.client(), node.client()
        await writer.ask(produce(b"a"), PRODUCE_VERSION)
        waiting = reader.send(fetch(1, max_wait_ms=60_000), FETCH_VERSION)
        await writer.ask(produce(b"b"), PRODUCE_VERSION)
        assert only(await waiting.wait()).high_watermark == 2


@virtual
async def test_the_answer_to_a_run_waits_for_the_sync() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        client = node.client()
        await client.ask(produce(b"a"), PRODUCE_VERSION)
        partition = node.broker.partitions.leader_of(b"", "t", 0)
        second = client.send(produce(b"b"), PRODUCE_VERSION)
        assert (partition.log_end_offset, partition.high_watermark) == (2, 1)
        assert only(await second.wait()).base_offset == 1
        assert partition.high_watermark == 2


@virtual
async def test_a_duplicate_of_what_a_run_appended_gets_the_first_offset() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        client = node.client()
        answers = [client.send(sequenced(number), PRODUCE_VERSION) for number in (0, 1, 2, 1, 3)]
        rows = [only(await answer.wait()) for answer in answers]
        assert [row.base_offset for row in rows] == [0, 1, 2, 1, 3]
        late = only(await client.ask(sequenced(9), PRODUCE_VERSION))
        assert errors.by_code(late.error_code) is errors.OutOfOrderSequenceNumber


@virtual
async def test_the_newest_epoch_is_committed_also_where_the_core_wrote_at_an_older_one() -> None:
    async with hosting(Machine()) as host:
        partition = await host.create()
        await host.produce(partition, b"a")
        frame = Buf(encode_request(produce(b"b"), PRODUCE_VERSION, 1, "me")[4:])
        engine, was = host.node.engine, partition.data
        run = engine.producing.produce([frame], now_ms=WALL_START_MS, room_bytes=1 << 20)
        assert run is not None
        engine.close(was)
        again = engine.open(was.stream_id, was.epoch + 1, was.start_offset, was.end_offset)
        engine.append(again, batch(b"c"), lambda: None)
        assert engine.take_epochs() == {was.stream_id: was.epoch + 1}


@virtual
async def test_a_run_ends_where_the_log_has_no_room_and_the_rest_waits_for_it() -> None:
    with a_log_that_raises() as raised, counted() as taken:
        async with virtual_node(Machine()) as node:
            await node.create_topic()
            client = node.client()
            await client.ask(produce(b"a"), PRODUCE_VERSION)
            raised.append(WalSpaceFull("full"))
            answers = [client.send(produce(b"x"), PRODUCE_VERSION) for _ in range(3)]
            first = only(await answers[0].wait())
            assert errors.by_code(first.error_code) is errors.KafkaStorageError
            raised.clear()
            assert [only(await later.wait()).base_offset for later in answers[1:]] == [1, 2]
            assert taken[0] == 1


def test_a_mistake_in_the_log_is_answered_logged_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with virtual_node(Machine()) as node:
            await node.create_topic()
            client = node.client()
            await client.ask(produce(b"a"), PRODUCE_VERSION)
            raised.append(ValueError("a mistake of ours"))
            row = only(await client.ask(produce(b"b"), PRODUCE_VERSION))
            raised.clear()
            assert errors.by_code(row.error_code) is errors.UnknownServerError
            assert row.error_message == "a mistake of ours"
            assert node.broker.metrics.unexpected_errors == 1

    with a_log_that_raises() as raised:
        run_virtual(story())
    assert "the write-ahead log refused a batch" in caplog.text


@pytest.mark.asyncio
async def test_what_the_core_wrote_to_a_real_log_is_recovered(tmp_path: Path) -> None:
    wals = FileWals(tmp_path)
    options = WalOptions(segment_bytes=64 << 10, capacity_bytes=1 << 20)
    wal = await wals.open(wal_id=1, node_id=0, cluster_id=bytes(16), options=options)
    producing = Producing(wal.append, LogCache(bytes_max=1 << 20))
    lane = Lane(7, 3, 0, 0)
    producing.add("t", bytes(16), 0, lane)
    lane.lend_segment(
        ProduceRules(batch_bytes_max=1 << 20),
        segment_bytes=1 << 30,
        segment_ms=1 << 40,
        size_bytes=1,
        first_timestamp=WALL_START_MS,
        max_timestamp=WALL_START_MS,
    )
    values = [random.Random(size).randbytes(size) for size in (10, 4_100, 30_000)]
    frames = [Buf(encode_request(produce(it), PRODUCE_VERSION, 1, "me")[4:]) for it in values]
    run = producing.produce(frames, now_ms=WALL_START_MS, room_bytes=1 << 20)
    assert run is not None
    assert run.requests == len(values)
    await wal.close(clean=True)
    recovery = wals.recover(wal_id=1, start=0)
    records = [record async for chunk in recovery for record in chunk]
    assert [values_of([it.payload], it.base_offset) for it in records] == [[it] for it in values]
    assert [(it.stream_id, it.epoch, it.base_offset) for it in records] == [
        (7, 3, number) for number in range(len(values))
    ]


def test_a_log_and_who_appends_to_it_in_the_core_are_let_go_together() -> None:
    class OwnsItsAppender:
        def __init__(self) -> None:
            self.producing = Producing(self.append, LogCache(bytes_max=1 << 20))

        def append(self, *_: object) -> int:
            return 0

    gone = weakref.ref(OwnsItsAppender())
    gc.collect()
    assert gone() is None
