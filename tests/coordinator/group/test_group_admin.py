"""ListGroups, DescribeGroups, DeleteGroups."""

from typing import Any

import pytest

from automq.coordinator.group.classic import GroupState
from automq.coordinator.group.replies import DescribedGroup, OffsetToCommit
from automq.protocol import errors
from support.groups import Life, subscription


@pytest.fixture
def life() -> Life:
    """A stable group, an empty one, and one that has only offsets."""
    life = Life()
    life.stable("stable", "a", session_timeout_ms=1_800_000)
    life.join("empty", new="x")
    life.commit("simple", OffsetToCommit("t", 0, 1))
    return life


def listed(life: Life, **filters: Any) -> list[str]:
    groups = life.run(lambda groups: groups.list_groups(now=life.now(), **filters))
    return sorted(group.group_id for group in groups)


def described(life: Life, group_id: str, api_version: int = 6) -> DescribedGroup:
    (group,) = life.run(
        lambda groups: groups.describe(
            group_ids=[group_id], api_version=api_version, now=life.now()
        )
    )
    assert isinstance(group, DescribedGroup)
    return group


def delete(life: Life, *group_ids: str) -> list[int]:
    codes: list[int] = life.run(
        lambda groups: groups.delete_groups(group_ids=list(group_ids), now=life.now())
    )
    return codes


def test_all_groups_are_listed(life: Life) -> None:
    assert listed(life) == ["empty", "simple", "stable"]


def test_groups_are_listed_by_state_whatever_the_case(life: Life) -> None:
    assert listed(life, states=["STABLE "]) == ["stable"]
    assert listed(life, states=["empty", "dead"]) == ["empty", "simple"]
    assert listed(life, states=["nonsense"]) == []


def test_groups_are_listed_by_type(life: Life) -> None:
    assert listed(life, types=["Classic"]) == ["empty", "simple", "stable"]
    assert listed(life, types=["consumer", "nonsense"]) == []


def test_a_stable_group_is_described_with_metadata_and_assignments(life: Life) -> None:
    group = described(life, "stable")
    assert (group.state, group.protocol_type, group.protocol_data) == (
        GroupState.STABLE,
        "consumer",
        "range",
    )
    (member,) = group.members
    assert (member.client_id, member.client_host) == ("c", "/127.0.0.1")
    assert (member.metadata, member.assignment) == (subscription("t"), b"to a")


def test_a_rebalancing_group_is_described_without_metadata(life: Life) -> None:
    life.join("stable", new="b", requires_known_member_id=False)
    group = described(life, "stable")
    assert (group.state, group.protocol_data) == (GroupState.PREPARING_REBALANCE, "")
    assert [m.metadata for m in group.members] == [b"", b""]


def test_a_group_that_does_not_exist_is_dead(life: Life) -> None:
    assert described(life, "x", api_version=5) == DescribedGroup(group_id="x")
    group = described(life, "x", api_version=6)
    assert group.state is GroupState.DEAD
    assert isinstance(group.error, errors.GroupIdNotFound)
    assert group.error.message == "Group x not found."


def test_groups_without_members_are_deleted_with_their_offsets(life: Life) -> None:
    not_found, non_empty = errors.GroupIdNotFound.code, errors.NonEmptyGroup.code
    assert delete(life, "stable", "empty", "simple", "x") == [non_empty, 0, 0, not_found]
    assert listed(life) == ["stable"]
    replayed = life.replayed()
    assert (list(replayed.stored), replayed.offsets) == (["stable"], {})


def test_a_group_is_deleted_once(life: Life) -> None:
    assert delete(life, "simple", "simple") == [0, errors.GroupIdNotFound.code]
