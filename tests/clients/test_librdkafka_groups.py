"""librdkafka, through confluent-kafka: consumer groups."""

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import NewPartitions

from clients.librdkafka import Record, consumer, producer, read, send, texts, values
from support.broker import eventually
from support.clients import admin, create_topic

STRATEGIES = ["range", "roundrobin", "cooperative-sticky"]


def counts(members: Sequence[Consumer]) -> list[int]:
    return sorted(len(member.assignment()) for member in members)


def settle(members: Sequence[Consumer], wanted: list[int]) -> list[Message]:
    """Poll all members until they have as many partitions as wanted; what they read meanwhile."""
    got: list[Message] = []

    def settled() -> bool:
        for member in members:
            got.extend(m for m in member.consume(100, timeout=0.05) if m.error() is None)
        return counts(members) == wanted

    eventually(settled, what=f"assignments of {wanted} partitions")
    return got


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_members_share_and_the_last_takes_all(bootstrap: str, name: str, strategy: str) -> None:
    create_topic(bootstrap, name, partitions=4)
    config: dict[str, Any] = {"group": name, "partition_assignment_strategy": strategy}
    with consumer(bootstrap, **config) as first:
        first.subscribe([name])
        settle([first], [4])
        with consumer(bootstrap, **config) as second:
            second.subscribe([name])
            settle([first, second], [2, 2])
            shared = {(tp.topic, tp.partition) for m in (first, second) for tp in m.assignment()}
            assert shared == {(name, p) for p in range(4)}
        settle([first], [4])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_record_is_read_once_through_a_rebalance(
    bootstrap: str, name: str, strategy: str
) -> None:
    create_topic(bootstrap, name, partitions=4)
    client = producer(bootstrap)
    # Commits happen when partitions are revoked, as in an application with auto-commit.
    config: dict[str, Any] = {
        "group": name,
        "partition_assignment_strategy": strategy,
        "enable_auto_commit": True,
    }
    numbered = [Record(str(n).encode(), partition=n % 4) for n in range(400)]
    with consumer(bootstrap, **config) as first, consumer(bootstrap, **config) as second:
        first.subscribe([name])
        got = settle([first], [4])
        send(client, name, numbered[:200])
        got += read(first, 200 - len(got))
        second.subscribe([name])
        got += settle([first, second], [2, 2])
        send(client, name, numbered[200:])

        def read_all() -> bool:
            for member in (first, second):
                got.extend(m for m in member.consume(100, timeout=0.05) if m.error() is None)
            return len(got) >= 400

        eventually(read_all, what="400 records")
    assert sorted(texts(got), key=int) == [str(n) for n in range(400)]


def test_cooperative_members_keep_what_they_have(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, partitions=4)
    config: dict[str, Any] = {"group": name, "partition_assignment_strategy": "cooperative-sticky"}
    revoked: list[int] = []
    with consumer(bootstrap, **config) as first, consumer(bootstrap, **config) as second:
        first.subscribe(
            [name], on_revoke=lambda _, taken: revoked.extend(tp.partition for tp in taken)
        )
        settle([first], [4])
        second.subscribe([name])
        settle([first, second], [2, 2])
        assert len(revoked) == 2


def test_a_static_member_comes_back_without_a_rebalance(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, partitions=4)
    rebalances: list[int] = []
    with consumer(bootstrap, group=name, group_instance_id="a") as stays:
        stays.subscribe([name], on_assign=lambda _, got: rebalances.append(len(got)))
        with consumer(bootstrap, group=name, group_instance_id="b") as leaves:
            leaves.subscribe([name])
            settle([stays, leaves], [2, 2])
            before = sorted(tp.partition for tp in leaves.assignment())
        so_far = len(rebalances)
        with consumer(bootstrap, group=name, group_instance_id="b") as returns:
            returns.subscribe([name])
            settle([stays, returns], [2, 2])
            assert sorted(tp.partition for tp in returns.assignment()) == before
            assert len(rebalances) == so_far


def test_a_static_member_is_fenced_by_its_successor(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    config: dict[str, Any] = {"group": name, "group_instance_id": "same"}
    with consumer(bootstrap, **config) as old, consumer(bootstrap, **config) as new:
        old.subscribe([name])
        settle([old], [1])
        new.subscribe([name])

        def fenced() -> bool:
            new.poll(0.05)
            message = old.poll(0.05)
            error = message.error() if message is not None else None
            return error is not None and error.code() == KafkaError._FATAL

        eventually(fenced, what="a fatal error of the old member")
        settle([new], [1])


def test_a_group_resumes_at_what_it_committed(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    send(producer(bootstrap), name, values(*range(10)))
    with consumer(bootstrap, group=name) as client:
        client.subscribe([name])
        messages = read(client, 4)
        committed = client.commit(message=messages[-1], asynchronous=False)
        assert [tp.offset for tp in committed or []] == [4]
    with consumer(bootstrap, group=name) as client:
        client.subscribe([name])
        assert texts(read(client, 6)) == ["4", "5", "6", "7", "8", "9"]


def test_a_commit_keeps_its_metadata(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, partitions=2)
    with consumer(bootstrap, group=name) as client:
        mine = TopicPartition(name, 0, 7, "a note")
        client.commit(offsets=[mine], asynchronous=False)
        both = [TopicPartition(name, 0), TopicPartition(name, 1)]
        first, second = client.committed(both, timeout=20)
    assert (first.offset, first.metadata) == (7, "a note")
    assert second.offset < 0


def test_members_of_one_group_may_read_different_topics(bootstrap: str, name: str) -> None:
    topics = [f"{name}-a", f"{name}-b"]
    for topic in topics:
        create_topic(bootstrap, topic, partitions=2)
    config: dict[str, Any] = {"group": name, "partition_assignment_strategy": "roundrobin"}
    with consumer(bootstrap, **config) as first, consumer(bootstrap, **config) as second:
        first.subscribe(topics[:1])
        second.subscribe(topics[1:])
        settle([first, second], [2, 2])
        assert {tp.topic for tp in first.assignment()} == {topics[0]}
        assert {tp.topic for tp in second.assignment()} == {topics[1]}


def test_a_pattern_finds_topics_that_come_later(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, f"{name}-1")
    config: dict[str, Any] = {"group": name, "topic_metadata_refresh_interval_ms": 300}
    with consumer(bootstrap, **config) as client:
        client.subscribe([f"^{name}-.*"])
        settle([client], [1])
        create_topic(bootstrap, f"{name}-2")
        settle([client], [2])


def test_added_partitions_reach_a_running_group(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    config: dict[str, Any] = {"group": name, "topic_metadata_refresh_interval_ms": 300}
    with consumer(bootstrap, **config) as client:
        client.subscribe([name])
        settle([client], [1])
        grow = admin(bootstrap)
        grow.create_partitions([NewPartitions(name, 3)])[name].result(20)
        settle([client], [3])


def test_groups_are_listed_described_and_deleted(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, partitions=2)
    asking = admin(bootstrap)
    with consumer(bootstrap, group=name, client_id="someone") as client:
        client.subscribe([name])
        settle([client], [2])
        group = asking.describe_consumer_groups([name])[name].result(20)
        assert (group.state, group.partition_assignor) == (ConsumerGroupState.STABLE, "range")
        (member,) = group.members
        assert member.client_id == "someone"
        assert len(member.assignment.topic_partitions) == 2
        with pytest.raises(KafkaException) as refused:
            asking.delete_consumer_groups([name])[name].result(20)
        assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    listed = asking.list_consumer_groups().result(20)
    assert name in {g.group_id for g in listed.valid}
    stable = asking.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(20)
    assert name not in {g.group_id for g in stable.valid}
    asking.delete_consumer_groups([name])[name].result(20)
    with pytest.raises(KafkaException) as gone:
        asking.delete_consumer_groups([name])[name].result(20)
    assert gone.value.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def test_the_offsets_of_a_group_are_listed_and_altered(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, partitions=2)
    asking = admin(bootstrap)
    wanted = [TopicPartition(name, 0, 3), TopicPartition(name, 1, 4)]
    asking.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, wanted)])[name].result(
        20
    )
    listed = asking.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name]
    offsets = {tp.partition: tp.offset for tp in listed.result(20).topic_partitions}
    assert offsets == {0: 3, 1: 4}


def test_a_commit_from_a_group_that_moved_on_is_refused(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    with consumer(bootstrap, group=name) as member, consumer(bootstrap, group=name) as stranger:
        member.subscribe([name])
        settle([member], [1])
        with pytest.raises(KafkaException) as refused:
            stranger.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
        assert refused.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
