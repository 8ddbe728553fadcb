"""Nodes, WALs and objects as commands: their refusals, and the three properties of a machine."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from automq.controller import leaders, nodes, objects, takeovers, topics
from automq.metadata.decision import Command
from automq.metadata.image import Image
from automq.metadata.log import encode_all
from automq.metadata.records.registry import Record
from automq.protocol import errors
from automq.stream.client import ObjectCommit, ObjectDoomed, Verdict

TAKEN, ALREADY = Verdict.TAKEN, Verdict.ALREADY


def contents(image: Image) -> bytes:
    return bytes(encode_all(image.snapshot_records()))


@dataclass(slots=True)
class Cluster:
    """One node, driven by commands; keeps every record."""

    image: Image = field(default_factory=Image)
    records: list[Record] = field(default_factory=list)
    node_epoch: int = -1
    wal: int = -1
    incarnations: int = 0

    def run(self, command: Command[Any]) -> Any:
        before = contents(self.image)
        decision = command(self.image)
        assert contents(self.image) == before, "deciding changes nothing"
        for record in decision.records:
            self.image.apply(record)
        self.records += decision.records
        return decision.reply

    def start(self) -> None:
        self.incarnations += 1
        incarnation = self.incarnations.to_bytes(16, "big")
        wish = nodes.NodeWish(1, incarnation, 3, None, "h", (), "automq")
        self.node_epoch = self.run(lambda image: nodes.register_node(image, wish))
        for wal in takeovers.unfinished_wals(self.image, 1):
            self.finish(wal.wal)
        self.wal = self.run(lambda image: nodes.register_wal(image, *self.me, "file:///wal"))
        self.run(lambda image: leaders.lead_at(image, *self.me))

    def finish(self, wal_id: int) -> None:
        start = self.run(lambda image: takeovers.take_over(image, wal_id, self.me)).start
        self.run(lambda image: nodes.close_wal(image, wal_id, self.me, start, clean=False))

    @property
    def me(self) -> tuple[int, int]:
        return 1, self.node_epoch

    def create_topic(self, name: str, partitions: int = 2) -> bytes:
        topic_id = name.encode().rjust(16, b"-")
        wish = topics.TopicWish(name, topic_id, partitions, 1)
        self.run(lambda image: topics.create_topic(image, wish, topics.TopicDefaults(1, 1)))
        return topic_id

    def prepare(self, deadline_ms: int = 100) -> int:
        return int(self.run(lambda image: objects.prepare_objects(image, *self.me, 1, deadline_ms)))

    def upload(self, object_id: int, lengths: dict[int, int], wal_start: int = 0) -> ObjectCommit:
        """A commit that appends so many offsets to these streams."""
        rows, epochs = [], []
        for stream_id, length in sorted(lengths.items()):
            stream = self.image.storage.stream(stream_id)
            assert stream is not None
            rows.append((stream_id, stream.end, stream.end + length, length * 10, 5))
            epochs.append(stream.epoch)
        return ObjectCommit(object_id, 99, 90, 9, self.wal, wal_start, rows, epochs)

    def commit(self, commit: ObjectCommit) -> list[Verdict]:
        verdicts: list[Verdict] = self.run(
            lambda image: objects.commit_object(image, *self.me, commit)
        )
        return verdicts


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.start()
    cluster.create_topic("orders")
    return cluster


def test_a_commit_is_taken_and_its_repeat_is_already_there(cluster: Cluster) -> None:
    commit = cluster.upload(cluster.prepare(), {0: 5, 1: 7}, wal_start=40)

    assert cluster.commit(commit) == [TAKEN, TAKEN]
    assert cluster.commit(commit) == [ALREADY, ALREADY]
    assert cluster.image.storage.wals[cluster.wal].start == 40


def test_a_repeat_is_answered_after_its_object_was_forgotten(cluster: Cluster) -> None:
    commit = cluster.upload(cluster.prepare(), {0: 5}, wal_start=40)
    cluster.commit(commit)
    cluster.run(lambda image: objects.trim_streams(image, [(0, 5)]))
    cluster.run(objects.doom_unreferenced)
    cluster.run(lambda image: objects.forget_objects(image, [commit.object_id]))

    assert cluster.commit(commit) == [ALREADY]


def test_a_doomed_object_is_not_committed(cluster: Cluster) -> None:
    commit = cluster.upload(cluster.prepare(deadline_ms=100), {0: 5})
    assert cluster.run(lambda image: objects.doom_orphans(image, 99)) == []
    assert cluster.run(lambda image: objects.doom_orphans(image, 100)) == [commit.object_id]

    with pytest.raises(ObjectDoomed):
        cluster.commit(commit)


def test_a_doomed_object_does_not_move_the_wal(cluster: Cluster) -> None:
    cluster.commit(cluster.upload(cluster.prepare(), {0: 5}, wal_start=40))
    late = cluster.upload(cluster.prepare(), {}, wal_start=50)
    cluster.run(lambda image: objects.doom_orphans(image, 100))

    with pytest.raises(ObjectDoomed):
        cluster.commit(late)


def test_an_older_incarnation_can_commit_nothing(cluster: Cluster) -> None:
    commit = cluster.upload(cluster.prepare(), {0: 5})
    old = cluster.me
    cluster.start()

    with pytest.raises(errors.StaleBrokerEpoch):
        cluster.run(lambda image: objects.commit_object(image, *old, commit))


def test_a_restarted_node_commits_the_tail_of_its_old_wal_and_leads_after_that(
    cluster: Cluster,
) -> None:
    tail = cluster.upload(0, {0: 5})
    wish = nodes.NodeWish(1, b"n" * 16, 3, None, "h", (), "automq")
    cluster.node_epoch = cluster.run(lambda image: nodes.register_node(image, wish))
    with pytest.raises(errors.InvalidRequest, match="still holds a tail"):
        cluster.run(lambda image: leaders.lead_at(image, *cluster.me))

    cluster.run(lambda image: takeovers.take_over(image, tail.wal_id, cluster.me))
    assert cluster.commit(replace(tail, object_id=cluster.prepare())) == [TAKEN]
    cluster.run(lambda image: nodes.close_wal(image, tail.wal_id, cluster.me, 9, clean=False))
    cluster.run(lambda image: leaders.lead_at(image, *cluster.me))

    assert cluster.image.storage.opens(0)[-1][1] == 5
    with pytest.raises(errors.StaleBrokerEpoch, match="not node 1's to commit from"):
        cluster.commit(tail)


def test_a_wal_of_a_live_owner_is_not_taken(cluster: Cluster) -> None:
    with pytest.raises(errors.InvalidRequest, match="which is alive"):
        cluster.run(lambda image: takeovers.take_over(image, cluster.wal, cluster.me))


def test_what_leaves_a_gap_is_refused(cluster: Cluster) -> None:
    commit = replace(cluster.upload(cluster.prepare(), {}), ranges=[(0, 5, 9, 1, 1)], epochs=[0])

    with pytest.raises(errors.InvalidRequest, match="leaves a gap behind 0"):
        cluster.commit(commit)


def test_a_trim_beyond_the_committed_end_is_clamped(cluster: Cluster) -> None:
    cluster.commit(cluster.upload(cluster.prepare(), {0: 5}))
    cluster.run(lambda image: objects.trim_streams(image, [(0, 900), (77, 3)]))

    stream = cluster.image.storage.stream(0)
    assert stream is not None
    assert (stream.start, stream.end) == (5, 5)


def step(cluster: Cluster, chance: random.Random) -> None:
    """Something that happens to a cluster."""
    streams = [it for it in range(40) if cluster.image.storage.stream(it) is not None]
    some = chance.sample(streams, min(len(streams), 3))
    steps: list[Callable[[], Any]] = [
        lambda: cluster.create_topic(f"t{chance.getrandbits(40)}", chance.randint(1, 3)),
        lambda: cluster.commit(
            cluster.upload(
                cluster.prepare(chance.randint(0, 200)),
                {it: chance.choice([1, 9, 1_000_000]) for it in some},
                cluster.image.storage.wals[cluster.wal].start + chance.randint(0, 9),
            )
        ),
        lambda: cluster.prepare(chance.randint(0, 200)),
        lambda: cluster.run(
            lambda image: objects.trim_streams(image, [(it, chance.randint(0, 99)) for it in some])
        ),
        lambda: cluster.run(objects.doom_unreferenced),
        lambda: cluster.run(lambda image: objects.doom_orphans(image, 100)),
        lambda: cluster.run(
            lambda image: objects.forget_objects(image, image.storage.tables.doomed(2))
        ),
        cluster.start,
    ]
    weights = [2, 8, 1, 4, 2, 1, 2, 1]
    chance.choices(steps, weights)[0]()
    if len(cluster.image.cluster.topics) > 6:
        gone = chance.choice(sorted(cluster.image.cluster.topics))
        cluster.run(lambda image: topics.delete_topic(image, gone))


@pytest.mark.parametrize("seed", range(12))
def test_replaying_the_records_gives_the_image_that_lived_them(seed: int) -> None:
    chance, cluster = random.Random(seed), Cluster()
    cluster.start()
    for _ in range(80):
        step(cluster, chance)
    replayed, loaded = Image(), Image()
    for record in cluster.records:
        replayed.apply(record)
    for record in cluster.image.snapshot_records():
        loaded.apply(record)

    assert contents(replayed) == contents(cluster.image)
    assert contents(loaded) == contents(cluster.image), "a snapshot equals its history"
    for stream in range(60):
        held = cluster.image.storage.locate(stream, 0, 999)
        assert loaded.storage.locate(stream, 0, 999) == held
        assert loaded.storage.stream(stream) == cluster.image.storage.stream(stream)
