"""aiokafka: producer, consumer, groups and admin."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiokafka.errors
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from support.clients import create_topic

DEADLINE_S = 30
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]

Consuming = Callable[..., AbstractAsyncContextManager[AIOKafkaConsumer]]


@pytest_asyncio.fixture
async def producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as client:
        yield client


@pytest_asyncio.fixture
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
def consuming(bootstrap: str) -> Consuming:
    """Opens a consumer for an `async with` block."""

    @asynccontextmanager
    async def consumer(*topics: str, **config: Any) -> AsyncIterator[AIOKafkaConsumer]:
        defaults = {
            "bootstrap_servers": bootstrap,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": 100,
            "heartbeat_interval_ms": 200,
        }
        async with AIOKafkaConsumer(*topics, **{**defaults, **config}) as client:
            yield client

    return consumer


async def read(consumer: AIOKafkaConsumer, count: int) -> list[Any]:
    """The next `count` records."""
    async with asyncio.timeout(DEADLINE_S):
        return [await consumer.getone() for _ in range(count)]


async def until(ask: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(DEADLINE_S):
        while not await ask():  # noqa: ASYNC110  only asking tells
            await asyncio.sleep(0.02)


async def settle(consumers: Sequence[AIOKafkaConsumer], wanted: list[int]) -> None:
    """Wait until the consumers have as many partitions as wanted."""

    async def settled() -> bool:
        return sorted(len(consumer.assignment()) for consumer in consumers) == wanted

    await until(settled)


@pytest.mark.parametrize("codec", CODECS)
async def test_records_come_back_as_they_were_sent(
    bootstrap: str, consuming: Consuming, name: str, codec: str | None
) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "-1"})
    headers = [("a", b"1"), ("a", b"2"), ("\u00e9", b"")]
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec) as producer:
        sent = await producer.send_and_wait(
            name, b"value" * 1000, key=b"key", headers=headers, timestamp_ms=1_000_000
        )
        await producer.send_and_wait(name, None, key=b"tombstone")
        await producer.send_and_wait(name, b"")
    assert (sent.offset, sent.timestamp, sent.timestamp_type) == (0, 1_000_000, 0)
    async with consuming(name) as consumer:
        first, second, third = await read(consumer, 3)
    assert (first.value, first.key, first.timestamp) == (b"value" * 1000, b"key", 1_000_000)
    assert list(first.headers) == headers
    assert (second.value, second.key) == (None, b"tombstone")
    assert (third.value, third.key, third.offset) == (b"", None, 2)


async def test_an_idempotent_producer_keeps_order(
    bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name)
    wanted = [str(n).encode() for n in range(1000)]
    config = {"enable_idempotence": True, "max_batch_size": 500}
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **config) as producer:
        futures = [await producer.send(name, value) for value in wanted]
        offsets = [(await future).offset for future in futures]
    assert offsets == list(range(1000))
    async with consuming(name) as consumer:
        assert [record.value for record in await read(consumer, 1000)] == wanted


async def test_a_record_that_is_too_large_is_refused(
    bootstrap: str, producer: AIOKafkaProducer, name: str
) -> None:
    create_topic(bootstrap, name, config={"max.message.bytes": "1000"})
    with pytest.raises(aiokafka.errors.MessageSizeTooLargeError):
        await producer.send_and_wait(name, b"x" * 2000)


async def test_a_consumer_seeks_by_offset_and_by_time(
    bootstrap: str, producer: AIOKafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "-1"})
    for n in range(10):
        await producer.send_and_wait(name, str(n).encode(), timestamp_ms=1_000_000 + 1000 * n)
    partition = TopicPartition(name, 0)
    async with consuming() as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 7)
        assert (await read(consumer, 1))[0].value == b"7"
        found = (await consumer.offsets_for_times({partition: 1_003_500}))[partition]
        assert (found.offset, found.timestamp) == (4, 1_004_000)
        consumer.seek(partition, found.offset)
        assert (await read(consumer, 1))[0].value == b"4"
        assert (await consumer.offsets_for_times({partition: 9_000_000}))[partition] is None
        await consumer.seek_to_beginning(partition)
        assert (await read(consumer, 1))[0].value == b"0"
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 10}
        assert consumer.highwater(partition) == 10


async def test_a_paused_partition_delivers_nothing_until_resumed(
    bootstrap: str, producer: AIOKafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=2)
    first, second = (TopicPartition(name, p) for p in range(2))
    async with consuming() as consumer:
        consumer.assign([first, second])
        consumer.pause(first)
        for partition in (0, 1, 0, 1):
            await producer.send_and_wait(name, b"x", partition=partition)
        assert [record.partition for record in await read(consumer, 2)] == [1, 1]
        consumer.resume(first)
        assert [record.partition for record in await read(consumer, 2)] == [0, 0]


async def test_an_offset_out_of_range_is_an_error_without_a_reset_policy(
    bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name)
    partition = TopicPartition(name, 0)
    async with consuming(auto_offset_reset="none") as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 1000)
        with pytest.raises(aiokafka.errors.OffsetOutOfRangeError):
            await read(consumer, 1)


@pytest.mark.parametrize("level", ["read_committed", "read_uncommitted"])
async def test_both_isolation_levels_read_plain_records(
    bootstrap: str, producer: AIOKafkaProducer, consuming: Consuming, name: str, level: str
) -> None:
    create_topic(bootstrap, name)
    await producer.send_and_wait(name, b"x")
    async with consuming(name, isolation_level=level) as consumer:
        assert [record.value for record in await read(consumer, 1)] == [b"x"]
        assert consumer.last_stable_offset(TopicPartition(name, 0)) == 1


async def test_a_group_resumes_at_what_it_committed(
    bootstrap: str, producer: AIOKafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name)
    for n in range(10):
        await producer.send_and_wait(name, str(n).encode())
    partition = TopicPartition(name, 0)
    async with consuming(name, group_id=name) as consumer:
        await read(consumer, 4)
        await consumer.commit({partition: (4, "a note")})
    async with consuming(name, group_id=name) as consumer:
        assert await consumer.committed(partition) == 4
        assert (await read(consumer, 6))[0].value == b"4"


async def test_two_members_share_and_the_last_takes_all(
    bootstrap: str, producer: AIOKafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=4)
    async with consuming(name, group_id=name) as first:
        await settle([first], [4])
        async with consuming(name, group_id=name) as second:
            await settle([first, second], [2, 2])
            for partition in range(4):
                await producer.send_and_wait(name, b"x", partition=partition)
            got = await asyncio.gather(read(first, 2), read(second, 2))
            assert {record.partition for records in got for record in records} == {0, 1, 2, 3}
        await settle([first], [4])


async def test_a_static_member_keeps_its_partitions(
    bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=4)
    async with consuming(name, group_id=name, group_instance_id="a") as stays:
        async with consuming(name, group_id=name, group_instance_id="b") as leaves:
            await settle([stays, leaves], [2, 2])
            before = leaves.assignment()
        async with consuming(name, group_id=name, group_instance_id="b") as returns:
            await settle([stays, returns], [2, 2])
            assert returns.assignment() == before


async def test_producing_to_a_topic_that_is_not_there_creates_it(
    producer: AIOKafkaProducer, consuming: Consuming, name: str
) -> None:
    async with asyncio.timeout(DEADLINE_S):
        sent = await producer.send_and_wait(name, b"first")
    assert sent.offset == 0
    async with consuming(name) as consumer:
        assert [record.value for record in await read(consumer, 1)] == [b"first"]


async def test_topics_are_created_and_deleted(admin: AIOKafkaAdminClient, name: str) -> None:
    made = await admin.create_topics([NewTopic(name, 3, 1)])
    again = await admin.create_topics([NewTopic(name, 3, 1)])
    assert [topic[1] for topic in made.topic_errors] == [0]
    assert [topic[1] for topic in again.topic_errors] == [
        aiokafka.errors.TopicAlreadyExistsError.errno
    ]

    async def there() -> bool:
        return name in await admin.list_topics()

    async def gone() -> bool:
        return name not in await admin.list_topics()

    await until(there)
    (topic,) = await admin.describe_topics([name])
    assert len(topic["partitions"]) == 3
    await admin.delete_topics([name])
    await until(gone)


async def test_partitions_are_added(admin: AIOKafkaAdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    await admin.create_partitions({name: NewPartitions(3)})

    async def grown() -> bool:
        (topic,) = await admin.describe_topics([name])
        return len(topic["partitions"]) == 3

    await until(grown)


async def test_configs_are_described_and_replaced(
    admin: AIOKafkaAdminClient, bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    wanted = {"retention.ms": "5000"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=wanted)])
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    ((code, _, _, _, entries),) = response.resources
    assert code == 0
    assert {entry[0]: entry[1] for entry in entries}["retention.ms"] == "5000"


async def test_records_are_deleted(
    admin: AIOKafkaAdminClient, bootstrap: str, producer: AIOKafkaProducer, name: str
) -> None:
    create_topic(bootstrap, name)
    for _ in range(10):
        await producer.send_and_wait(name, b"x")
    partition = TopicPartition(name, 0)
    assert await admin.delete_records({partition: RecordsToDelete(6)}) == {partition: 6}


async def test_groups_are_listed_and_described(
    admin: AIOKafkaAdminClient, bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=2)
    async with consuming(name, group_id=name) as consumer:
        await settle([consumer], [2])
        await consumer.commit({TopicPartition(name, 0): 0})
        assert (name, "consumer") in await admin.list_consumer_groups()
        (response,) = await admin.describe_consumer_groups([name])
        (group,) = response.groups
        assert (group[1], group[2], len(group[5])) == (name, "Stable", 1)
    offsets = await admin.list_consumer_group_offsets(name)
    assert {tp.partition: at.offset for tp, at in offsets.items()} == {0: 0}


async def test_the_cluster_is_described(admin: AIOKafkaAdminClient, bootstrap: str) -> None:
    (broker,) = (await admin.describe_cluster())["brokers"]
    assert f"{broker['host']}:{broker['port']}" == bootstrap
