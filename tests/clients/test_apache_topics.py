"""Apache's command-line tools for topics, records and the cluster."""

import json
import re
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from clients.shell import Shell, table

HOUR_MS = 3_600_000


def described(shell: Shell, topic: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """What `topics --describe` says: of the topic, and of each of its partitions."""
    printed = shell("topics", "--describe", "--topic", topic)
    head, *rest = [
        dict(re.findall(r"(\w+): ?([^\t\n]*)", line)) for line in printed.strip().splitlines()
    ]
    return head, rest


def test_a_created_topic_is_listed_and_described(shell: Shell, name: str) -> None:
    shell.create_topic(name, partitions=3, retention_ms="1000000")
    topic, partitions = described(shell, name)
    assert name in shell("topics", "--list").split()
    assert topic["PartitionCount"] == "3"
    assert "retention.ms=1000000" in topic["Configs"].split(",")
    assert [p["Partition"] for p in partitions] == ["0", "1", "2"]
    assert {p["Leader"] for p in partitions} == {"1"}
    assert {p["Isr"] for p in partitions} == {"1"}


def test_a_topic_can_be_created_only_once(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    refusal = shell.fails("topics", "--create", "--topic", name)
    assert f"Topic '{name}' already exists" in refusal
    again = shell("topics", "--create", "--topic", name, "--if-not-exists")
    assert again == ""


def test_an_invalid_topic_name_is_refused(shell: Shell) -> None:
    refusal = shell.fails("topics", "--create", "--topic", "no spaces please")
    assert "InvalidTopicException" in refusal


def test_a_topic_with_an_invalid_config_is_refused(shell: Shell, name: str) -> None:
    refusal = shell.fails("topics", "--create", "--topic", name, "--config", "retention.ms=-7")
    assert "Invalid value -7 for configuration retention.ms" in refusal
    assert name not in shell("topics", "--list").split()


def test_a_topic_with_more_replicas_than_brokers_is_refused(shell: Shell, name: str) -> None:
    refusal = shell.fails("topics", "--create", "--topic", name, "--replication-factor", "3")
    assert "InvalidReplicationFactorException" in refusal


def test_partitions_can_be_added_but_not_taken(shell: Shell, name: str) -> None:
    shell.create_topic(name, partitions=2)
    shell("topics", "--alter", "--topic", name, "--partitions", "5")
    refusal = shell.fails("topics", "--alter", "--topic", name, "--partitions", "3")
    assert described(shell, name)[0]["PartitionCount"] == "5"
    assert "InvalidPartitionsException" in refusal


def test_a_deleted_topic_is_gone_and_comes_back_empty(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    shell.produce(name, "old")
    old, _ = described(shell, name)
    shell("topics", "--delete", "--topic", name)
    assert name not in shell("topics", "--list").split()
    shell.create_topic(name)
    new, _ = described(shell, name)
    assert new["TopicId"] != old["TopicId"]
    assert shell.offsets(name) == {0: 0}


def test_an_unknown_topic_cannot_be_described_or_deleted(shell: Shell) -> None:
    assert "does not exist" in shell.fails("topics", "--describe", "--topic", "nobody")
    assert "does not exist" in shell.fails("topics", "--delete", "--topic", "nobody")


def test_console_lines_come_back_in_order(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    shell.produce(name, *(f"line {n}" for n in range(100)))
    assert shell.consume(name, 100, "--from-beginning") == [f"line {n}" for n in range(100)]


def test_console_records_keep_keys_headers_and_timestamps(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    before_ms = time.time_ns() // 1_000_000
    shell(
        *("console-producer", "--topic", name),
        *("--reader-property=parse.key=true", "--reader-property=parse.headers=true"),
        stdin="colour:red,size:9\tkey\tvalue\n",
    )
    wanted = ("timestamp", "partition", "offset", "headers", "key")
    options = [f"--formatter-property=print.{what}=true" for what in wanted]
    (line,) = shell.consume(name, 1, "--from-beginning", *options)
    timestamp, *rest = line.split("\t")
    assert rest == ["Partition:0", "Offset:0", "colour:red,size:9", "key", "value"]
    assert before_ms <= int(timestamp.removeprefix("CreateTime:")) <= time.time_ns() // 1_000_000


def test_log_append_time_is_the_brokers(shell: Shell, name: str) -> None:
    shell.create_topic(name, message_timestamp_type="LogAppendTime")
    shell.produce(name, "x")
    (line,) = shell.consume(
        name, 1, "--from-beginning", "--formatter-property=print.timestamp=true"
    )
    assert line.startswith("LogAppendTime:")


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_console_records_survive_each_codec(shell: Shell, name: str, codec: str) -> None:
    shell.create_topic(name)
    lines = [f"{codec} {n}" * 20 for n in range(50)]
    shell(
        *("console-producer", "--topic", name, f"--compression-codec={codec}"),
        stdin="".join(f"{line}\n" for line in lines),
    )
    assert shell.consume(name, 50, "--from-beginning") == lines


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd", "uncompressed"])
def test_a_topics_own_codec_replaces_the_producers(shell: Shell, name: str, codec: str) -> None:
    shell.create_topic(name, compression_type=codec)
    shell(
        *("console-producer", "--topic", name, "--compression-codec=gzip"),
        stdin="".join(f"{n}\n" for n in range(20)),
    )
    assert shell.consume(name, 20, "--from-beginning") == [str(n) for n in range(20)]


def test_a_consumer_may_begin_at_an_offset_of_a_partition(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    shell.produce(name, *"abcdef")
    assert shell.consume(name, 2, "--partition", "0", "--offset", "3") == ["d", "e"]


def test_offsets_are_told_for_every_kind_of_time(shell: Shell, bootstrap: str, name: str) -> None:
    shell.create_topic(name, partitions=2)
    now_ms = time.time_ns() // 1_000_000
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 100})
    for offset, age_h in enumerate([5, 2, 3]):
        at_ms = now_ms - age_h * HOUR_MS
        producer.produce(name, str(offset).encode(), partition=0, timestamp=at_ms)
    producer.flush(20)
    assert shell.offsets(name) == {0: 3, 1: 0}
    assert shell.offsets(name, "--time", "latest") == {0: 3, 1: 0}
    assert shell.offsets(name, "--time", "earliest") == {0: 0, 1: 0}
    assert shell.offsets(name, "--time", "max-timestamp") == {0: 1}
    assert shell.offsets(name, "--time", str(now_ms - 4 * HOUR_MS)) == {0: 1}
    assert shell.offsets(name, "--time", str(now_ms)) == {}


def test_deleted_records_are_gone_from_the_start(shell: Shell, name: str, tmp_path: Path) -> None:
    shell.create_topic(name, partitions=2)
    shell.produce(name, *(f"k{n}:v" for n in range(40)), keyed=True)
    ends = shell.offsets(name)
    wanted = {0: 3, 1: -1}
    printed = delete_records(shell, name, wanted, tmp_path)
    assert f"partition: {name}-0\tlow_watermark: 3" in printed
    assert f"partition: {name}-1\tlow_watermark: {ends[1]}" in printed
    assert shell.offsets(name, "--time", "earliest") == {0: 3, 1: ends[1]}
    assert shell.offsets(name) == ends


def test_records_that_are_not_there_cannot_be_deleted(
    shell: Shell, name: str, tmp_path: Path
) -> None:
    shell.create_topic(name)
    assert "OffsetOutOfRangeException" in delete_records(shell, name, {0: 77}, tmp_path)


def delete_records(shell: Shell, topic: str, offsets: dict[int, int], directory: Path) -> str:
    partitions = [{"topic": topic, "partition": p, "offset": o} for p, o in offsets.items()]
    file = directory / "offsets.json"
    file.write_text(json.dumps({"partitions": partitions, "version": 1}))
    return shell("delete-records", "--offset-json-file", str(file))


def test_every_advertised_api_is_usable(shell: Shell) -> None:
    printed = shell("broker-api-versions")
    apis = re.findall(r"^\s+(\w+)\(\d+\): (.*?),?$", printed, re.MULTILINE)
    usable = {api for api, versions in apis if "[usable:" in versions}
    assert {"Produce", "Fetch", "Metadata", "JoinGroup", "DescribeConfigs"} <= usable
    assert dict(apis)["Produce"].startswith("0 to ")


def test_the_cluster_has_an_id_and_one_broker(shell: Shell) -> None:
    assert re.fullmatch(r"Cluster ID: [\w-]{22}\n", shell("cluster", "cluster-id"))
    (node,) = table(shell("cluster", "list-endpoints"))
    assert (node["ID"], node["STATE"], node["ENDPOINT_TYPE"]) == ("1", "unfenced", "broker")


def test_the_log_dirs_know_the_size_of_a_partition(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    shell.produce(name, "x" * 1000)
    printed = shell("log-dirs", "--describe", "--topic-list", name).splitlines()[-1]
    (broker,) = json.loads(printed)["brokers"]
    (partition,) = [p for log_dir in broker["logDirs"] for p in log_dir["partitions"]]
    assert partition["partition"] == f"{name}-0"
    assert partition["size"] > 1000


def test_the_features_can_be_asked_for(shell: Shell) -> None:
    done = shell.tools.run("features", "--bootstrap-server", shell.bootstrap, "describe")
    assert done.exit == 0, done.err
    assert all(line.startswith("Feature: ") for line in done.out.splitlines())
