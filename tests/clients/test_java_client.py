"""Apache's Java producer and consumer, driven by their performance and verifiable tools."""

import json
import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from clients.shell import Shell
from support.broker import eventually

RECORDS = 2000


def produce(shell: Shell, topic: str, *properties: str, records: int = RECORDS) -> int:
    """Send records of 200 bytes with producer-perf-test; how many it says were acknowledged."""
    printed = shell(
        *("producer-perf-test", "--topic", topic, "--num-records", str(records)),
        *("--record-size", "200", "--throughput", "-1"),
        *(argument for p in properties for argument in ("--command-property", p)),
    )
    (sent,) = re.findall(r"^(\d+) records sent.*99\.9th\.$", printed, re.MULTILINE)
    return int(sent)


def consume(shell: Shell, topic: str, records: int = RECORDS) -> int:
    """Read with consumer-perf-test; how many records it says there were."""
    printed = shell(
        *("consumer-perf-test", "--topic", topic, "--num-records", str(records)),
        *("--timeout", "20000"),
    )
    return int(printed.splitlines()[-1].split(", ")[4])


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_with_a_codec_is_consumed(shell: Shell, name: str, codec: str) -> None:
    shell.create_topic(name, partitions=3)
    assert produce(shell, name, f"compression.type={codec}", "acks=all") == RECORDS
    ends = shell.offsets(name).values()
    assert sum(end or 0 for end in ends) == RECORDS
    assert consume(shell, name) == RECORDS


@pytest.mark.parametrize(
    "properties",
    [
        ("acks=all", "enable.idempotence=true", "max.in.flight.requests.per.connection=5"),
        ("acks=1", "enable.idempotence=false"),
        ("acks=0", "enable.idempotence=false"),
    ],
)
def test_every_kind_of_acknowledgement_stores_all(
    shell: Shell, name: str, properties: tuple[str, ...]
) -> None:
    shell.create_topic(name)
    # Small batches and no lingering: many requests in flight.
    assert produce(shell, name, *properties, "batch.size=1000", "linger.ms=0") == RECORDS
    assert consume(shell, name) == RECORDS


def test_the_producer_is_idempotent_unless_told_otherwise(
    shell: Shell, bootstrap: str, name: str
) -> None:
    shell.create_topic(name)
    assert produce(shell, name, records=10) == 10
    options = ("--bootstrap-server", bootstrap, "describe-producers")
    done = shell.tools.run("transactions", *options, "--topic", name, "--partition", "0")
    assert done.exit == 0, done.err
    (producer,) = done.out.splitlines()[1:]
    producer_id, epoch, _, last_sequence, *_ = producer.split("\t")
    assert int(producer_id) >= 0
    assert (epoch.strip(), last_sequence.strip()) == ("0", "9")


def test_keys_go_to_one_partition_each(shell: Shell, bootstrap: str, name: str) -> None:
    shell.create_topic(name, partitions=4)
    lines = [f"key-{n % 10}:{n}" for n in range(100)]
    shell.produce(name, *lines, keyed=True)
    where: dict[bytes, list[tuple[int, int]]] = {}
    for partition, key, value in read_all(bootstrap, name, partitions=4, count=100):
        where.setdefault(key, []).append((partition, int(value)))
    assert len(where) == 10
    for found in where.values():
        assert len({partition for partition, _ in found}) == 1
        assert found == sorted(found)


def read_all(
    bootstrap: str, topic: str, *, partitions: int, count: int
) -> list[tuple[int, bytes, bytes]]:
    """Partition, key and value of all records, as librdkafka reads them."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none"})
    try:
        consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        messages = consumer.consume(count, timeout=20)
        return [(m.partition() or 0, m.key() or b"", m.value() or b"") for m in messages]
    finally:
        consumer.close()


def test_a_record_larger_than_the_topic_allows_is_refused(shell: Shell, name: str) -> None:
    shell.create_topic(name, max_message_bytes="1000")
    done = shell.tools.run(
        *("console-producer", "--topic", name, "--bootstrap-server", shell.bootstrap),
        stdin="x" * 2000 + "\n",
    )
    assert "RecordTooLargeException" in done.err
    assert shell.offsets(name) == {0: 0}


def test_a_verifiable_producer_is_stopped_in_the_middle(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    run = shell.start("verifiable-producer", "--topic", name, "--throughput", "200")
    eventually(lambda: run.peek().count("producer_send_success") >= 50, what="50 records sent")
    run.stop()
    events = [json.loads(line) for line in run.wait().out.splitlines()]
    acknowledged = [e["offset"] for e in events if e["name"] == "producer_send_success"]
    assert acknowledged == list(range(len(acknowledged)))
    assert shell.offsets(name) == {0: len(acknowledged)}


def test_the_end_to_end_latency_is_measured(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    printed = shell(
        *("e2e-latency", "--topic", name, "--num-records", "50"),
        *("--producer-acks", "all", "--record-size", "100"),
    )
    assert "Avg latency:" in printed


@pytest.mark.parametrize("protocol", ["range", "cooperative-sticky"])
def test_the_perf_consumer_reads_as_a_group(
    shell: Shell, name: str, protocol: str, tmp_path: Path
) -> None:
    assignors = {"range": "RangeAssignor", "cooperative-sticky": "CooperativeStickyAssignor"}
    config = tmp_path / "consumer.properties"
    assignor = f"org.apache.kafka.clients.consumer.{assignors[protocol]}"
    config.write_text(f"partition.assignment.strategy={assignor}\n")
    shell.create_topic(name, partitions=3)
    produce(shell, name)
    printed = shell(
        *("consumer-perf-test", "--topic", name, "--num-records", str(RECORDS)),
        *("--timeout", "20000", "--group", name, "--command-config", str(config)),
    )
    assert int(printed.splitlines()[-1].split(", ")[4]) == RECORDS
