"""Offsets: commit, fetch, delete, expire."""

from typing import Any

import pytest

from automq.coordinator.group.classic import ClassicGroup
from automq.coordinator.group.replies import (
    FetchedOffset,
    FetchedTopic,
    FetchTopic,
    Leaving,
    OffsetToCommit,
)
from automq.coordinator.group.settings import GroupSettings
from automq.protocol import errors
from support.groups import Life

ID_1, ID_2 = b"1" * 16, b"2" * 16
DAY_MS = 24 * 60 * 60 * 1000
RETENTION_MS = 7 * DAY_MS


@pytest.fixture
def life() -> Life:
    return Life()


def fetch(life: Life, group_id: str, *topics: FetchTopic) -> list[FetchedTopic]:
    wanted = list(topics) or None
    fetched: list[FetchedTopic] = life.run(
        lambda groups: groups.fetch_offsets(group_id=group_id, topics=wanted, now=life.now())
    )
    return fetched


def delete(life: Life, group_id: str, *partitions: tuple[str, int]) -> list[int]:
    codes: list[int] = life.run(
        lambda groups: groups.delete_offsets(
            group_id=group_id, partitions=list(partitions), now=life.now()
        )
    )
    return codes


def at(offset: int, topic: str = "t", partition: int = 0, **fields: Any) -> OffsetToCommit:
    return OffsetToCommit(topic, partition, offset, **fields)


def test_a_simple_consumer_commits_without_a_group(life: Life) -> None:
    assert life.commit("g", at(5, leader_epoch=3, metadata="m")) == [0]
    wanted = FetchTopic("t", (0, 1))
    offsets = (FetchedOffset(0, 5, 3, "m"), FetchedOffset(1))
    assert fetch(life, "g", wanted) == [FetchedTopic("t", bytes(16), offsets)]
    assert life.groups.live["g"].protocol_type is None


def test_a_member_commits_in_its_generation(life: Life) -> None:
    life.stable("g", "a")
    assert life.commit("g", at(5), member_id="a", generation_id=1) == [0]


def test_a_commit_is_refused_with_the_reason(life: Life) -> None:
    life.stable("g", "a")
    with pytest.raises(errors.UnknownMemberId):
        life.commit("g", at(5))
    with pytest.raises(errors.UnknownMemberId):
        life.commit("g", at(5), member_id="x", generation_id=1)
    with pytest.raises(errors.IllegalGeneration):
        life.commit("g", at(5), member_id="a", generation_id=0)
    with pytest.raises(errors.IllegalGeneration):
        life.commit("g", at(5), member_id="a")


def test_a_member_of_no_group_is_refused_by_version(life: Life) -> None:
    with pytest.raises(errors.GroupIdNotFound):
        life.commit("g", at(5), member_id="a", generation_id=1, api_version=9)
    with pytest.raises(errors.IllegalGeneration):
        life.commit("g", at(5), member_id="a", generation_id=1, api_version=8)


def test_a_commit_before_the_assignment_waits_for_it(life: Life) -> None:
    life.join("g", new="a", requires_known_member_id=False)
    life.wait(3_000)
    with pytest.raises(errors.RebalanceInProgress):
        life.commit("g", at(5), member_id="a", generation_id=1)


def test_a_commit_during_a_rebalance_is_taken(life: Life) -> None:
    life.stable("g", "a", "b")
    life.join("g", "a")
    assert life.commit("g", at(5), member_id="b", generation_id=1) == [0]


def test_an_empty_group_takes_commits_from_outside(life: Life) -> None:
    life.stable("g", "a")
    life.leave("g", Leaving("a"))
    assert life.commit("g", at(5)) == [0]
    with pytest.raises(errors.UnknownMemberId):
        life.commit("g", at(5), member_id="a", generation_id=1)


def test_metadata_that_is_too_long_is_refused_alone(life: Life) -> None:
    codes = life.commit("g", at(1, metadata="m" * 4_096), at(2, "u", metadata="m" * 4_097))
    assert codes == [0, errors.OffsetMetadataTooLarge.code]
    assert [t.topic for t in fetch(life, "g")] == ["t"]


def test_metadata_is_measured_in_utf_16_units() -> None:
    life = Life(GroupSettings(offset_metadata_max_bytes=4))
    assert life.commit("g", at(1, metadata="\N{GRINNING FACE}" * 2)) == [0]
    assert life.commit("g", at(1, metadata="\N{GRINNING FACE}" * 2 + "m")) == [12]


def test_all_offsets_of_a_group_are_fetched(life: Life) -> None:
    life.commit("g", at(1, topic_id=ID_1), at(2, partition=1, topic_id=ID_1), at(3, "u"))
    assert fetch(life, "g") == [
        FetchedTopic("t", ID_1, (FetchedOffset(0, 1), FetchedOffset(1, 2))),
        FetchedTopic("u", bytes(16), (FetchedOffset(0, 3),)),
    ]
    assert fetch(life, "other") == []


def test_an_offset_of_an_earlier_topic_of_that_name_is_none(life: Life) -> None:
    life.commit("g", at(1, topic_id=ID_1))
    assert fetch(life, "g", FetchTopic("t", (0,), ID_2))[0].partitions == (FetchedOffset(0),)
    assert fetch(life, "g", FetchTopic("t", (0,), ID_1))[0].partitions[0].offset == 1
    assert fetch(life, "g", FetchTopic("t", (0,)))[0].partitions[0].offset == 1


def test_offsets_survive_a_failover(life: Life) -> None:
    life.commit("g", at(1), at(2, "u"))
    life.commit("g", at(3))
    life.reload()
    assert [t.partitions[0].offset for t in fetch(life, "g")] == [3, 2]


def test_offsets_that_are_not_read_can_be_deleted(life: Life) -> None:
    life.stable("g", "a")
    for topic in ("t", "u"):
        life.commit("g", at(1, topic), member_id="a", generation_id=1)
    subscribed = errors.GroupSubscribedToTopic.code
    assert delete(life, "g", ("t", 0), ("u", 0), ("u", 7)) == [subscribed, 0, 0]
    assert [t.topic for t in fetch(life, "g")] == ["t"]
    assert list(life.replayed().offsets["g"]) == ["t"]


def test_deleting_offsets_is_refused_with_the_reason(life: Life) -> None:
    with pytest.raises(errors.GroupIdNotFound):
        delete(life, "g", ("t", 0))
    life.stable("g", "a", protocol_type="connect")
    with pytest.raises(errors.NonEmptyGroup):
        delete(life, "g", ("t", 0))


def test_offsets_of_a_group_whose_subscriptions_are_unreadable_are_not_deleted(
    life: Life,
) -> None:
    unreadable = Life()
    unreadable.stable("g", "a", topics=("t",))
    group: ClassicGroup = unreadable.groups.live["g"]
    group.topics = None
    assert delete(unreadable, "g", ("u", 0)) == [errors.GroupSubscribedToTopic.code]


def test_a_deleted_topic_takes_its_offsets_along(life: Life) -> None:
    life.commit("g", at(1, topic_id=ID_1), at(2, "u", topic_id=ID_1), at(3, "v"))
    deleted = [("t", ID_1), ("u", ID_2), ("v", ID_2)]
    life.run(lambda groups: groups.forget_topics(deleted, life.now()))
    assert [t.topic for t in fetch(life, "g")] == ["u"]


# -- expiry (KIP-211)


def test_an_empty_groups_offsets_expire_after_its_last_member_left(life: Life) -> None:
    life.stable("g", "a", session_timeout_ms=1_800_000)
    life.commit("g", at(1), member_id="a", generation_id=1)
    life.wait(DAY_MS // 48)
    life.leave("g", Leaving("a"))
    life.wait(RETENTION_MS - 600_000)
    assert fetch(life, "g") != []
    life.wait(1_200_000)
    assert fetch(life, "g") == []
    assert "g" not in life.groups.live
    assert life.replayed().stored == {}


def test_a_simple_groups_offsets_expire_each_by_its_last_commit(life: Life) -> None:
    life.commit("g", at(1))
    life.wait(DAY_MS)
    life.commit("g", at(1, "u"))
    life.wait(RETENTION_MS - DAY_MS + 600_000)
    assert [t.topic for t in fetch(life, "g")] == ["u"]
    life.wait(DAY_MS)
    assert "g" not in life.groups.live


def test_a_stable_group_keeps_the_offsets_of_what_it_reads(life: Life) -> None:
    expiring = GroupSettings(offsets_retention_ms=1_000, offsets_retention_check_interval_ms=5_000)
    life = Life(expiring)
    life.stable("g", "a")
    life.commit("g", at(1), at(2, "u"), member_id="a", generation_id=1)
    life.wait(9_000)
    assert [t.topic for t in fetch(life, "g")] == ["t"]


def test_a_rebalancing_group_keeps_its_offsets() -> None:
    expiring = GroupSettings(offsets_retention_ms=1_000, offsets_retention_check_interval_ms=5_000)
    life = Life(expiring)
    life.stable("g", "a", "b")
    life.commit("g", at(2, "u"), member_id="a", generation_id=1)
    life.join("g", "a")
    life.wait(9_000)
    assert [t.topic for t in fetch(life, "g")] == ["u"]


def test_an_expiry_of_its_own_counts(life: Life) -> None:
    life.commit("g", at(1), retention_ms=1_000)
    life.wait(600_000)
    assert fetch(life, "g") == []


def test_an_empty_group_without_offsets_is_forgotten_soon(life: Life) -> None:
    life.stable("g", "a")
    life.leave("g", Leaving("a"))
    life.wait(600_000)
    assert life.groups.live == {}


def test_many_groups_expire_in_slices() -> None:
    life = Life(
        GroupSettings(offsets_retention_ms=1, offsets_retention_check_interval_ms=1_000),
        checked=False,
    )
    for number in range(450):
        life.commit(f"g{number}", at(1))
    life.mono_ms += 1_000
    life.tick()
    assert len(life.groups.live) == 250
    life.wait(1)
    assert life.groups.live == {}
    assert life.groups.wake_at_ms() == life.mono_ms - 1 + 1_000


def test_an_unpaid_debt_of_time_is_settled_in_bounded_ticks() -> None:
    life = Life(checked=False)
    for number in range(600):
        life.join(f"g{number}", new="m")
    life.mono_ms += 10_000
    life.tick()
    left = [group for group in life.groups.live.values() if group.pending_joins]
    assert len(left) == 100
    life.tick()
    assert not any(group.pending_joins for group in life.groups.live.values())
