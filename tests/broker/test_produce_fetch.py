"""Produce and Fetch on a whole node: what waits, what wakes it, and what is answered."""

import asyncio
import itertools
from typing import Any

from automq._native import build_marker
from automq.controller.configs import ConfigWish
from automq.metadata.records.configs import ConfigResource
from automq.partition import READ_COMMITTED
from automq.protocol import errors
from automq.protocol.messages.list_offsets_request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce, values
from support.storage import KIB, Machine
from support.virtual_node import VirtualClient, virtual_node
from support.virtual_time import WALL_START_MS, virtual

STORAGE_ERROR = errors.KafkaStorageError.code


async def say(client: VirtualClient, *texts: bytes, **fields: Any) -> Any:
    row = only(await client.ask(produce(*texts, **fields), PRODUCE_VERSION))
    assert row.error_code == 0, row
    return row


def now_s() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_what_was_acknowledged_is_fetched() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        client = node.client()
        for number in range(5):
            await say(client, b"%d" % number)
        row = only(await client.ask(fetch(2), FETCH_VERSION))
        assert (row.high_watermark, row.last_stable_offset, row.log_start_offset) == (5, 5, 0)
        assert values(row) == [b"2", b"3", b"4"]


@virtual
async def test_a_fetch_at_the_end_waits_for_its_time() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        began = now_s()
        row = only(await node.client().ask(fetch(max_wait_ms=500), FETCH_VERSION))
        assert values(row) == []
        assert 0.49 < now_s() - began < 0.51


@virtual
async def test_a_fetch_is_woken_by_enough_bytes_and_not_by_fewer() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        reader, writer = node.client(), node.client()
        began = now_s()
        waiting = reader.send(fetch(max_wait_ms=60_000, min_bytes=1500), FETCH_VERSION)
        for _ in range(2):
            await asyncio.sleep(1)
            await say(writer, bytes(600))
        await asyncio.sleep(1)
        assert len(node.broker.fetches) == 1
        await say(writer, bytes(600))
        assert len(values(only(await waiting.wait()))) == 3
        assert now_s() - began < 4


@virtual
async def test_a_fetch_of_several_partitions_is_woken_by_any() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic(partitions=3)
        reader, writer = node.client(), node.client()
        asked = fetch(partitions={0: 0, 1: 0, 2: 0}, max_wait_ms=60_000)
        waiting = reader.send(asked, FETCH_VERSION)
        await asyncio.sleep(1)
        await say(writer, b"here", partition=2)
        [topic] = (await waiting.wait()).responses
        assert [values(row) for row in topic.partitions] == [[], [], [b"here"]]
        assert len(node.broker.fetches) == 0


@virtual
async def test_a_waiting_fetch_is_forgotten_when_its_client_leaves() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        reader, writer = node.client(), node.client()
        reader.send(fetch(max_wait_ms=60_000), FETCH_VERSION)
        await asyncio.sleep(1)
        [partition] = list(node.broker.partitions)
        assert len(partition.waiting) == 1
        reader.close()
        assert (len(node.broker.fetches), len(partition.waiting)) == (0, 0)
        await say(writer, b"a")


@virtual
async def test_a_fetch_hears_that_its_topic_was_deleted() -> None:
    async with virtual_node(Machine()) as node:
        topic_id = await node.create_topic()
        reader = node.client()
        waiting = reader.send(fetch(max_wait_ms=60_000), FETCH_VERSION)
        await asyncio.sleep(1)
        began = now_s()
        await node.parts.controller.delete_topic(topic_id)
        row = only(await waiting.wait())
        assert row.error_code == errors.UnknownTopicOrPartition.code
        assert now_s() - began < 1


@virtual
async def test_a_deleted_topic_takes_all_its_partitions_along_and_no_others() -> None:
    async with virtual_node(Machine()) as node:
        gone = await node.create_topic("gone", partitions=3)
        kept = await node.create_topic("kept", partitions=2)
        partitions = node.broker.partitions
        dropped = partitions.of_topic(gone)
        await node.parts.controller.delete_topic(gone)
        assert [partition.data.is_open for partition in dropped] == [False] * 3
        assert partitions.of_topic(gone) == []
        assert [partition.index for partition in partitions.of_topic(kept)] == [0, 1]


@virtual
async def test_the_configs_of_one_topic_change_for_its_partitions_alone() -> None:
    async with virtual_node(Machine()) as node:
        changed, other = await node.create_topic("a", partitions=2), await node.create_topic("b")
        wish = ConfigWish(ConfigResource.TOPIC, "a", {}, {"max.message.bytes": "200"})
        await node.parts.controller.set_configs(wish)
        partitions = node.broker.partitions
        found = [it.config.max_message_bytes for it in partitions.of_topic(changed)]
        assert found == [200, 200]
        assert [it.config.max_message_bytes for it in partitions.of_topic(other)] != [200]


@virtual
async def test_an_error_of_one_partition_is_answered_at_once_beside_the_others() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic(partitions=1)
        client = node.client()
        await say(client, b"a")
        began = now_s()
        asked = fetch(partitions={0: 1, 5: 0}, max_wait_ms=60_000)
        [topic] = (await client.ask(asked, FETCH_VERSION)).responses
        codes = {row.partition_index: row.error_code for row in topic.partitions}
        assert codes == {0: 0, 5: errors.UnknownTopicOrPartition.code}
        assert now_s() - began < 1


@virtual
async def test_positions_and_epochs_that_are_wrong_are_refused() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        client = node.client()
        await say(client, b"a")
        for offset in (-1, 2):
            row = only(await client.ask(fetch(offset), FETCH_VERSION))
            assert row.error_code == errors.OffsetOutOfRange.code
            assert (row.high_watermark, row.log_start_offset) == (-1, -1)
        row = only(await client.ask(fetch(current_leader_epoch=7), FETCH_VERSION))
        assert row.error_code == errors.UnknownLeaderEpoch.code


@virtual
async def test_the_first_batch_is_given_whole_however_small_the_limits() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic(partitions=2)
        client = node.client()
        for partition, _ in itertools.product((0, 1), range(2)):
            await say(client, bytes(10 * KIB), partition=partition)
        asked = fetch(partitions={0: 0, 1: 0}, partition_max_bytes=10, max_bytes=10)
        [topic] = (await client.ask(asked, FETCH_VERSION)).responses
        assert [len(values(row)) for row in topic.partitions] == [1, 0]


@virtual
async def test_the_brokers_own_limit_of_a_fetch_is_kept() -> None:
    async with virtual_node(Machine(), "fetch.max.bytes=20000") as node:
        await node.create_topic()
        client = node.client()
        for _ in range(5):
            await say(client, bytes(8 * KIB))
        row = only(await client.ask(fetch(min_bytes=100_000, max_wait_ms=60_000), FETCH_VERSION))
        assert len(values(row)) == 2


@virtual
async def test_a_read_committed_fetch_waits_for_the_marker_and_not_for_more() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        reader, writer = node.client(), node.client()
        txn = {"producer_id": 3, "producer_epoch": 0, "transactional": True}
        asked = fetch(max_wait_ms=60_000, min_bytes=500, isolation_level=READ_COMMITTED)
        began = now_s()
        waiting = reader.send(asked, FETCH_VERSION)
        for number in range(5):
            await say(writer, bytes(300), base_sequence=number, **txn)
            await asyncio.sleep(1)
        assert len(node.broker.fetches) == 1, "nothing of it is stable"
        [partition] = list(node.broker.partitions)
        marker = build_marker(
            commit=False,
            coordinator_epoch=0,
            producer_id=3,
            producer_epoch=0,
            timestamp=WALL_START_MS,
        )
        partition.append_built(marker, lambda: None)
        row = only(await waiting.wait())
        assert row.last_stable_offset == 6
        assert [(it.producer_id, it.first_offset) for it in row.aborted_transactions] == [(3, 0)]
        assert now_s() - began < 6


# -- sessions


@virtual
async def test_an_incremental_fetch_tells_only_what_is_new() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic(partitions=3)
        client = node.client()
        full = await client.ask(
            fetch(partitions={0: 0, 1: 0, 2: 0}, session_epoch=0), FETCH_VERSION
        )
        assert full.session_id > 0
        assert len(full.responses[0].partitions) == 3
        nothing = await client.ask(
            fetch(partitions={}, session_id=full.session_id, session_epoch=1), FETCH_VERSION
        )
        assert nothing.responses == []
        await say(client, b"a", partition=1)
        some = await client.ask(
            fetch(partitions={}, session_id=full.session_id, session_epoch=2), FETCH_VERSION
        )
        assert [row.partition_index for row in some.responses[0].partitions] == [1]
        wrong = await client.ask(
            fetch(partitions={}, session_id=full.session_id, session_epoch=2), FETCH_VERSION
        )
        assert wrong.error_code == errors.InvalidFetchSessionEpoch.code


@virtual
async def test_a_session_fetch_waits_while_a_partition_of_its_session_opens() -> None:
    """The partition is not named in the request, and must not be read before it is loaded."""
    async with virtual_node(Machine()) as node:
        await node.create_topic(partitions=2)
        client = node.client()
        await say(client, b"a", partition=1)
        full = await client.ask(fetch(partitions={0: 0, 1: 0}, session_epoch=0), FETCH_VERSION)
        [opening] = [it for it in node.broker.partitions if it.index == 1]
        opening.ready = False
        node.broker.partitions.opening += 1
        asked = fetch(partitions={0: 0}, session_id=full.session_id, session_epoch=1)
        waiting = client.send(asked, FETCH_VERSION)
        await asyncio.sleep(1)
        assert client.connection._held_back
        node.broker.partitions.opening -= 1
        opening.become_ready()
        assert (await waiting.wait()).error_code == 0


# -- across lives


async def produced_and_uploaded(machine: Machine, count: int = 20) -> None:
    async with virtual_node(machine, "automq.upload.interval.ms=1000") as node:
        await node.create_topic()
        client = node.client()
        for number in range(count):
            await say(client, b"%d" % number)
        await asyncio.sleep(5)


@virtual
async def test_a_killed_node_comes_back_with_everything_acknowledged() -> None:
    machine = Machine()
    await produced_and_uploaded(machine)
    for life in range(3):
        async with virtual_node(machine) as node:
            client = node.client()
            found: list[bytes] = []
            while len(found) < 20 + life:
                row = only(await client.ask(fetch(len(found)), FETCH_VERSION))
                found += values(row)
            assert found[:20] == [b"%d" % number for number in range(20)]
            assert row.high_watermark == len(found) == 20 + life
            assert (await say(client, b"more")).base_offset == 20 + life


@virtual
async def test_cold_reads_of_damaged_objects_are_storage_errors_and_the_node_lives() -> None:
    machine = Machine()
    await produced_and_uploaded(machine)
    for key in machine.object_keys():
        machine.store.memory.objects.put(key, [bytes(len(machine.store.memory.objects.get(key)))])
    async with virtual_node(machine) as node:
        client = node.client()
        await say_until_open(client)
        row = only(await client.ask(fetch(0), FETCH_VERSION))
        assert row.error_code == STORAGE_ERROR
        by_time = ListOffsetsRequest(
            topics=[ListOffsetsTopic("t", [ListOffsetsPartition(0, -1, 5)])]
        )
        answer = await client.ask(by_time, 7)
        assert answer.topics[0].partitions[0].error_code == STORAGE_ERROR


async def say_until_open(client: VirtualClient) -> None:
    """A Produce waits for the partition to open, however that ends."""
    await client.ask(produce(b"x"), PRODUCE_VERSION)


@virtual
async def test_requests_wait_for_a_partition_that_opens() -> None:
    machine = Machine()
    async with virtual_node(machine, "automq.upload.interval.ms=1000") as node:
        await node.create_topic()
        client = node.client()
        for number in range(3):
            await say(client, b"%d" % number, producer_id=1, producer_epoch=0, base_sequence=number)
        await asyncio.sleep(5)
    machine.store._latency_ms = (100, 100)
    async with virtual_node(machine) as node:
        [partition] = list(node.broker.partitions)
        assert not partition.ready
        client, other = node.client(), node.client()
        reading = other.send(fetch(0), FETCH_VERSION)
        again = await say(client, b"2", producer_id=1, producer_epoch=0, base_sequence=2)
        assert again.base_offset == 2, "a duplicate is known only once the state is loaded"
        assert len(values(only(await reading.wait()))) == 3


@virtual
async def test_no_client_hears_of_a_batch_whose_sync_failed() -> None:
    machine = Machine()
    async with virtual_node(machine) as node:
        await node.create_topic()
        client = node.client()
        await say(client, b"a")
        machine.disk.failing = True
        client.send(produce(b"lost"), PRODUCE_VERSION)
        await asyncio.sleep(1)
        assert node.parts.engine.wal.failure is not None
        assert len(client._frames) == 0, "nothing is acknowledged"


@virtual
async def test_a_retention_check_finds_its_config_changed() -> None:
    async with virtual_node(Machine(), "log.retention.check.interval.ms=1000") as node:
        await node.create_topic(retention_ms="1000")
        client = node.client()
        await say(client, b"a")
        await asyncio.sleep(5)
        row = only(await client.ask(fetch(1), FETCH_VERSION))
        assert row.log_start_offset == 1
        row = only(await client.ask(fetch(0), FETCH_VERSION))
        assert row.error_code == errors.OffsetOutOfRange.code


@virtual
async def test_silent_producers_are_forgotten_by_themselves() -> None:
    settings = ("producer.id.expiration.ms=1000", "producer.id.expiration.check.interval.ms=500")
    async with virtual_node(Machine(), *settings) as node:
        await node.create_topic()
        await say(node.client(), b"a", producer_id=1, producer_epoch=0, base_sequence=0)
        [partition] = list(node.broker.partitions)
        assert len(partition.producers) == 1
        await asyncio.sleep(5)
        assert len(partition.producers) == 0
