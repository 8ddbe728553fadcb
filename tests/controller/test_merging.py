"""Merging objects as commands: what is planned, what is put in place, what is refused."""

from dataclasses import replace

import pytest

from automq._native import Columns
from automq.controller import merging, objects, topics
from automq.metadata.records.objects import ExtentsReplaced, ObjectsDoomed
from automq.metadata.storage import COMMITTED, DOOMED
from automq.protocol import errors
from automq.stream.client import Merge, MergeReason, ObjectDoomed, ReplaceVerdict
from support.cluster import LIMITS, Cluster, merged

TAKEN, GONE, REFUSED = ReplaceVerdict.TAKEN, ReplaceVerdict.GONE, ReplaceVerdict.REFUSED


@pytest.fixture
def cluster() -> Cluster:
    """Streams 0 and 1 in two uploads, of 5 and 7 offsets each."""
    cluster = Cluster()
    cluster.start()
    cluster.create_topic("orders")
    for _ in range(2):
        cluster.commit(cluster.upload(cluster.prepare(), {0: 5, 1: 7}))
    return cluster


def planned(cluster: Cluster) -> Merge:
    merge = cluster.plan()
    assert merge is not None
    return merge


def held(cluster: Cluster, stream: int) -> list[tuple[int, int, int]]:
    found = cluster.image.storage.locate(stream, 0, 99)
    return [(one.object, one.start, one.end) for one in found]


def test_a_merge_names_the_uploads_of_a_node_and_a_new_object(cluster: Cluster) -> None:
    merge = planned(cluster)

    assert (merge.reason, merge.level) == (MergeReason.UPLOADS, 1)
    assert [source.object_id for source in merge.sources] == [0, 1]
    assert merge.parts.columns()[:4] == [[0, 0, 1, 1], [0, 1, 0, 1], [0, 5, 0, 7], [5, 10, 7, 14]]
    assert merging.is_in_work(cluster.image, merge.object_id)


def test_too_few_uploads_are_left_as_they_are(cluster: Cluster) -> None:
    records = len(cluster.records)

    assert cluster.plan(replace(LIMITS, objects_max=3)) is None
    assert len(cluster.records) == records, "no id is taken for nothing"


def test_a_replace_puts_one_object_in_the_place_of_many(cluster: Cluster) -> None:
    merge = planned(cluster)

    assert cluster.replace(merged(merge)) == [TAKEN, TAKEN]
    assert held(cluster, 0) == [(merge.object_id, 0, 10)]
    assert held(cluster, 1) == [(merge.object_id, 0, 14)]
    assert cluster.run(objects.doom_unreferenced) == [0, 1]
    known = cluster.image.storage.object(merge.object_id)
    assert known is not None
    assert (known.state, known.level, known.live) == (COMMITTED, 1, 2)


def test_a_replace_that_is_repeated_changes_nothing(cluster: Cluster) -> None:
    replacement = merged(planned(cluster))
    cluster.replace(replacement)
    records = len(cluster.records)

    assert cluster.replace(replacement) == [TAKEN, TAKEN]
    assert len(cluster.records) == records


def test_a_trim_inside_the_first_range_leaves_the_replace_good(cluster: Cluster) -> None:
    merge = planned(cluster)
    cluster.run(lambda image: objects.trim_streams(image, [(0, 3)]))

    assert cluster.replace(merged(merge)) == [TAKEN, TAKEN]
    assert held(cluster, 0) == [(merge.object_id, 0, 10)]


def test_a_stream_of_which_a_range_is_gone_keeps_what_it_has(cluster: Cluster) -> None:
    merge = planned(cluster)
    cluster.run(lambda image: objects.trim_streams(image, [(0, 5)]))

    assert cluster.replace(merged(merge)) == [REFUSED, TAKEN]
    assert held(cluster, 0) == [(1, 5, 10)]
    assert held(cluster, 1) == [(merge.object_id, 0, 14)]


def test_a_merge_of_deleted_streams_is_doomed(cluster: Cluster) -> None:
    merge = planned(cluster)
    topic_id = cluster.image.cluster.topic_ids["orders"]
    cluster.run(lambda image: topics.delete_topic(image, topic_id))

    assert cluster.replace(merged(merge)) == [GONE, GONE]
    assert isinstance(cluster.records[-1], ObjectsDoomed)
    known = cluster.image.storage.object(merge.object_id)
    assert known is not None
    assert known.state == DOOMED


def test_a_merge_that_came_too_late_is_doomed_and_its_sources_stay(cluster: Cluster) -> None:
    merge = planned(cluster)
    assert merge.object_id in cluster.run(lambda image: objects.doom_orphans(image, 100))

    with pytest.raises(ObjectDoomed):
        cluster.replace(merged(merge))
    assert held(cluster, 0) == [(0, 0, 5), (1, 5, 10)]
    assert cluster.run(objects.doom_unreferenced) == []


def test_of_two_merges_of_the_same_ranges_the_first_wins(cluster: Cluster) -> None:
    first, second = planned(cluster), planned(cluster)
    assert cluster.replace(merged(first)) == [TAKEN, TAKEN]

    assert cluster.replace(merged(second)) == [REFUSED, REFUSED]
    assert held(cluster, 0) == [(first.object_id, 0, 10)]


def test_a_replace_goes_on_beside_uploads_and_new_epochs(cluster: Cluster) -> None:
    merge = planned(cluster)
    cluster.commit(cluster.upload(cluster.prepare(), {0: 5}))
    cluster.start()

    assert cluster.replace(merged(merge)) == [TAKEN, TAKEN]
    assert [(start, end) for _, start, end in held(cluster, 0)] == [(0, 10), (10, 15)]


def test_a_replace_that_loses_an_offset_is_refused(cluster: Cluster) -> None:
    replacement = merged(planned(cluster))
    columns = replacement.added.columns()
    columns[3] = [9, 14]

    with pytest.raises(errors.InvalidRequest, match="stream 0: ends at 9, not 10"):
        cluster.replace(replace(replacement, added=Columns(*columns)))


def test_a_replace_is_one_record(cluster: Cluster) -> None:
    records = len(cluster.records)
    cluster.replace(merged(planned(cluster)))

    assert [type(record) for record in cluster.records[records + 1 :]] == [ExtentsReplaced]


def test_streams_of_a_merge_in_work_and_damaged_objects_are_left_out(cluster: Cluster) -> None:
    in_work = cluster.plan(streams_left_out=[0])
    assert in_work is not None
    assert set(in_work.parts.column(0)) == {1}
    assert cluster.plan(objects_left_out=[0]) is None


def test_an_id_that_was_given_up_is_never_committed(cluster: Cluster) -> None:
    merge = planned(cluster)
    cluster.run(lambda image: merging.give_up_object(image, 1, merge.object_id))

    assert not merging.is_in_work(cluster.image, merge.object_id)
    with pytest.raises(ObjectDoomed):
        cluster.replace(merged(merge))
