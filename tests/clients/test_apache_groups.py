"""Apache's command-line tools for consumer groups and their offsets."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer

from apache_kafka import Run
from clients.shell import Shell, table
from support.broker import eventually

HOUR_MS = 3_600_000


@pytest.fixture
def read_topic(shell: Shell, bootstrap: str, name: str) -> str:
    """A topic of one partition with records of 5, 4, ... 1 hours ago, all read by a group of its
    name."""
    shell.create_topic(name)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 100})
    now_ms = time.time_ns() // 1_000_000
    for age_h in (5, 4, 3, 2, 1):
        producer.produce(name, str(age_h).encode(), timestamp=now_ms - age_h * HOUR_MS)
    assert producer.flush(20) == 0
    assert shell.consume(name, 5, "--group", name, "--from-beginning") == list("54321")
    return name


def members_of(shell: Shell, group: str) -> list[dict[str, str]]:
    return table(shell("consumer-groups", "--describe", "--group", group, "--members"))


def state_of(shell: Shell, group: str) -> dict[str, str]:
    (row,) = table(shell("consumer-groups", "--describe", "--group", group, "--state"))
    return row


def reset(shell: Shell, group: str, *how: str) -> int:
    """The new offset of the group's one partition, as reset-offsets tells it."""
    options = ("--reset-offsets", "--group", group, "--topic", group, *how)
    (row,) = table(shell("consumer-groups", *options))
    return int(row["NEW-OFFSET"])


def committed(shell: Shell, group: str) -> int:
    (row,) = table(shell("consumer-groups", "--describe", "--group", group))
    return int(row["CURRENT-OFFSET"])


def test_a_group_goes_on_where_it_stopped(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    shell.produce(name, *"abcdef")
    first = shell.consume(name, 4, "--group", name, "--from-beginning")
    rest = shell.consume(name, 2, "--group", name)
    assert (first, rest) == (["a", "b", "c", "d"], ["e", "f"])


def test_an_empty_group_is_listed_and_described_with_its_lag(shell: Shell, read_topic: str) -> None:
    shell.produce(read_topic, "unread", "unread")
    (row,) = table(shell("consumer-groups", "--describe", "--group", read_topic))
    assert (row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) == ("5", "7", "2")
    assert read_topic in shell("consumer-groups", "--list").split()
    assert state_of(shell, read_topic)["STATE"] == "Empty"


def test_groups_are_listed_by_state_and_type(shell: Shell, read_topic: str) -> None:
    by_state = table(shell("consumer-groups", "--list", "--state"))
    assert {"GROUP": read_topic, "STATE": "Empty"} in by_state
    assert read_topic not in shell("consumer-groups", "--list", "--state", "Stable").split()
    by_type = [line.split() for line in shell("groups", "--list").splitlines()]
    assert [read_topic, "Classic", "consumer"] in by_type


def test_an_unknown_group_is_not_described(shell: Shell) -> None:
    printed = shell("consumer-groups", "--describe", "--group", "nobody")
    assert "GroupIdNotFoundException" in printed


def test_two_members_share_the_partitions_and_are_described(shell: Shell, name: str) -> None:
    shell.create_topic(name, partitions=4)
    runs = [verifiable_consumer(shell, name) for _ in range(2)]

    def shared() -> bool:
        return sorted(m["#PARTITIONS"] for m in members_of(shell, name)) == ["2", "2"]

    eventually(shared, what="two members with two partitions each")
    state = state_of(shell, name)
    assert (state["STATE"], state["#MEMBERS"]) == ("Stable", "2")
    assert state["ASSIGNMENT-STRATEGY"] == "range"
    stop_all(runs)
    assert state_of(shell, name)["STATE"] == "Empty"


def test_the_last_member_takes_over_what_another_leaves(shell: Shell, name: str) -> None:
    shell.create_topic(name, partitions=4)
    first, second = [verifiable_consumer(shell, name) for _ in range(2)]
    eventually(lambda: len(members_of(shell, name)) == 2, what="two members")
    first.stop()
    first.wait()
    eventually(
        lambda: [m["#PARTITIONS"] for m in members_of(shell, name)] == ["4"],
        what="one member with all four partitions",
    )
    stop_all([second])


def test_a_group_with_members_is_not_reset_or_deleted(shell: Shell, name: str) -> None:
    shell.create_topic(name)
    run = verifiable_consumer(shell, name)
    eventually(lambda: len(members_of(shell, name)) == 1, what="one member")
    how = ("--reset-offsets", "--group", name, "--topic", name, "--to-earliest", "--execute")
    assert "current state is Stable" in shell("consumer-groups", *how)
    assert "GroupNotEmptyException" in shell("consumer-groups", "--delete", "--group", name)
    stop_all([run])


def verifiable_consumer(shell: Shell, topic: str) -> Run:
    options = ("--topic", topic, "--group-id", topic, "--reset-policy", "earliest")
    return shell.start("verifiable-consumer", *options)


def stop_all(runs: list[Run]) -> None:
    for run in runs:
        run.stop()
    assert [run.wait().exit for run in runs] == [0] * len(runs)


def test_a_dry_run_changes_nothing(shell: Shell, read_topic: str) -> None:
    assert reset(shell, read_topic, "--to-earliest", "--dry-run") == 0
    assert committed(shell, read_topic) == 5


@pytest.mark.parametrize(
    ("how", "offset"),
    [
        (("--to-earliest",), 0),
        (("--to-latest",), 5),
        (("--to-current",), 5),
        (("--to-offset", "3"), 3),
        (("--to-offset", "99"), 5),
        (("--shift-by", "-2"), 3),
        (("--by-duration", "PT3H30M"), 2),
        (("--to-datetime", "1999-12-31T23:59:59.999"), 0),
    ],
)
def test_offsets_are_reset(
    shell: Shell, read_topic: str, how: tuple[str, ...], offset: int
) -> None:
    assert reset(shell, read_topic, *how, "--execute") == offset
    assert committed(shell, read_topic) == offset


def test_offsets_are_reset_to_a_time_of_today(shell: Shell, read_topic: str) -> None:
    moment = datetime.fromtimestamp(time.time() - 1.5 * 3600, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert reset(shell, read_topic, "--to-datetime", text, "--execute") == 4


def test_a_group_reads_again_from_where_it_was_reset(shell: Shell, read_topic: str) -> None:
    reset(shell, read_topic, "--to-offset", "2", "--execute")
    assert shell.consume(read_topic, 3, "--group", read_topic) == ["3", "2", "1"]


def test_deleted_offsets_are_forgotten(shell: Shell, read_topic: str) -> None:
    options = ("--group", read_topic, "--topic", read_topic)
    printed = shell("consumer-groups", "--delete-offsets", *options)
    (row,) = table(printed.partition("\n\n")[2])
    assert row == {"TOPIC": read_topic, "PARTITION": "0", "STATUS": "Successful"}
    assert shell.consume(read_topic, 5, "--group", read_topic, "--from-beginning") == list("54321")


def test_a_deleted_group_is_gone(shell: Shell, read_topic: str) -> None:
    shell("consumer-groups", "--delete", "--group", read_topic)
    assert read_topic not in shell("consumer-groups", "--list").split()
    again = shell("consumer-groups", "--delete", "--group", read_topic)
    assert "GroupIdNotFoundException" in again


def test_the_offsets_of_a_deleted_topic_are_deleted(shell: Shell, read_topic: str) -> None:
    shell("topics", "--delete", "--topic", read_topic)

    def forgotten() -> bool:
        printed = shell("consumer-groups", "--describe", "--group", read_topic)
        return read_topic not in printed or "GroupIdNotFound" in printed

    eventually(forgotten, what="no offsets of a deleted topic")


def test_a_verifiable_consumer_commits_all_that_was_produced(shell: Shell, name: str) -> None:
    shell.create_topic(name, partitions=3)
    sent = shell("verifiable-producer", "--topic", name, "--max-messages", "300")
    acknowledged = [e for e in events(sent) if e["name"] == "producer_send_success"]
    summary = [e for e in events(sent) if e["name"] == "tool_data"]
    assert len(acknowledged) == 300
    assert (summary[0]["sent"], summary[0]["acked"]) == (300, 300)
    read = shell(
        *("verifiable-consumer", "--topic", name, "--group-id", name, "--max-messages", "300"),
        *("--reset-policy", "earliest"),
    )
    consumed = [e["count"] for e in events(read) if e["name"] == "records_consumed"]
    assert sum(consumed) == 300
    rows = table(shell("consumer-groups", "--describe", "--group", name))
    assert sum(int(row["CURRENT-OFFSET"]) for row in rows) == 300
    assert {row["LAG"] for row in rows} == {"0"}


def events(printed: str) -> list[dict[str, Any]]:
    """The events that a verifiable tool prints, one JSON object a line."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
