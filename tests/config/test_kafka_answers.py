"""Our answers beside those of a real broker of Apache Kafka, differences listed one by one.

Its answers are in kafka_answers.tsv, written by tools/make_configs.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from automq.config import BrokerConfigs, NodeConfig
from automq.config.alter import (
    Op,
    OpType,
    alter_broker,
    alter_client_metrics,
    alter_group,
    alter_topic,
)
from automq.config.describe import (
    ConfigEntry,
    describe_broker,
    describe_brokers,
    describe_group,
    describe_topic,
)
from automq.protocol.errors import KafkaError

ANSWERS = Path(__file__).with_name("kafka_answers.tsv")

# What that broker was started with (as its answers show it).
STATIC = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:19093
listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\\
    SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kafka/data
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
"""
TOPIC = {"retention.ms": "1000", "cleanup.policy": "compact,delete", "max.message.bytes": "2000000"}
DEFAULT = {
    # Kafka sets this one by itself when a cluster is formatted (KIP-966).
    "min.insync.replicas": "1",
    "log.retention.ms": "7200000",
    "message.max.bytes": "3000000",
    "log.cleaner.threads": "2",
}
BROKER = {"log.retention.ms": "3600000", "log.roll.ms": "1000000", "custom.plugin.key": "x"}
GROUP = {"consumer.session.timeout.ms": "50000"}

# Our defaults, and Kafka's.
OTHER_DEFAULTS = {
    "listeners=PLAINTEXT://127.0.0.1:9092": "listeners=PLAINTEXT://:9092",
    "socket.receive.buffer.bytes=-1": "socket.receive.buffer.bytes=102400",
}
# A broker here takes these at its next start, so they are read-only.
FIXED_HERE = {
    "listeners",
    "listener.security.protocol.map",
    "principal.builder.class",
    "config.providers",
}
# Attempts that end otherwise here, and why.
DIFFERENT = {
    # Sizes of thread pools have no effect here, so any size is as good.
    "broker-try-41": (0, ""),
    "brokers-try-41": (0, ""),
    "broker-try-43": (0, ""),
    "brokers-try-43": (0, ""),
    # min.insync.replicas may differ by broker: there are no eligible leader replicas (KIP-966).
    "broker-try-46": (0, ""),
    # Listeners are taken at the next start.
    "broker-try-38": (
        42,
        "These configs take effect at the next start; set them in the broker's file: [listeners]",
    ),
    "brokers-try-38": (
        42,
        "These configs take effect at the next start; set them in the broker's file: [listeners]",
    ),
    "broker-try-50": (
        42,
        "These configs take effect at the next start; set them in the broker's file: "
        "[principal.builder.class]",
    ),
    "brokers-try-50": (
        42,
        "These configs take effect at the next start; set them in the broker's file: "
        "[principal.builder.class]",
    ),
    # The same refusal, in words that help.
    "broker-try-36": (
        42,
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    ),
    "brokers-try-36": (
        42,
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    ),
    "broker-try-40": (
        42,
        "Invalid value 0 for configuration log.cleaner.threads: Value must be at least 1",
    ),
    "brokers-try-40": (
        42,
        "Invalid value 0 for configuration log.cleaner.threads: Value must be at least 1",
    ),
    "broker-try-49": (
        42,
        "Invalid value bad for configuration max.connections.per.ip.overrides: "
        "Expected host:count, ...",
    ),
    "brokers-try-49": (
        42,
        "Invalid value bad for configuration max.connections.per.ip.overrides: "
        "Expected host:count, ...",
    ),
}
# Not decided by the rules of configurations: whether the topic or the broker exists.
ELSEWHERE = {"topic-try-missing", "broker-try-other"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """An alteration that was tried, and its outcome: code 0 or an error and its message."""

    case: str
    resource_type: str
    resource_name: str
    ops: tuple[tuple[str, str, str], ...]
    code: int
    message: str


def rows(kind: str) -> Iterator[list[str]]:
    for line in ANSWERS.read_text("utf-8").split("\n"):
        columns = line.split("\t")
        if columns[0] == kind:
            yield columns[1:]


def entries(case: str) -> dict[str, tuple[str, ...]]:
    """By name: value, source, sensitive, read-only, type, synonyms."""
    return {row[1]: tuple(row[2:]) for row in rows("entry") if row[0] == case}


def attempts() -> list[Attempt]:
    found = []
    for case, resource, what, code, message in rows("attempt"):
        kind, _, name = resource.partition(":")
        ops = []
        for op in what.split(";"):
            op_name, _, rest = op.partition(" ")
            key, _, value = rest.partition("=")
            ops.append((op_name, key, value))
        found.append(Attempt(case, kind, name, tuple(ops), int(code), message))
    return found


ATTEMPTS = [attempt for attempt in attempts() if attempt.case not in ELSEWHERE]


def started() -> BrokerConfigs:
    broker = BrokerConfigs.of(NodeConfig.load(file=STATIC))
    return broker.with_dynamic(default={"min.insync.replicas": "1"})


def altered() -> BrokerConfigs:
    return started().with_dynamic(default=DEFAULT, broker=BROKER)


def shown(entry: ConfigEntry) -> tuple[str, ...]:
    """As tools/java/KafkaConfigAnswers.java prints an entry."""
    synonyms = ";".join(
        f"{item.source.name}:{item.name}={'null' if item.value is None else item.value}"
        for item in entry.synonyms
    )
    for ours, kafkas in OTHER_DEFAULTS.items():
        synonyms = synonyms.replace(f"DEFAULT_CONFIG:{ours}", f"DEFAULT_CONFIG:{kafkas}")
    return (
        "null" if entry.value is None else entry.value,
        entry.source.name,
        str(entry.is_sensitive).lower(),
        str(entry.read_only).lower(),
        entry.value_type.name,
        synonyms,
    )


def by_name(entries: list[ConfigEntry]) -> dict[str, tuple[str, ...]]:
    found = {entry.name: shown(entry) for entry in entries}
    for name in FIXED_HERE & found.keys():
        found[name] = (*found[name][:3], "false", *found[name][4:])
    return {name: entry for name, entry in found.items() if not name.startswith("automq.")}


def test_a_topic_without_settings_is_described_as_kafka_does() -> None:
    assert by_name(describe_topic(started(), {})) == entries("topic-plain")


def test_a_topic_with_settings_is_described_as_kafka_does() -> None:
    expected = entries("topic-configured")

    assert by_name(describe_topic(altered(), TOPIC)) == expected


def test_a_topic_under_dynamic_broker_settings_is_described_as_kafka_does() -> None:
    assert by_name(describe_topic(altered(), {})) == entries("topic-dynamic")


def test_a_broker_is_described_as_kafka_does() -> None:
    assert by_name(describe_broker(started())) == entries("broker-static")


def test_a_broker_with_dynamic_settings_is_described_as_kafka_does() -> None:
    assert by_name(describe_broker(altered())) == entries("broker-dynamic")


def test_the_defaults_of_all_brokers_are_described_as_kafka_does() -> None:
    assert by_name(describe_brokers(started())) == entries("brokers-empty")
    assert by_name(describe_brokers(altered())) == entries("brokers-dynamic")


def test_groups_are_described_as_kafka_does() -> None:
    assert by_name(describe_group(started(), {})) == entries("group-plain")
    assert by_name(describe_group(altered(), GROUP)) == entries("group-configured")


def outcome(attempt: Attempt) -> tuple[int, str]:
    ops = [Op(name, OpType[op], value) for op, name, value in attempt.ops]
    broker = altered() if attempt.case.startswith("set") else started()
    try:
        match attempt.resource_type:
            case "TOPIC":
                alter_topic(broker, TOPIC, ops, batch_bytes_max=1 << 30)
            case "BROKER":
                alter_broker(broker, ops, for_all=not attempt.resource_name)
            case "GROUP":
                alter_group(broker, {}, ops)
            case _:
                alter_client_metrics({}, ops)
    except KafkaError as error:
        return error.code, error.message
    return 0, ""


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.case)
def test_an_alteration_ends_as_it_does_in_kafka(attempt: Attempt) -> None:
    expected = DIFFERENT.get(attempt.case, (attempt.code, attempt.message))

    assert outcome(attempt) == expected


def test_no_difference_is_listed_that_does_not_exist() -> None:
    kafka = {attempt.case: (attempt.code, attempt.message) for attempt in ATTEMPTS}

    assert {case for case, ours in DIFFERENT.items() if kafka[case] == ours} == set()
