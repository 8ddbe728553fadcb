"""Fetches of objects: no waiting for a slow partition, nothing starved, a budget kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from automq.broker.cold_reads import UNASKED_S_MAX
from automq.broker.fetching import GATHER_S, PATIENCE_S
from automq.broker.listener import STALL_LOOK_S, STALLED_WANTED_MS
from automq.objectstore.simulated import Effect, Fault
from automq.protocol import errors
from automq.protocol.messages.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from automq.protocol.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from automq.stream.fair_share import FairShare
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce, values
from support.storage import KIB, Machine
from support.virtual_node import VirtualClient, VirtualNode, virtual_node
from support.virtual_time import virtual

WAIT_MS = 500
SETTINGS = ("automq.upload.interval.ms=1000",)


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def written(machine: Machine, *texts: bytes, times: int = 1) -> list[str]:
    """A topic with one partition for each text, in one object each; the keys of the objects.

    `times` batches of the text are in each.
    """
    keys: list[str] = []
    async with virtual_node(machine, *SETTINGS) as node:
        await node.create_topic(partitions=len(texts))
        for partition, text in enumerate(texts):
            for _ in range(times):
                await node.client().ask(produce(text, partition=partition), PRODUCE_VERSION)
            await asyncio.sleep(5)
            [key] = set(machine.object_keys()) - set(keys)
            keys.append(key)
    return keys


@asynccontextmanager
async def opened(machine: Machine, *settings: str) -> AsyncIterator[VirtualNode]:
    """A new life of the node, with nothing in memory and every partition open."""
    async with virtual_node(machine, *SETTINGS, *settings) as node:
        for partition in node.broker.partitions:
            await partition.until_ready()
        machine.store.calls.clear()
        yield node


def slow(machine: Machine, key: str, seconds: float) -> None:
    wait_ms = (seconds * 1000, seconds * 1000)
    gets = frozenset({"get"})
    machine.store.inject(Fault(Effect.DELAY, gets, key_prefix=key, times=1, wait_ms=wait_ms))


def memory(node: VirtualNode) -> FairShare:
    return node.broker.engine.reader.blocks.memory


async def ask(client: VirtualClient, offsets: dict[int, int], **fields: Any) -> list[Any]:
    """The values of each partition that is asked for, in order."""
    asked = fetch(partitions=offsets, **({"max_wait_ms": WAIT_MS} | fields))
    [topic] = (await client.ask(asked, FETCH_VERSION)).responses
    assert {row.error_code for row in topic.partitions} == {0}
    return [values(row) for row in topic.partitions]


@virtual
async def test_a_slow_partition_is_left_out_and_found_by_the_next_fetch() -> None:
    machine = Machine()
    keys = await written(machine, b"slow", b"fast")
    async with opened(machine) as node:
        slow(machine, keys[0], 3)
        client, began_s = node.client(), now_s()
        assert await ask(client, {0: 0, 1: 0}) == [[], [b"fast"]]
        assert now_s() - began_s < GATHER_S + 0.01
        assert await ask(client, {0: 0, 1: 1}) == [[b"slow"], []]
        assert 3 <= now_s() - began_s < 3.1
        assert machine.store.calls.count(("get", keys[0])) <= 2, "its index and its block, once"


@virtual
async def test_what_is_left_out_has_its_bounds_in_the_answer() -> None:
    machine = Machine()
    keys = await written(machine, b"slow", b"fast")
    async with opened(machine) as node:
        slow(machine, keys[0], 3)
        answer = await node.client().ask(
            fetch(partitions={0: 0, 1: 0}, max_wait_ms=WAIT_MS), FETCH_VERSION
        )
        row = answer.responses[0].partitions[0]
        assert (row.error_code, row.high_watermark, bytes(row.records)) == (0, 1, b"")


@virtual
async def test_cold_reads_that_take_equally_long_are_answered_together() -> None:
    machine = Machine()
    await written(machine, b"a", b"b", b"c")
    machine.store._latency_ms = (50, 52)
    async with opened(machine) as node:
        assert await ask(node.client(), {0: 0, 1: 0, 2: 0}) == [[b"a"], [b"b"], [b"c"]]


@virtual
async def test_a_fetch_with_nothing_in_hand_waits_beyond_its_time_but_not_for_ever() -> None:
    machine = Machine()
    keys = await written(machine, b"slow")
    async with opened(machine) as node:
        slow(machine, keys[0], 20)
        client, began_s = node.client(), now_s()
        assert await ask(client, {0: 0}) == [[]]
        assert abs(now_s() - began_s - WAIT_MS / 1000 - PATIENCE_S) < 0.1
        while await ask(client, {0: 0}) == [[]]:
            pass
        assert abs(now_s() - began_s - 20) < 0.1
        assert machine.store.calls.count(("get", keys[0])) <= 2, "nobody asked a second time"


@virtual
async def test_recent_data_is_not_held_up_by_a_cold_partition() -> None:
    machine = Machine()
    keys = await written(machine, b"slow", b"old")
    async with opened(machine) as node:
        slow(machine, keys[0], 3)
        client, writer = node.client(), node.client()
        await writer.ask(produce(b"new", partition=1), PRODUCE_VERSION)
        began_s = now_s()
        assert await ask(client, {0: 0, 1: 1}) == [[], [b"new"]]
        assert now_s() == began_s
        waiting = client.send(fetch(partitions={0: 0, 1: 2}, max_wait_ms=WAIT_MS), FETCH_VERSION)
        await asyncio.sleep(0.1)
        await writer.ask(produce(b"newer", partition=1), PRODUCE_VERSION)
        [topic] = (await waiting.wait()).responses
        assert [values(row) for row in topic.partitions] == [[], [b"newer"]]
        assert now_s() - began_s < 0.2


@virtual
async def test_a_cold_partition_is_not_starved_by_one_that_always_has_news() -> None:
    machine = Machine(latency_ms=(30, 30))
    await written(machine, b"cold", b"old")
    async with opened(machine) as node:
        client, writer = node.client(), node.client()
        found: list[bytes] = []
        for offset in range(1, 20):
            await writer.ask(produce(b"new", partition=1), PRODUCE_VERSION)
            at = {0: len(found), 1: offset}
            cold, new = await ask(client, at, max_bytes=100, partition_max_bytes=100)
            assert cold or new
            found += cold
            if found:
                break
            await asyncio.sleep(0.02)
        assert found == [b"cold"]


@virtual
async def test_a_session_goes_round_all_cold_partitions() -> None:
    """Each answer holds one batch: whoever was served is served last next time."""
    machine = Machine(latency_ms=(5, 5))
    await written(machine, b"a", b"b", b"c", times=3)
    async with opened(machine) as node:
        client = node.client()
        asked = fetch(
            partitions={0: 0, 1: 0, 2: 0},
            session_epoch=0,
            max_bytes=1,
            partition_max_bytes=1,
            max_wait_ms=WAIT_MS,
        )
        answer = await client.ask(asked, FETCH_VERSION)
        served: list[bytes] = []
        offsets = dict.fromkeys(range(3), 0)
        for epoch in range(1, 10):
            [topic] = answer.responses
            [(index, found)] = [
                (row.partition_index, values(row)) for row in topic.partitions if values(row)
            ]
            served += found
            offsets[index] += len(found)
            asked = fetch(
                partitions={index: offsets[index]},
                session_id=answer.session_id,
                session_epoch=epoch,
                max_bytes=1,
                partition_max_bytes=1,
                max_wait_ms=WAIT_MS,
            )
            if len(served) < 9:
                answer = await client.ask(asked, FETCH_VERSION)
        assert [set(served[at : at + 3]) for at in (0, 3, 6)] == [{b"a", b"b", b"c"}] * 3


@virtual
async def test_a_batch_larger_than_every_limit_is_served_alone() -> None:
    machine = Machine()
    huge = bytes(300 * KIB)
    await written(machine, b"small", huge)
    async with opened(machine, "automq.read.memory.bytes=2097152") as node:
        client = node.client()
        limits = {"max_bytes": 1000, "partition_max_bytes": 1000}
        assert await ask(client, {0: 0, 1: 0}, **limits) == [[b"small"], []]
        assert await ask(client, {0: 1, 1: 0}, **limits) == [[], [huge]]
        assert await ask(client, {1: 0, 0: 0}, **limits) == [[huge], []]


@virtual
async def test_when_a_client_leaves_nothing_is_held_or_read_for_it() -> None:
    machine = Machine()
    keys = await written(machine, b"slow")
    async with opened(machine) as node:
        slow(machine, keys[0], 3)
        leaving = node.client()
        leaving.send(fetch(max_wait_ms=60_000), FETCH_VERSION)
        await asyncio.sleep(1)
        assert memory(node).used > 0
        leaving.close()
        assert len(node.broker.fetches) == 0
        await asyncio.sleep(3)
        assert (memory(node).used, memory(node).has_waiting) == (0, False)
        assert await ask(node.client(), {0: 0}) == [[b"slow"]]
        assert machine.store.calls.count(("get", keys[0])) <= 2, "what was read is not lost"


@virtual
async def test_what_is_read_and_never_fetched_is_let_go() -> None:
    machine = Machine()
    keys = await written(machine, b"slow", b"fast")
    async with opened(machine) as node:
        slow(machine, keys[0], 1)
        assert await ask(node.client(), {0: 0, 1: 0}) == [[], [b"fast"]]
        await asyncio.sleep(2)
        assert memory(node).used > 0
        await asyncio.sleep(UNASKED_S_MAX)
        assert memory(node).used == 0


@virtual
async def test_fifty_consumers_at_one_place_share_what_is_read_for_them() -> None:
    machine = Machine(latency_ms=(10, 10))
    text = bytes(100 * KIB)
    keys = await written(machine, text)
    async with opened(machine) as node:
        before = machine.store.calls.count(("get", keys[0]))
        consumers = [node.client() for _ in range(50)]
        answers = await asyncio.gather(*(ask(consumer, {0: 0}) for consumer in consumers))
        assert answers == [[[text]]] * 50
        assert machine.store.calls.count(("get", keys[0])) - before <= 2, "index and block, once"
        assert node.broker.engine.reader.cache.bytes < 2 * len(text)


@virtual
async def test_a_client_that_does_not_read_keeps_its_share_and_others_are_served() -> None:
    machine = Machine()
    text = bytes(200 * KIB)
    await written(machine, text, times=12)
    async with opened(machine, "automq.read.memory.bytes=2097152") as node:
        stuck = [node.client() for _ in range(3)]
        for client in stuck:
            client.reads = False
            for offset in range(12):
                client.send(fetch(offset, partition_max_bytes=1), FETCH_VERSION)
        await asyncio.sleep(5)
        assert 0 < memory(node).used <= memory(node).total
        reader = node.client()
        for offset in range(12):
            assert await ask(reader, {0: offset}, partition_max_bytes=1) == [[text]]
            assert memory(node).used <= memory(node).total
        for client in stuck:
            client.read_again()
        await asyncio.sleep(5)
        assert memory(node).used == 0


@virtual
async def test_clients_that_never_read_do_not_keep_the_memory_that_others_wait_for() -> None:
    machine = Machine()
    text = bytes(200 * KIB)
    await written(machine, text)
    async with opened(machine, "automq.read.memory.bytes=2097152") as node:
        stuck = [node.client() for _ in range(12)]
        for client in stuck:
            client.reads = False
            client.send(fetch(max_wait_ms=60_000, partition_max_bytes=1), FETCH_VERSION)
        await asyncio.sleep(5)
        assert memory(node).has_waiting, "those that never read have all of it"
        began_s = now_s()
        asked = {"max_wait_ms": 60_000, "partition_max_bytes": 1}
        assert await ask(node.client(), {0: 0}, **asked) == [[text]]
        assert now_s() - began_s <= STALLED_WANTED_MS / 1000 + 2 * STALL_LOOK_S
        assert any(client.is_closed.is_set() for client in stuck)


@virtual
async def test_a_client_that_does_not_read_is_left_in_peace_while_nobody_wants_its_memory() -> None:
    machine = Machine()
    text = bytes(200 * KIB)
    await written(machine, text)
    async with opened(machine) as node:
        slow_reader = node.client()
        slow_reader.reads = False
        answer = slow_reader.send(fetch(), FETCH_VERSION)
        await asyncio.sleep(300)
        assert not slow_reader.is_closed.is_set()
        slow_reader.read_again()
        assert values(only(await answer.wait())) == [text]
        slow_reader.reads = False
        slow_reader.send(fetch(), FETCH_VERSION)
        await asyncio.sleep(15 * 60)
        assert slow_reader.is_closed.is_set(), "but not for ever (connections.max.idle.ms)"
        assert memory(node).used == 0


@virtual
async def test_a_topic_that_is_deleted_while_it_is_read_is_not_damaged() -> None:
    machine = Machine()
    keys = await written(machine, b"slow")
    async with opened(machine) as node:
        slow(machine, keys[0], 3)
        client = node.client()
        waiting = client.send(fetch(max_wait_ms=60_000), FETCH_VERSION)
        await asyncio.sleep(1)
        gone = DeleteTopicsRequest(topics=[DeleteTopicState("t")], timeout_ms=1000)
        await node.client().ask(gone)
        row = only(await waiting.wait())
        assert row.error_code == errors.UnknownTopicOrPartition.code
        await asyncio.sleep(10)
        assert memory(node).used == 0


@virtual
async def test_records_that_are_deleted_while_they_are_read_are_out_of_range() -> None:
    machine = Machine()
    keys = await written(machine, b"slow", times=3)
    async with opened(machine) as node:
        slow(machine, keys[0], 3)
        waiting = node.client().send(fetch(max_wait_ms=60_000), FETCH_VERSION)
        await asyncio.sleep(1)
        partitions = [DeleteRecordsPartition(0, 2)]
        trim = DeleteRecordsRequest([DeleteRecordsTopic("t", partitions)], 1000)
        await node.client().ask(trim)
        row = only(await waiting.wait())
        assert row.error_code == errors.OffsetOutOfRange.code
        await asyncio.sleep(UNASKED_S_MAX)
        assert memory(node).used == 0


@virtual
async def test_a_greedy_client_does_not_starve_a_modest_one() -> None:
    machine = Machine(latency_ms=(10, 10))
    text = bytes(100 * KIB)
    await written(machine, *[text] * 12, times=2)
    async with opened(machine, "automq.read.memory.bytes=2097152") as node:
        greedy = [node.client() for _ in range(4)]

        async def scan(client: VirtualClient) -> None:
            offsets = dict.fromkeys(range(12), 0)
            while any(offset < 2 for offset in offsets.values()):
                left = {index: offset for index, offset in offsets.items() if offset < 2}
                for index, found in zip(left, await ask(client, left), strict=True):
                    offsets[index] += len(found)

        async with asyncio.TaskGroup() as scans:
            for client in greedy:
                scans.create_task(scan(client))
            modest, slowest_s = node.client(), 0.0
            for index in range(12):
                began_s = now_s()
                assert await ask(modest, {index: 0}) == [[text, text]]
                slowest_s = max(slowest_s, now_s() - began_s)
            assert slowest_s < 0.5
        await asyncio.sleep(UNASKED_S_MAX)
        assert memory(node).used == 0
