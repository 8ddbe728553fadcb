"""Static membership (KIP-345, KIP-814): instances that come back and keep their place."""

from typing import Any

import pytest

from automq.coordinator.group.classic import GroupState
from automq.coordinator.group.replies import Leaving
from automq.coordinator.machine import Waiting
from automq.protocol import errors
from support.groups import Life

LONG: dict[str, Any] = {"session_timeout_ms": 1_800_000}


@pytest.fixture
def life() -> Life:
    """A stable group of the static members i (leads, as i-1) and j (as j-1)."""
    life = Life()
    for instance in ("i", "j"):
        life.join("g", new=f"{instance}-1", group_instance_id=instance, **LONG)
    life.wait(9_000)
    life.sync("g", "j-1", 1, group_instance_id="j")
    life.sync("g", "i-1", 1, group_instance_id="i", assignments={"i-1": b"I", "j-1": b"J"})
    return life


def test_a_static_member_is_not_asked_for_a_member_id() -> None:
    assert isinstance(Life().join("g", group_instance_id="i"), Waiting)


def test_a_returning_member_takes_its_place_without_a_rebalance(life: Life) -> None:
    reply = life.join("g", new="j-2", group_instance_id="j", **LONG)
    assert (reply.member_id, reply.generation_id, reply.leader) == ("j-2", 1, "i-1")
    assert life.state("g") is GroupState.STABLE
    assert life.sync("g", "j-2", 1, group_instance_id="j").assignment == b"J"


def test_the_new_id_is_stored_before_the_member_learns_it(life: Life) -> None:
    life.join("g", new="j-2", group_instance_id="j", **LONG)
    members = {m.group_instance_id: m for m in life.replayed().stored["g"].members}
    assert members["j"].member_id == "j-2"
    assert members["j"].assignment == b"J"


def test_the_id_before_stays_fenced_after_a_failover(life: Life) -> None:
    life.join("g", new="j-2", group_instance_id="j", **LONG)
    life.reload()
    with pytest.raises(errors.FencedInstanceId):
        life.heartbeat("g", "j-1", 1, group_instance_id="j")
    life.heartbeat("g", "j-2", 1, group_instance_id="j")


def test_a_returning_leader_is_told_to_skip_the_assignment(life: Life) -> None:
    reply = life.join("g", new="i-2", group_instance_id="i", **LONG)
    assert reply.skip_assignment
    assert reply.leader == "i-2"
    assert {m.member_id for m in reply.members} == {"i-2", "j-1"}


def test_a_returning_leader_before_version_9_is_told_it_does_not_lead(life: Life) -> None:
    fields: dict[str, Any] = {"supports_skipping_assignment": False, **LONG}
    reply = life.join("g", new="i-2", group_instance_id="i", **fields)
    assert (reply.skip_assignment, reply.leader, reply.members) == (False, "i-1", ())


def test_a_return_that_changes_the_selected_protocol_starts_a_rebalance(life: Life) -> None:
    life.join("g", "i-1", group_instance_id="i", names=("range", "sticky"), **LONG)
    life.join("g", "j-1", group_instance_id="j", names=("range", "sticky"), **LONG)
    life.sync("g", "i-1", 2, group_instance_id="i")
    life.join("g", new="j-2", group_instance_id="j", names=("sticky",), **LONG)
    assert life.state("g") is GroupState.PREPARING_REBALANCE


def test_a_return_before_the_assignment_starts_another_rebalance(life: Life) -> None:
    life.join("g", "i-1", group_instance_id="i", **LONG)
    life.join("g", "j-1", group_instance_id="j", **LONG)
    assert life.state("g") is GroupState.COMPLETING_REBALANCE
    waiting = life.sync("g", "j-1", 2, group_instance_id="j")
    life.join("g", new="j-2", group_instance_id="j", **LONG)
    assert isinstance(life.answers[waiting.token], errors.FencedInstanceId)
    assert life.state("g") is GroupState.PREPARING_REBALANCE


def test_a_return_during_a_rebalance_fences_the_one_that_waits(life: Life) -> None:
    older = life.join("g", "i-1", group_instance_id="i", **LONG)
    newer = life.join("g", new="i-2", group_instance_id="i", **LONG)
    assert isinstance(life.answers[older.token], errors.FencedInstanceId)
    life.join("g", "j-1", group_instance_id="j", **LONG)
    assert life.answers[newer.token].leader == "i-2"


def test_an_instance_with_another_ids_is_fenced_everywhere(life: Life) -> None:
    with pytest.raises(errors.FencedInstanceId):
        life.join("g", "i-1", group_instance_id="j", **LONG)
    with pytest.raises(errors.FencedInstanceId):
        life.sync("g", "i-1", 1, group_instance_id="j")
    with pytest.raises(errors.FencedInstanceId):
        life.heartbeat("g", "i-1", 1, group_instance_id="j")
    with pytest.raises(errors.FencedInstanceId):
        life.commit("g", member_id="i-1", group_instance_id="j", generation_id=1)
    assert life.leave("g", Leaving("i-1", "j")) == [errors.FencedInstanceId.code]


def test_an_instance_that_is_not_there_is_unknown(life: Life) -> None:
    with pytest.raises(errors.UnknownMemberId):
        life.heartbeat("g", "i-1", 1, group_instance_id="k")


def test_static_members_may_stay_away_from_a_rebalance(life: Life) -> None:
    waiting = life.join("g", "i-1", group_instance_id="i", **LONG)
    life.wait(60_000)
    assert {m.member_id for m in life.answers[waiting.token].members} == {"i-1", "j-1"}


def test_if_nobody_joins_the_rebalance_goes_on(life: Life) -> None:
    life.join("g", new="k-1", group_instance_id="k", **LONG)
    life.leave("g", Leaving("", "k"))
    life.wait(120_000)
    assert life.state("g") is GroupState.PREPARING_REBALANCE
    assert set(life.groups.live["g"].members) == {"i-1", "j-1"}


def test_a_static_member_ends_with_its_session(life: Life) -> None:
    life.wait(1_800_000)
    assert life.groups.live["g"].members == {}
    assert life.state("g") is GroupState.EMPTY


def test_an_admin_removes_an_instance_by_its_name(life: Life) -> None:
    assert life.leave("g", Leaving("", "j"), Leaving("", "k"), Leaving("")) == [0, 25, 25]
    assert set(life.groups.live["g"].members) == {"i-1"}
