"""What clients see of settings that differ from the defaults."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import NewTopic

from clients.librdkafka import Record, producer, send, values
from support.broker import Broker, running_broker
from support.clients import admin, create_topic

SETTINGS = (
    "auto.create.topics.enable=false",
    "num.partitions=5",
    "message.max.bytes=2000",
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker"), *SETTINGS) as started:
        yield started


def test_topics_are_not_created_on_demand_if_that_is_off(bootstrap: str, name: str) -> None:
    hasty = producer(bootstrap, topic_metadata_propagation_max_ms=500, message_timeout_ms=10_000)
    (refused,) = send(hasty, name, values("x"))
    assert isinstance(refused, KafkaError)
    assert refused.code() in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)
    observer = admin(bootstrap)
    assert name not in observer.list_topics(timeout=20).topics


def test_a_topic_has_as_many_partitions_as_the_broker_is_told(bootstrap: str, name: str) -> None:
    client = admin(bootstrap)
    client.create_topics([NewTopic(name)])[name].result(20)
    send(producer(bootstrap), name, [Record(b"x", partition=4)])
    assert len(client.list_topics(name, timeout=20).topics[name].partitions) == 5


def test_the_brokers_message_limit_holds_for_its_topics(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    client = producer(bootstrap, linger_ms=0)
    (taken,) = send(client, name, [Record(b"x" * 1000)])
    (refused,) = send(client, name, [Record(b"x" * 3000)])
    assert taken == 0
    assert isinstance(refused, KafkaError)
    assert refused.code() == KafkaError.MSG_SIZE_TOO_LARGE
