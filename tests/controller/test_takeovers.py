"""Who may take over whose WAL, what that closes, and who leads afterwards."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from automq.controller import leaders, nodes, objects, takeovers, topics
from automq.metadata.decision import Command
from automq.metadata.image import Image
from automq.metadata.records.nodes import NodeState
from automq.metadata.records.registry import Record
from automq.metadata.storage import Wal
from automq.protocol import errors
from automq.stream.client import ObjectCommit, Verdict

DEAD, SURVIVOR, THIRD = 1, 2, 3


@dataclass(slots=True)
class Cluster:
    """Nodes, driven by commands."""

    image: Image = field(default_factory=Image)
    records: list[Record] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)

    def run(self, command: Command[Any]) -> Any:
        decision = command(self.image)
        for record in decision.records:
            self.image.apply(record)
        self.records += decision.records
        return decision.reply

    def register(self, node_id: int) -> tuple[int, int]:
        incarnation = len(self.records).to_bytes(16, "big")
        wish = nodes.NodeWish(node_id, incarnation, 3, None, "h", (), "automq")
        self.epochs[node_id] = self.run(lambda image: nodes.register_node(image, wish))
        return self.me(node_id)

    def me(self, node_id: int) -> tuple[int, int]:
        return node_id, self.epochs[node_id]

    def start(self, node_id: int) -> int:
        """A node that has nothing to recover; its WAL."""
        me = self.register(node_id)
        wal: int = self.run(lambda image: nodes.register_wal(image, *me, "file:///wal"))
        self.lead(node_id)
        self.run(lambda image: nodes.activate_node(image, *me))
        return wal

    def lead(self, node_id: int) -> int:
        led: int = self.run(lambda image: leaders.lead_at(image, *self.me(node_id)))
        return led

    def create_topic(self, name: str) -> bytes:
        topic_id = name.encode().rjust(16, b"-")
        wish = topics.TopicWish(name, topic_id, 2, 1)
        self.run(lambda image: topics.create_topic(image, wish, topics.TopicDefaults(1, 1)))
        return topic_id

    def commit(self, by: int, wal: int, end: int, wal_start: int) -> list[Verdict]:
        """Stream 0 up to `end`, from a WAL, at the stream's epoch."""
        first = self.run(lambda image: objects.prepare_objects(image, *self.me(by), 1, 100))
        stream = self.image.storage.stream(0)
        assert stream is not None
        row = (0, stream.end, end, 10, 5)
        commit = ObjectCommit(first, 99, 90, 9, wal, wal_start, [row], [stream.epoch])
        verdicts: list[Verdict] = self.run(
            lambda image: objects.commit_object(image, *self.me(by), commit)
        )
        return verdicts

    def fence(self, by: int, node_id: int) -> None:
        self.run(lambda image: takeovers.fence_node(image, self.me(by), node_id))

    def take_over_all(self, by: int, node_id: int) -> list[Wal]:
        wals: list[Wal] = self.run(
            lambda image: takeovers.take_over_all(image, self.me(by), node_id)
        )
        return wals

    def finish(self, by: int, wal: int, fence: int) -> int:
        closed: int = self.run(lambda image: takeovers.finish_wal(image, wal, self.me(by), fence))
        return closed


@pytest.fixture
def cluster() -> Cluster:
    """Node 1 leads a topic of two partitions, and is not heard of any more; node 2 starts."""
    cluster = Cluster()
    cluster.start(DEAD)
    cluster.create_topic("orders")
    cluster.register(SURVIVOR)
    return cluster


def test_a_fenced_node_commits_nothing_and_its_taker_does(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    assert [wal.wal for wal in cluster.take_over_all(SURVIVOR, DEAD)] == [0]

    with pytest.raises(errors.StaleBrokerEpoch):
        cluster.commit(DEAD, 0, 5, 40)
    assert cluster.commit(SURVIVOR, 0, 5, 40) == [Verdict.TAKEN]
    assert cluster.image.storage.wals[0].start == 40


def test_the_wal_of_a_live_node_is_not_taken(cluster: Cluster) -> None:
    assert cluster.take_over_all(SURVIVOR, DEAD) == []
    with pytest.raises(errors.InvalidRequest, match="belongs to node 1, which is alive"):
        cluster.run(lambda image: takeovers.take_over(image, 0, cluster.me(SURVIVOR)))


def test_a_node_cannot_declare_itself_dead_nor_one_that_is_not_known(cluster: Cluster) -> None:
    with pytest.raises(errors.InvalidRequest, match="declare itself dead"):
        cluster.fence(SURVIVOR, SURVIVOR)
    with pytest.raises(errors.InvalidRequest, match="node 9 is not known; known are 1, 2"):
        cluster.fence(SURVIVOR, 9)


def test_a_fenced_node_cannot_fence_or_take_over(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    with pytest.raises(errors.StaleBrokerEpoch):
        cluster.fence(DEAD, SURVIVOR)
    with pytest.raises(errors.StaleBrokerEpoch):
        cluster.take_over_all(DEAD, SURVIVOR)


def test_fencing_twice_decides_nothing_the_second_time(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    before = len(cluster.records)
    cluster.fence(SURVIVOR, DEAD)
    assert len(cluster.records) == before
    assert cluster.image.cluster.nodes[DEAD].state is NodeState.FENCED


def test_a_taker_that_died_is_replaced_and_its_commits_are_refused(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    cluster.take_over_all(SURVIVOR, DEAD)
    cluster.commit(SURVIVOR, 0, 5, 40)
    cluster.register(THIRD)
    [wal] = cluster.take_over_all(THIRD, DEAD)

    assert wal.start == 40
    assert cluster.image.storage.wals[0].attempt == 2
    with pytest.raises(errors.StaleBrokerEpoch):
        cluster.commit(SURVIVOR, 0, 9, 80)
    with pytest.raises(errors.InvalidRequest, match="not this node's to close"):
        cluster.finish(SURVIVOR, 0, 80)
    assert cluster.commit(THIRD, 0, 9, 80) == [Verdict.TAKEN]


def test_finishing_closes_the_streams_at_their_committed_ends(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    cluster.take_over_all(SURVIVOR, DEAD)
    cluster.commit(SURVIVOR, 0, 5, 40)

    assert cluster.finish(SURVIVOR, 0, 48) == 2
    streams = [cluster.image.storage.stream(number) for number in (0, 1)]
    assert [(it.open, it.end) for it in streams if it is not None] == [(False, 5), (False, 0)]
    assert cluster.image.storage.wals[0].closed
    with pytest.raises(errors.StaleBrokerEpoch, match="not node 2's to commit from"):
        cluster.commit(SURVIVOR, 0, 9, 80)


def test_a_survivor_leads_what_was_taken_over_and_is_in_its_list(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    cluster.take_over_all(SURVIVOR, DEAD)
    cluster.finish(SURVIVOR, 0, 0)

    assert cluster.lead(SURVIVOR) == 2
    partition = cluster.image.cluster.partition(b"orders".rjust(16, b"-"), 0)
    assert partition is not None
    assert (partition.leader, partition.replicas, partition.leader_epoch) == (2, [2], 1)


def test_nothing_is_led_whose_wal_may_hold_more(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    cluster.take_over_all(SURVIVOR, DEAD)

    assert cluster.lead(SURVIVOR) == 0


def test_nothing_is_led_whose_leader_lives(cluster: Cluster) -> None:
    assert cluster.lead(SURVIVOR) == 0


def test_what_a_stopped_node_led_is_led_by_who_starts_next(cluster: Cluster) -> None:
    cluster.run(lambda image: nodes.close_node(image, *cluster.me(DEAD), 0, 0))

    assert cluster.lead(SURVIVOR) == 2
    cluster.register(DEAD)
    assert cluster.lead(DEAD) == 0


def test_a_node_that_comes_back_first_leads_again_what_was_taken_over(cluster: Cluster) -> None:
    cluster.fence(SURVIVOR, DEAD)
    cluster.take_over_all(SURVIVOR, DEAD)
    cluster.finish(SURVIVOR, 0, 0)
    cluster.run(lambda image: takeovers.stop_node(image, cluster.me(SURVIVOR)))

    cluster.start(DEAD)
    assert cluster.image.cluster.partitions.led_by(DEAD) != []


def test_the_rest_of_a_placement_list_stays() -> None:
    partition = topics_partition([DEAD, THIRD])
    assert leaders.placed_at(partition, SURVIVOR) == (SURVIVOR, THIRD)
    assert leaders.placed_at(partition, THIRD) == (DEAD, THIRD)


def topics_partition(replicas: list[int]) -> Any:
    cluster = Cluster()
    cluster.start(DEAD)
    topic_id = cluster.create_topic("t")
    partition = cluster.image.cluster.partition(topic_id, 0)
    assert partition is not None
    return partition._replace(replicas=replicas)


def test_streams_of_a_later_life_stay_open_when_an_older_wal_is_finished() -> None:
    """The node died, came back under the same id, and has opened its streams again."""
    cluster = Cluster()
    cluster.start(DEAD)
    cluster.create_topic("t")
    cluster.register(DEAD)
    [old] = cluster.take_over_all(DEAD, DEAD)
    assert cluster.finish(DEAD, old.wal, 0) == 2
    assert cluster.lead(DEAD) == 2
    stream = cluster.image.storage.stream(0)
    assert stream is not None
    assert stream.open
