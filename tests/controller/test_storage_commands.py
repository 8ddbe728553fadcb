"""Nodes, WALs and objects as commands: their refusals, and the three properties of a machine."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from automq.controller import leaders, nodes, objects, takeovers, topics
from automq.metadata.image import Image
from automq.protocol import errors
from automq.stream.client import ObjectDoomed, Verdict
from support.cluster import Cluster, contents, merged

TAKEN, ALREADY = Verdict.TAKEN, Verdict.ALREADY


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
        lambda: merge(cluster, chance),
    ]
    weights = [2, 8, 1, 4, 2, 1, 2, 1, 8]
    chance.choices(steps, weights)[0]()
    if len(cluster.image.cluster.topics) > 6:
        gone = chance.choice(sorted(cluster.image.cluster.topics))
        cluster.run(lambda image: topics.delete_topic(image, gone))


def merge(cluster: Cluster, chance: random.Random) -> None:
    """A merge, and perhaps a trim before it is put in place; what streams hold stays the same."""
    plan = cluster.plan()
    if plan is None:
        return
    if chance.random() < 0.3:
        trims = [(stream, chance.randint(0, 2_000_000)) for stream in plan.parts.column(0)[:3]]
        cluster.run(lambda image: objects.trim_streams(image, trims))
    streams = sorted(set(plan.parts.column(0)))
    before = [cluster.image.storage.stream(stream) for stream in streams]
    verdicts = cluster.replace(merged(plan))
    assert len(verdicts) == len(streams)
    assert [cluster.image.storage.stream(stream) for stream in streams] == before
    for stream in streams:
        check_covered(cluster.image, stream)


def check_covered(image: Image, stream_id: int) -> None:
    """Its ranges hold all that a stream has, without a gap; times are found in the right range."""
    stream = image.storage.stream(stream_id)
    assert stream is not None
    held = image.storage.locate(stream_id, stream.start, 9_999)
    assert not held or (held[0].start <= stream.start < held[0].end)
    assert (held[-1].end if held else stream.start) == stream.end
    assert all(one.end == next_.start for one, next_ in itertools.pairwise(held))
    newest = max((one.max_timestamp for one in held), default=0)
    found = image.storage.locate_timestamp(stream_id, newest)
    assert found is None or found.max_timestamp >= newest


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


def test_a_node_that_starts_for_years_leaves_a_few_closed_logs_and_no_more() -> None:
    cluster = Cluster()
    for _ in range(100):
        cluster.start()
    storage = cluster.image.storage
    kept = range(99 - nodes.CLOSED_WALS_KEPT, 100)
    assert sorted(storage.wals) == list(kept)
    assert [wal_id for wal_id in range(102) if storage.is_wal_closed(wal_id)] == list(range(99))


def test_nothing_is_committed_from_a_log_that_is_forgotten() -> None:
    cluster = Cluster()
    cluster.start()
    first = cluster.wal
    for _ in range(nodes.CLOSED_WALS_KEPT + 1):
        cluster.start()
    assert first not in cluster.image.storage.wals
    commit = replace(cluster.upload(cluster.prepare(), {}), wal_id=first)
    with pytest.raises(errors.StaleBrokerEpoch):
        cluster.commit(commit)
    with pytest.raises(errors.InvalidRequest):
        cluster.finish(first)


def test_a_log_of_another_node_is_not_forgotten_by_this_one() -> None:
    cluster = Cluster()
    cluster.start()
    other = nodes.NodeWish(2, bytes(16), 3, None, "h", (), "automq")
    epoch = cluster.run(lambda image: nodes.register_node(image, other))
    wal = cluster.run(lambda image: nodes.register_wal(image, 2, epoch, "file:///wal"))
    cluster.run(lambda image: nodes.close_wal(image, wal, (2, epoch), 0, clean=True))
    for _ in range(nodes.CLOSED_WALS_KEPT + 3):
        cluster.start()
    assert wal in cluster.image.storage.wals
