"""librdkafka, through confluent-kafka: the admin client."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import (
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from clients.librdkafka import Record, producer, read_from, send, texts, values
from support.broker import eventually
from support.clients import admin, create_topic

TIMEOUT_S = 20


@pytest.fixture
def client(bootstrap: str) -> AdminClient:
    return admin(bootstrap)


def only(futures: dict[Any, Future[Any]]) -> Any:
    """The one result of an admin call."""
    (future,) = futures.values()
    return future.result(TIMEOUT_S)


def refusal(futures: dict[Any, Future[Any]]) -> int:
    """The error code with which the one item of an admin call was refused."""
    with pytest.raises(KafkaException) as refused:
        only(futures)
    return int(refused.value.args[0].code())


def topic_resource(name: str, **configs: str) -> ConfigResource:
    """A topic to describe or, with the configs to set, to alter."""
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in configs.items()
    ]
    return ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)


def test_a_topic_is_created_described_and_deleted(client: AdminClient, name: str) -> None:
    only(client.create_topics([NewTopic(name, 3, 1)]))
    eventually(lambda: name in client.list_topics(timeout=TIMEOUT_S).topics)
    description = only(client.describe_topics(TopicCollection([name])))
    assert len(description.partitions) == 3
    assert {p.leader.id for p in description.partitions} == {1}
    assert not description.is_internal
    only(client.delete_topics([name]))
    eventually(lambda: name not in client.list_topics(timeout=TIMEOUT_S).topics)
    unknown = client.describe_topics(TopicCollection([name]))
    assert refusal(unknown) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_many_topics_are_created_and_deleted_at_once(client: AdminClient, name: str) -> None:
    names = [f"{name}-{n}" for n in range(20)]
    for future in client.create_topics([NewTopic(n, 2, 1) for n in names]).values():
        future.result(TIMEOUT_S)
    eventually(lambda: set(names) <= client.list_topics(timeout=TIMEOUT_S).topics.keys())
    for future in client.delete_topics(names).values():
        future.result(TIMEOUT_S)
    eventually(lambda: not set(names) & client.list_topics(timeout=TIMEOUT_S).topics.keys())


def test_each_topic_of_a_request_is_answered_alone(client: AdminClient, name: str) -> None:
    create = client.create_topics([NewTopic(name, 1, 1), NewTopic(f"{name}!", 1, 1)])
    create[name].result(TIMEOUT_S)
    with pytest.raises(KafkaException) as refused:
        create[f"{name}!"].result(TIMEOUT_S)
    assert refused.value.args[0].code() == KafkaError.TOPIC_EXCEPTION


def test_a_topic_that_exists_is_not_created_again(client: AdminClient, name: str) -> None:
    only(client.create_topics([NewTopic(name, 1, 1)]))
    assert refusal(client.create_topics([NewTopic(name, 1, 1)])) == KafkaError.TOPIC_ALREADY_EXISTS


@pytest.mark.parametrize(
    ("partitions", "replicas", "code"),
    [
        (0, 1, KafkaError.INVALID_PARTITIONS),
        (1, 0, KafkaError.INVALID_REPLICATION_FACTOR),
        (1, 5, KafkaError.INVALID_REPLICATION_FACTOR),
    ],
)
def test_impossible_counts_are_refused(
    client: AdminClient, name: str, partitions: int, replicas: int, code: int
) -> None:
    assert refusal(client.create_topics([NewTopic(name, partitions, replicas)])) == code


def test_counts_may_be_left_to_the_broker(client: AdminClient, name: str) -> None:
    only(client.create_topics([NewTopic(name, -1, -1)]))
    eventually(lambda: name in client.list_topics(timeout=TIMEOUT_S).topics)
    assert len(only(client.describe_topics(TopicCollection([name]))).partitions) == 1


def test_a_validated_topic_is_not_created(client: AdminClient, name: str) -> None:
    only(client.create_topics([NewTopic(name, 1, 1)], validate_only=True))
    assert name not in client.list_topics(timeout=TIMEOUT_S).topics


def test_a_topic_with_a_bad_config_is_refused(client: AdminClient, name: str) -> None:
    bad = NewTopic(name, 1, 1, config={"segment.bytes": "much"})
    assert refusal(client.create_topics([bad])) == KafkaError.INVALID_CONFIG


def test_partitions_are_added(client: AdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    only(client.create_partitions([NewPartitions(name, 3)]))
    topic = TopicCollection([name])
    eventually(lambda: len(only(client.describe_topics(topic)).partitions) == 3)
    fewer = client.create_partitions([NewPartitions(name, 2)])
    assert refusal(fewer) == KafkaError.INVALID_PARTITIONS
    unknown = client.create_partitions([NewPartitions(f"{name}-not", 2)])
    assert refusal(unknown) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_partition_that_was_added_takes_records(
    client: AdminClient, bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    only(client.create_partitions([NewPartitions(name, 2)]))
    assert send(producer(bootstrap), name, [Record(b"x", partition=1)]) == [0]


def test_an_unknown_topic_is_not_deleted(client: AdminClient, name: str) -> None:
    assert refusal(client.delete_topics([name])) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_configs_are_described_with_their_sources(
    client: AdminClient, bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "1234567"})
    configs = only(client.describe_configs([topic_resource(name)]))
    retention = configs["retention.ms"]
    assert (retention.value, retention.source, retention.is_default) == (
        "1234567",
        ConfigSource.DYNAMIC_TOPIC_CONFIG.value,
        False,
    )
    assert configs["max.message.bytes"].value == "1048588"
    assert configs["max.message.bytes"].source == ConfigSource.DEFAULT_CONFIG.value


def test_configs_are_altered_one_by_one(client: AdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "1234567"})
    only(client.incremental_alter_configs([topic_resource(name, cleanup_policy="compact")]))
    configs = only(client.describe_configs([topic_resource(name)]))
    assert (configs["cleanup.policy"].value, configs["retention.ms"].value) == (
        "compact",
        "1234567",
    )


def test_list_configs_are_appended_and_subtracted(
    client: AdminClient, bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    assert changed_policy(client, name, AlterConfigOpType.APPEND, "compact") == "delete,compact"
    assert changed_policy(client, name, AlterConfigOpType.SUBTRACT, "delete") == "compact"
    assert changed_policy(client, name, AlterConfigOpType.DELETE, None) == "delete"


def changed_policy(
    client: AdminClient, topic: str, how: AlterConfigOpType, value: str | None
) -> str:
    """The cleanup policy of a topic after a change to it."""
    entry = ConfigEntry("cleanup.policy", value, incremental_operation=how)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    only(client.incremental_alter_configs([resource]))
    return str(only(client.describe_configs([topic_resource(topic)]))["cleanup.policy"].value)


def test_configs_are_replaced_as_a_whole(client: AdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "1234567"})
    whole = ConfigResource(ConfigResource.Type.TOPIC, name, set_config={"segment.bytes": "2097152"})
    with pytest.warns(DeprecationWarning, match="alter_configs"):
        only(client.alter_configs([whole]))
    configs = only(client.describe_configs([topic_resource(name)]))
    assert (configs["segment.bytes"].value, configs["retention.ms"].value) == (
        "2097152",
        "604800000",
    )


def test_bad_configs_are_refused(client: AdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    bad_value = client.incremental_alter_configs([topic_resource(name, retention_ms="soon")])
    assert refusal(bad_value) == KafkaError.INVALID_CONFIG
    bad_key = client.incremental_alter_configs([topic_resource(name, no_such_key="1")])
    assert refusal(bad_key) == KafkaError.INVALID_CONFIG
    nobody = client.incremental_alter_configs([topic_resource("nobody", retention_ms="1")])
    assert refusal(nobody) == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert refusal(client.describe_configs([topic_resource("nobody")])) == (
        KafkaError.UNKNOWN_TOPIC_OR_PART
    )


def test_a_lower_message_limit_takes_effect(client: AdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    only(client.incremental_alter_configs([topic_resource(name, max_message_bytes="1000")]))

    def refused() -> bool:
        (answer,) = send(producer(bootstrap), name, [Record(b"x" * 2000)])
        return isinstance(answer, KafkaError) and answer.code() == KafkaError.MSG_SIZE_TOO_LARGE

    eventually(refused, what="a record of 2000 bytes refused")


def test_a_brokers_configs_are_described(client: AdminClient) -> None:
    configs = only(client.describe_configs([ConfigResource(ConfigResource.Type.BROKER, "1")]))
    assert configs["log.retention.hours"].value == "168"
    assert configs["log.dirs"].is_read_only
    assert not configs["log.cleaner.threads"].is_read_only
    assert len(configs) > 150


def test_records_are_deleted_up_to_an_offset(
    client: AdminClient, bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    send(producer(bootstrap), name, values(*range(10)))
    deleted = only(client.delete_records([TopicPartition(name, 0, 6)]))
    assert deleted.low_watermark == 6
    # A reader of what is gone starts over at what is left.
    assert texts(read_from(bootstrap, name, 4, offset=2)) == ["6", "7", "8", "9"]
    beyond = client.delete_records([TopicPartition(name, 0, 11)])
    assert refusal(beyond) == KafkaError.OFFSET_OUT_OF_RANGE


def test_offsets_are_listed_for_each_kind(client: AdminClient, bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, config={"retention.ms": "-1"})
    stamps = [1_000_000, 3_000_000, 2_000_000]
    send(producer(bootstrap), name, [Record(b"x", timestamp=stamp) for stamp in stamps])
    specs: Any = OffsetSpec
    assert listed(client, name, specs.earliest()) == (0, -1)
    assert listed(client, name, specs.latest()) == (3, -1)
    assert listed(client, name, specs.max_timestamp()) == (1, 3_000_000)
    assert listed(client, name, specs.for_timestamp(1_500_000)) == (1, 3_000_000)
    assert listed(client, name, specs.for_timestamp(9_000_000)) == (-1, -1)


def listed(client: AdminClient, topic: str, spec: OffsetSpec) -> tuple[int, int]:
    """Offset and timestamp that ListOffsets answers for partition 0."""
    found = only(client.list_offsets({TopicPartition(topic, 0): spec}))
    return found.offset, found.timestamp


def test_the_cluster_is_described(client: AdminClient, bootstrap: str) -> None:
    cluster = client.describe_cluster().result(TIMEOUT_S)
    assert len(cluster.cluster_id) == 22
    assert [f"{node.host}:{node.port}" for node in cluster.nodes] == [bootstrap]
    assert cluster.controller.id == 1
