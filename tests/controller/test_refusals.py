"""A command from outside never reaches an assertion: it is refused, or its records apply.

Hypothesis sends commands with any arguments to a cluster with some history. What is decided is
applied at once, so a command that should have been refused would stop the image in an assertion,
as it would stop every controller that replays it.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from automq.controller import leaders, nodes, objects, takeovers, topics
from automq.controller.topics import TopicDefaults, TopicWish, check_topic_name
from automq.metadata.decision import Command
from automq.metadata.image import Image
from automq.metadata.log import encode_all
from automq.metadata.records.registry import Record
from automq.protocol import errors
from automq.stream.client import ObjectCommit, ObjectDoomed

REFUSALS = (errors.KafkaError, ObjectDoomed)
DEFAULTS = TopicDefaults(2, 1)

small = st.integers(-2, 12)
wide = st.one_of(small, st.integers(-(2**31), 2**31 - 1), st.sampled_from([2**62, -(2**62)]))
node_ids = st.integers(-1, 4)
topic_ids = st.sampled_from([bytes([number]) * 16 for number in range(6)])
names = st.one_of(
    st.sampled_from(["a", "b", "a.b", "a_b", "", ".", "..", "x" * 250, "__consumer_offsets"]),
    st.text(max_size=4),
)
replicas = st.lists(node_ids, max_size=4)


def contents(image: Image) -> bytes:
    return bytes(encode_all(image.snapshot_records()))


class AnyCommands(RuleBasedStateMachine):
    """A cluster, and everybody who talks to it."""

    def __init__(self) -> None:
        super().__init__()
        self.image = Image()
        self.records: list[Record] = []

    def attempt(self, command: Command[Any]) -> Any:
        before = contents(self.image)
        try:
            decision = command(self.image)
        except REFUSALS:
            assert contents(self.image) == before
            return None
        assert contents(self.image) == before, "deciding changes nothing"
        encode_all(decision.records)
        for record in decision.records:
            self.image.apply(record)
        self.records += decision.records
        return decision.reply

    @initialize()
    def begin(self) -> None:
        for node_id in (1, 2):
            self.register(node_id)
            self.register_wal(node_id, 0)

    def me(self, node_id: int, epochs_ago: int) -> tuple[int, int]:
        """A node as it is, or as it was some registrations ago."""
        node = self.image.cluster.nodes.get(node_id)
        return node_id, (-1 if node is None else node.node_epoch - epochs_ago)

    @rule(node_id=st.integers(1, 3))
    def register(self, node_id: int) -> None:
        wish = nodes.NodeWish(node_id, bytes(16), 3, None, "h", (), "automq")
        self.attempt(lambda image: nodes.register_node(image, wish))

    @rule(node_id=node_ids, ago=st.integers(-1, 2))
    def activate(self, node_id: int, ago: int) -> None:
        self.attempt(lambda image: nodes.activate_node(image, *self.me(node_id, ago)))

    @rule(node_id=node_ids, ago=st.integers(0, 1))
    def register_wal(self, node_id: int, ago: int) -> None:
        self.attempt(lambda image: nodes.register_wal(image, *self.me(node_id, ago), "file:///w"))

    @rule(node_id=node_ids, ago=st.integers(0, 1), wal=small)
    def take_over(self, node_id: int, ago: int, wal: int) -> None:
        self.attempt(lambda image: takeovers.take_over(image, wal, self.me(node_id, ago)))

    @rule(node_id=node_ids, ago=st.integers(0, 1), wal=small, fence=wide, clean=st.booleans())
    def close_wal(self, node_id: int, ago: int, wal: int, fence: int, clean: bool) -> None:
        me = self.me(node_id, ago)
        self.attempt(lambda image: nodes.close_wal(image, wal, me, fence, clean=clean))

    @rule(node_id=node_ids, ago=st.integers(0, 1), wal=small, fence=wide)
    def close_node(self, node_id: int, ago: int, wal: int, fence: int) -> None:
        self.attempt(lambda image: nodes.close_node(image, *self.me(node_id, ago), wal, fence))

    @rule(node_id=node_ids, ago=st.integers(0, 1))
    def lead(self, node_id: int, ago: int) -> None:
        self.attempt(lambda image: leaders.lead_at(image, *self.me(node_id, ago)))

    @rule(node_id=node_ids, ago=st.integers(0, 1))
    def reserve_producer_ids(self, node_id: int, ago: int) -> None:
        self.attempt(lambda image: nodes.reserve_producer_ids(image, *self.me(node_id, ago)))

    @rule(
        name=names,
        topic_id=topic_ids,
        partitions=small,
        factor=small,
        assignments=st.dictionaries(st.integers(-1, 3), replicas, max_size=3),
        internal=st.booleans(),
    )
    def create_topic(
        self,
        name: str,
        topic_id: bytes,
        partitions: int,
        factor: int,
        assignments: dict[int, list[int]],
        internal: bool,
    ) -> None:
        wish = TopicWish(name, topic_id, partitions, factor, assignments, {}, internal)
        self.attempt(lambda image: topics.create_topic(image, wish, DEFAULTS))

    @rule(topic_id=topic_ids)
    def create_simple_topic(self, topic_id: bytes) -> None:
        wish = TopicWish(f"topic-{topic_id[0]}", topic_id)
        self.attempt(lambda image: topics.create_topic(image, wish, DEFAULTS))

    @rule(name=names, count=wide, assignments=st.none() | st.lists(replicas, max_size=3))
    def create_partitions(self, name: str, count: int, assignments: list[list[int]] | None) -> None:
        self.attempt(lambda image: topics.create_partitions(image, name, count, assignments))

    @rule(topic_id=topic_ids)
    def delete_topic(self, topic_id: bytes) -> None:
        self.attempt(lambda image: topics.delete_topic(image, topic_id))

    @rule(topic_id=topic_ids, index=small)
    def create_state_stream(self, topic_id: bytes, index: int) -> None:
        self.attempt(lambda image: leaders.create_state_stream(image, topic_id, index))
        leaders.partition_at(self.image, topic_id, index)

    @rule(node_id=node_ids, ago=st.integers(0, 1), count=wide, deadline_ms=small)
    def prepare(self, node_id: int, ago: int, count: int, deadline_ms: int) -> None:
        me = self.me(node_id, ago)
        self.attempt(lambda image: objects.prepare_objects(image, *me, count, deadline_ms))

    @rule(
        node_id=node_ids,
        ago=st.integers(0, 1),
        object_id=small,
        wal=small,
        wal_start=wide,
        rows=st.lists(st.tuples(small, small, wide, wide, wide), max_size=3),
        epochs=st.lists(small, min_size=3, max_size=3),
    )
    def commit_anything(
        self,
        node_id: int,
        ago: int,
        object_id: int,
        wal: int,
        wal_start: int,
        rows: list[tuple[int, int, int, int, int]],
        epochs: list[int],
    ) -> None:
        commit = ObjectCommit(object_id, 9, 1, 1, wal, wal_start, rows, epochs[: len(rows)])
        me = self.me(node_id, ago)
        self.attempt(lambda image: objects.commit_object(image, *me, commit))

    @rule(node_id=st.integers(1, 2), streams=st.sets(st.integers(0, 6), max_size=3), data=st.data())
    def commit_what_fits(self, node_id: int, streams: set[int], data: st.DataObject) -> None:
        """An upload as a correct node sends it, perhaps late, perhaps twice."""
        me = self.me(node_id, 0)
        first = self.attempt(lambda image: objects.prepare_objects(image, *me, 1, 5))
        wals = [wal for wal in self.image.storage.wals.values() if wal.committer == me]
        if first is None or not wals:
            return
        rows, epochs = [], []
        for stream_id in sorted(streams):
            stream = self.image.storage.stream(stream_id)
            if stream is not None and (stream.node_id, stream.node_epoch) == me:
                rows.append((stream_id, stream.end, stream.end + 3, 30, 7))
                epochs.append(stream.epoch)
        start = wals[-1].start + data.draw(st.integers(0, 5))
        commit = ObjectCommit(first, 9, 1, 1, wals[-1].wal, start, rows, epochs)
        for _ in range(data.draw(st.integers(1, 2))):
            self.attempt(lambda image: objects.commit_object(image, *me, commit))

    @rule(starts=st.lists(st.tuples(small, wide), max_size=4, unique_by=lambda row: row[0]))
    def trim(self, starts: list[tuple[int, int]]) -> None:
        self.attempt(lambda image: objects.trim_streams(image, starts))

    @rule(now_ms=small)
    def sweep(self, now_ms: int) -> None:
        self.attempt(objects.doom_unreferenced)
        self.attempt(lambda image: objects.doom_orphans(image, now_ms))
        doomed = self.image.storage.tables.doomed(1)
        self.attempt(lambda image: objects.forget_objects(image, doomed))

    @invariant()
    def every_leader_is_first_or_listed(self) -> None:
        for topic_id in self.image.cluster.topics:
            for partition in self.image.cluster.topic_partitions(topic_id):
                assert partition.leader in partition.replicas

    def teardown(self) -> None:
        """Replay and snapshot give what was lived."""
        replayed, loaded = Image(), Image()
        for record in self.records:
            replayed.apply(record)
        for record in self.image.snapshot_records():
            loaded.apply(record)
        assert contents(replayed) == contents(self.image)
        assert contents(loaded) == contents(self.image)


def test_no_command_reaches_an_assertion() -> None:
    run_state_machine_as_test(
        AnyCommands,
        settings=settings(max_examples=60, stateful_step_count=25, deadline=None, derandomize=True),
    )


@given(st.text(max_size=260))
def test_a_topic_name_is_accepted_exactly_when_kafka_does(name: str) -> None:
    legal = 0 < len(name) <= 249 and name not in (".", "..")
    legal = legal and all(ch in LEGAL for ch in name)
    try:
        check_topic_name(name)
    except errors.InvalidTopicException:
        assert not legal
    else:
        assert legal


LEGAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


# -- in words


def cluster_of(*node_ids: int) -> AnyCommands:
    machine = AnyCommands()
    for node_id in node_ids:
        machine.register(node_id)
        machine.register_wal(node_id, 0)
    return machine


def create(machine: AnyCommands, name: str, **fields: Any) -> Any:
    wish = TopicWish(name, name.encode().ljust(16, b"-"), **fields)
    decision = topics.create_topic(machine.image, wish, DEFAULTS)
    for record in decision.records:
        machine.image.apply(record)
    return decision.reply


def test_defaults_take_what_nodes_there_are_and_explicit_factors_do_not() -> None:
    machine = cluster_of(1, 2)
    wanted = TopicDefaults(3, 3)
    wish = TopicWish("a", b"a" * 16)
    made = topics.create_topic(machine.image, wish, wanted).reply
    assert (made.partitions, made.replication_factor) == (3, 2)
    with pytest.raises(errors.InvalidReplicationFactor, match="only 2 broker"):
        create(machine, "b", partitions=1, replication_factor=3)
    assert create(machine, "c", partitions=1, replication_factor=3, internal=True)


def test_names_that_differ_by_dots_and_underscores_collide() -> None:
    machine = cluster_of(1)
    create(machine, "a.b")
    with pytest.raises(errors.InvalidTopicException, match=r"collides with existing topic: a\.b"):
        create(machine, "a_b")
    with pytest.raises(errors.TopicAlreadyExists):
        create(machine, "a.b")
    create(machine, "a-b")


def test_leaders_of_a_topic_go_round_the_nodes() -> None:
    machine = cluster_of(1, 2, 3)
    create(machine, "a", partitions=6, replication_factor=2)
    rows = list(machine.image.cluster.topic_partitions(b"a".ljust(16, b"-")))
    assert sorted(row.leader for row in rows) == [1, 1, 2, 2, 3, 3]
    assert all(len(set(row.replicas)) == 2 and row.leader == row.replicas[0] for row in rows)


def test_nothing_is_forgotten_before_it_was_doomed_nor_committed_after_it() -> None:
    machine = cluster_of(1)
    create(machine, "a")
    me = machine.me(1, 0)
    object_id = machine.attempt(lambda image: objects.prepare_objects(image, *me, 1, 5))
    commit = ObjectCommit(object_id, 9, 1, 1, 0, 10, [(0, 0, 3, 30, 7)], [0])
    assert machine.attempt(lambda image: objects.doom_orphans(image, 4)) == []
    assert machine.attempt(lambda image: objects.doom_orphans(image, 5)) == [object_id]
    with pytest.raises(ObjectDoomed):
        objects.commit_object(machine.image, *me, commit)
    machine.attempt(lambda image: objects.forget_objects(image, [object_id]))
    with pytest.raises(ObjectDoomed):
        objects.commit_object(machine.image, *me, commit)
    again = machine.attempt(lambda image: objects.prepare_objects(image, *me, 1, 5))
    assert again > object_id, "ids are never used again"


def test_ids_of_an_older_incarnation_are_doomed_before_their_deadline() -> None:
    machine = cluster_of(1)
    me = machine.me(1, 0)
    object_id = machine.attempt(lambda image: objects.prepare_objects(image, *me, 1, 10**9))
    machine.register(1)
    assert machine.attempt(lambda image: objects.doom_orphans(image, 0)) == [object_id]
