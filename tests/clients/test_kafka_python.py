"""kafka-python: producer, consumer, groups and admin."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import kafka.errors
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetSpec, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata

from support.broker import eventually
from support.clients import create_topic

TIMEOUT_S = 30
# A shorter poll of this client gives up the join that it has begun, again and again.
POLL_MS = 500
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]

Consuming = Callable[..., AbstractContextManager[KafkaConsumer]]


@pytest.fixture
def producer(bootstrap: str) -> Iterator[KafkaProducer]:
    client = KafkaProducer(bootstrap_servers=bootstrap)
    yield client
    client.close()


@pytest.fixture
def admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    yield client
    client.close()


@pytest.fixture
def consuming(bootstrap: str) -> Consuming:
    """Opens a consumer for a `with` block."""

    @contextmanager
    def consumer(*topics: str, **config: Any) -> Iterator[KafkaConsumer]:
        defaults = {
            "bootstrap_servers": bootstrap,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": 100,
            "heartbeat_interval_ms": 200,
            "session_timeout_ms": 10_000,
        }
        client = KafkaConsumer(*topics, **{**defaults, **config})
        try:
            yield client
        finally:
            client.close()

    return consumer


def send(producer: KafkaProducer, topic: str, *values: bytes, **options: Any) -> list[int]:
    """The offsets of values that were sent one after the other."""
    futures = [producer.send(topic, value, **options) for value in values]
    producer.flush(TIMEOUT_S)
    return [future.get(TIMEOUT_S).offset for future in futures]


def read(consumers: KafkaConsumer | Sequence[KafkaConsumer], count: int) -> list[Any]:
    """The next `count` records of one or several consumers."""
    records: list[Any] = []

    def enough() -> bool:
        for consumer in consumers if isinstance(consumers, Sequence) else [consumers]:
            for batch in consumer.poll(POLL_MS, max_records=count - len(records) or 1).values():
                records.extend(batch)
        return len(records) >= count

    eventually(enough, what=f"{count} records")
    return records


@pytest.mark.parametrize("codec", CODECS)
def test_records_come_back_as_they_were_sent(
    bootstrap: str, consuming: Consuming, name: str, codec: str | None
) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "-1"})
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec)
    headers = [("a", b"1"), ("a", b"2"), ("\u00e9", b"")]
    producer.send(name, b"value" * 1000, key=b"key", headers=headers, timestamp_ms=1_000_000)
    producer.send(name, None, key=b"tombstone")
    producer.send(name, b"")
    producer.close()
    with consuming(name) as consumer:
        first, second, third = read(consumer, 3)
    assert (first.value, first.key, first.timestamp) == (b"value" * 1000, b"key", 1_000_000)
    assert list(first.headers) == headers
    assert (second.value, second.key) == (None, b"tombstone")
    assert (third.value, third.key, third.offset) == (b"", None, 2)


def test_an_idempotent_producer_keeps_order(
    bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name)
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, batch_size=500, linger_ms=0
    )
    wanted = [str(n).encode() for n in range(1000)]
    assert send(producer, name, *wanted) == list(range(1000))
    producer.close()
    with consuming(name) as consumer:
        assert [record.value for record in read(consumer, 1000)] == wanted


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_kind_of_acknowledgement_stores_all(
    bootstrap: str, consuming: Consuming, name: str, acks: int | str
) -> None:
    create_topic(bootstrap, name)
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks=acks, enable_idempotence=False)
    for n in range(200):
        producer.send(name, str(n).encode())
    producer.close()
    with consuming(name) as consumer:
        assert [int(record.value) for record in read(consumer, 200)] == list(range(200))


def test_a_record_that_is_too_large_is_refused(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, config={"max.message.bytes": "1000"})
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    with pytest.raises(kafka.errors.MessageSizeTooLargeError):
        send(producer, name, b"x" * 2000)
    producer.close()


def test_a_consumer_seeks_by_offset_and_by_time(
    bootstrap: str, producer: KafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "-1"})
    for n in range(10):
        send(producer, name, str(n).encode(), timestamp_ms=1_000_000 + 1000 * n)
    partition = TopicPartition(name, 0)
    with consuming() as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 7)
        assert read(consumer, 1)[0].value == b"7"
        found = consumer.offsets_for_times({partition: 1_003_500})[partition]
        assert (found.offset, found.timestamp) == (4, 1_004_000)
        consumer.seek(partition, found.offset)
        assert read(consumer, 1)[0].value == b"4"
        assert consumer.offsets_for_times({partition: 9_000_000})[partition] is None
        consumer.seek_to_beginning(partition)
        assert read(consumer, 1)[0].value == b"0"
        assert consumer.beginning_offsets([partition]) == {partition: 0}
        assert consumer.end_offsets([partition]) == {partition: 10}


def test_a_paused_partition_delivers_nothing_until_resumed(
    bootstrap: str, producer: KafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=2)
    first, second = (TopicPartition(name, p) for p in range(2))
    with consuming() as consumer:
        consumer.assign([first, second])
        consumer.pause(first)
        for partition in (0, 1, 0, 1):
            send(producer, name, b"x", partition=partition)
        assert [record.partition for record in read(consumer, 2)] == [1, 1]
        consumer.resume(first)
        assert [record.partition for record in read(consumer, 2)] == [0, 0]


def test_an_offset_out_of_range_is_an_error_without_a_reset_policy(
    bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name)
    partition = TopicPartition(name, 0)
    with consuming(auto_offset_reset="none") as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 1000)
        with pytest.raises(kafka.errors.OffsetOutOfRangeError):
            eventually(lambda: consumer.poll(100), what="an error")


def test_a_group_resumes_at_what_it_committed(
    bootstrap: str, producer: KafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name)
    send(producer, name, *(str(n).encode() for n in range(10)))
    partition = TopicPartition(name, 0)
    with consuming(name, group_id=name) as consumer:
        read(consumer, 4)
        consumer.commit({partition: OffsetAndMetadata(4, "a note", -1)})
    with consuming(name, group_id=name) as consumer:
        assert read(consumer, 6)[0].value == b"4"
        assert consumer.committed(partition, metadata=True).metadata == "a note"


def settle(consumers: Sequence[KafkaConsumer], wanted: list[int]) -> None:
    """Poll all until they have as many partitions as wanted."""

    def settled() -> bool:
        for consumer in consumers:
            consumer.poll(POLL_MS)
        return sorted(len(consumer.assignment()) for consumer in consumers) == wanted

    eventually(settled, what=f"assignments of {wanted} partitions")


def test_two_members_share_and_the_last_takes_all(
    bootstrap: str, producer: KafkaProducer, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=4)
    with consuming(name, group_id=name) as first:
        settle([first], [4])
        with consuming(name, group_id=name) as second:
            settle([first, second], [2, 2])
            for partition in range(4):
                send(producer, name, b"x", partition=partition)
            got = read([first, second], 4)
            assert {record.partition for record in got} == {0, 1, 2, 3}
        settle([first], [4])


def test_a_static_member_keeps_its_partitions(
    bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=4)
    with consuming(name, group_id=name, group_instance_id="a") as stays:
        with consuming(name, group_id=name, group_instance_id="b") as leaves:
            settle([stays, leaves], [2, 2])
            before = leaves.assignment()
        with consuming(name, group_id=name, group_instance_id="b") as returns:
            settle([stays, returns], [2, 2])
            assert returns.assignment() == before


def test_topics_are_created_described_and_deleted(admin: KafkaAdminClient, name: str) -> None:
    admin.create_topics({name: {"num_partitions": 3, "replication_factor": 1}})
    admin.wait_for_topics([name])
    (topic,) = admin.describe_topics([name])
    assert len(topic["partitions"]) == 3
    assert name in admin.list_topics()
    with pytest.raises(kafka.errors.TopicAlreadyExistsError):
        admin.create_topics({name: {"num_partitions": 3, "replication_factor": 1}})
    with pytest.raises(kafka.errors.InvalidTopicError):
        admin.create_topics({"not a name": {"num_partitions": 1, "replication_factor": 1}})
    admin.delete_topics([name])
    eventually(lambda: name not in admin.list_topics(), what="the topic gone")


def test_partitions_are_described_page_by_page(admin: KafkaAdminClient, name: str) -> None:
    admin.create_topics({name: {"num_partitions": 5, "replication_factor": 1}})
    admin.wait_for_topics([name])
    page = admin.describe_topic_partitions([name], response_partition_limit=3)
    (topic,) = page["topics"]
    cursor = page["next_cursor"]
    assert [p["partition_index"] for p in topic["partitions"]] == [0, 1, 2]
    assert (cursor["topic_name"], cursor["partition_index"]) == (name, 3)
    rest = admin.describe_topic_partitions([name], cursor=cursor)
    assert [p["partition_index"] for p in rest["topics"][0]["partitions"]] == [3, 4]
    assert rest["next_cursor"] is None


def test_partitions_are_added(admin: KafkaAdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    admin.create_partitions({name: 3})
    eventually(lambda: len(admin.describe_topics([name])[0]["partitions"]) == 3)
    with pytest.raises(kafka.errors.InvalidPartitionsError):
        admin.create_partitions({name: 2})


def test_configs_are_described_and_altered(
    admin: KafkaAdminClient, bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    wanted = {"retention.ms": (AlterConfigOp.SET, "5000")}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=wanted)])

    def modified() -> dict[str, Any]:
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return dict(described["topic"][name])

    assert modified()["retention.ms"]["value"] == "5000"
    admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=["retention.ms"])])
    assert "retention.ms" not in modified()


def test_records_are_deleted_and_offsets_listed(
    admin: KafkaAdminClient, bootstrap: str, producer: KafkaProducer, name: str
) -> None:
    create_topic(bootstrap, name)
    send(producer, name, *(b"x" for _ in range(10)))
    partition = TopicPartition(name, 0)
    deleted = admin.delete_records({partition: 6})
    assert deleted[partition]["low_watermark"] == 6
    earliest = admin.list_partition_offsets({partition: OffsetSpec.EARLIEST})
    latest = admin.list_partition_offsets({partition: OffsetSpec.LATEST})
    assert (earliest[partition].offset, latest[partition].offset) == (6, 10)


def test_groups_are_listed_described_and_deleted(
    admin: KafkaAdminClient, bootstrap: str, consuming: Consuming, name: str
) -> None:
    create_topic(bootstrap, name, partitions=2)
    with consuming(name, group_id=name) as consumer:
        settle([consumer], [2])
        consumer.commit({TopicPartition(name, 0): OffsetAndMetadata(0, "", -1)})
        group = admin.describe_groups([name])[name]
        assert group["group_state"] == "Stable"
        assert len(group["members"]) == 1
        assert name in {g["group_id"] for g in admin.list_groups()}
    offsets = admin.list_group_offsets([name])[name]
    assert {tp.partition: at.offset for tp, at in offsets.items()} == {0: 0}
    assert admin.delete_groups([name]) == {name: "OK"}
    assert name not in {g["group_id"] for g in admin.list_groups()}


def test_the_producers_of_a_partition_are_described(
    admin: KafkaAdminClient, bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    send(producer, name, b"x", b"y")
    producer.close()
    partition = TopicPartition(name, 0)
    (state,) = admin.describe_producers([partition])[partition].active_producers
    assert state.producer_id >= 0
    assert (state.producer_epoch, state.last_sequence) == (0, 1)


def test_the_cluster_is_described(admin: KafkaAdminClient, bootstrap: str) -> None:
    (broker,) = admin.describe_cluster()["brokers"]
    assert f"{broker['host']}:{broker['port']}" == bootstrap
