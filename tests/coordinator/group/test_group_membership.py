"""SyncGroup, Heartbeat, LeaveGroup and what runs out."""

import pytest

from automq.coordinator.group.classic import GroupState
from automq.coordinator.group.replies import Leaving, OffsetToCommit, Synced
from automq.coordinator.machine import Waiting
from automq.protocol import errors
from support.groups import Life


@pytest.fixture
def life() -> Life:
    return Life()


def joined(life: Life) -> None:
    """Members a (leads) and b have joined generation 1 and not synced yet."""
    for member in ("a", "b"):
        life.join("g", new=member, requires_known_member_id=False)
    life.wait(9_000)


def test_followers_wait_for_the_leaders_assignment(life: Life) -> None:
    joined(life)
    follower = life.sync("g", "b", 1)
    assert isinstance(follower, Waiting)
    leader = life.sync("g", "a", 1, assignments={"a": b"A", "b": b"B"})
    assert leader == Synced("consumer", "range", b"A")
    assert life.answers[follower.token] == Synced("consumer", "range", b"B")
    assert life.state("g") is GroupState.STABLE


def test_the_assignment_is_stored_with_the_generation(life: Life) -> None:
    joined(life)
    life.sync("g", "a", 1, assignments={"a": b"A", "b": b"B"})
    stored = life.replayed().stored["g"]
    assert stored.generation_id == 1
    assert [(m.member_id, m.assignment) for m in stored.members] == [("a", b"A"), ("b", b"B")]


def test_a_member_that_the_leader_forgot_gets_nothing(life: Life) -> None:
    joined(life)
    life.sync("g", "a", 1, assignments={"a": b"A"})
    assert life.sync("g", "b", 1).assignment == b""


def test_a_stable_group_answers_with_what_is_assigned(life: Life) -> None:
    life.stable("g", "a", "b")
    assert life.sync("g", "b", 1).assignment == b"to b"


def test_a_second_sync_takes_the_place_of_the_first(life: Life) -> None:
    joined(life)
    older = life.sync("g", "b", 1)
    newer = life.sync("g", "b", 1)
    assert isinstance(life.answers[older.token], errors.RebalanceInProgress)
    life.sync("g", "a", 1, assignments={"b": b"B"})
    assert life.answers[newer.token].assignment == b"B"


def test_a_sync_is_refused_with_the_reason(life: Life) -> None:
    with pytest.raises(errors.UnknownMemberId):
        life.sync("g", "a", 1)
    joined(life)
    with pytest.raises(errors.UnknownMemberId):
        life.sync("g", "x", 1)
    with pytest.raises(errors.IllegalGeneration):
        life.sync("g", "a", 0)
    with pytest.raises(errors.InconsistentGroupProtocol):
        life.sync("g", "a", 1, protocol_type="connect")
    with pytest.raises(errors.InconsistentGroupProtocol):
        life.sync("g", "a", 1, protocol_name="sticky")


def test_a_sync_during_a_rebalance_sends_back_to_join(life: Life) -> None:
    life.stable("g", "a", "b")
    life.join("g", "a")
    with pytest.raises(errors.RebalanceInProgress):
        life.sync("g", "b", 1)


def test_a_sync_to_an_empty_group_is_from_an_unknown_member(life: Life) -> None:
    life.stable("g", "a")
    life.leave("g", Leaving("a"))
    with pytest.raises(errors.UnknownMemberId):
        life.sync("g", "a", 1)


def test_a_rebalance_sends_those_who_wait_for_an_assignment_back_to_join(life: Life) -> None:
    joined(life)
    waiting = life.sync("g", "b", 1)
    life.join("g", new="c", requires_known_member_id=False)
    assert isinstance(life.answers[waiting.token], errors.RebalanceInProgress)


def test_members_that_never_sync_are_removed(life: Life) -> None:
    for member in ("a", "b"):
        life.join("g", new=member, requires_known_member_id=False, session_timeout_ms=1_800_000)
    life.wait(9_000)
    life.sync("g", "a", 1)
    life.wait(60_000)
    assert list(life.groups.live["g"].members) == ["a"]
    assert life.state("g") is GroupState.PREPARING_REBALANCE


def test_a_heartbeat_prolongs_the_session(life: Life) -> None:
    life.stable("g", "a")
    life.wait(9_999)
    life.heartbeat("g", "a", 1)
    life.wait(9_999)
    assert "a" in life.groups.live["g"].members


def test_without_heartbeats_the_session_ends(life: Life) -> None:
    life.stable("g", "a")
    life.wait(10_000)
    assert life.state("g") is GroupState.EMPTY
    assert life.replayed().stored["g"].members == ()


def test_a_commit_prolongs_the_session(life: Life) -> None:
    life.stable("g", "a")
    life.wait(9_999)
    life.commit("g", OffsetToCommit("t", 0, 5), member_id="a", generation_id=1)
    life.wait(9_999)
    assert "a" in life.groups.live["g"].members


def test_a_heartbeat_in_a_rebalance_says_so_and_prolongs_the_session(life: Life) -> None:
    life.stable("g", "a", "b")
    life.join("g", "a")
    life.wait(9_999)
    with pytest.raises(errors.RebalanceInProgress):
        life.heartbeat("g", "b", 1)
    life.wait(9_999)
    assert "b" in life.groups.live["g"].members


def test_a_heartbeat_is_refused_with_the_reason(life: Life) -> None:
    with pytest.raises(errors.UnknownMemberId):
        life.heartbeat("g", "a", 1)
    life.stable("g", "a")
    with pytest.raises(errors.UnknownMemberId):
        life.heartbeat("g", "x", 1)
    with pytest.raises(errors.IllegalGeneration):
        life.heartbeat("g", "a", 2)


def test_a_heartbeat_before_the_assignment_is_fine(life: Life) -> None:
    joined(life)
    assert life.heartbeat("g", "b", 1) is None


def test_the_last_member_that_leaves_empties_the_group_in_a_new_generation(life: Life) -> None:
    life.stable("g", "a")
    assert life.leave("g", Leaving("a")) == [0]
    stored = life.replayed().stored["g"]
    assert (stored.generation_id, stored.members) == (2, ())
    assert (stored.protocol_type, stored.protocol_name, stored.leader_id) == (
        "consumer",
        None,
        None,
    )


def test_leaving_makes_the_others_rebalance(life: Life) -> None:
    life.stable("g", "a", "b")
    life.leave("g", Leaving("a"))
    group = life.groups.live["g"]
    assert (group.state, group.leader_id) == (GroupState.PREPARING_REBALANCE, "b")


def test_leaving_a_rebalance_may_complete_it(life: Life) -> None:
    life.stable("g", "a", "b")
    waiting = life.join("g", "a")
    life.leave("g", Leaving("b"))
    assert life.answers[waiting.token].generation_id == 2


def test_a_member_that_leaves_while_it_joins_is_told_so(life: Life) -> None:
    life.stable("g", "a", "b")
    waiting = life.join("g", "a")
    life.leave("g", Leaving("a"))
    assert isinstance(life.answers[waiting.token], errors.UnknownMemberId)


def test_a_pending_member_may_leave(life: Life) -> None:
    life.join("g", new="a")
    assert life.leave("g", Leaving("a")) == [0]
    assert life.groups.live["g"].pending_joins == set()


def test_each_leaving_member_has_its_own_answer(life: Life) -> None:
    life.stable("g", "a", "b")
    assert life.leave("g", Leaving("a"), Leaving("x"), Leaving("b")) == [0, 25, 0]
    assert life.state("g") is GroupState.EMPTY


def test_leaving_a_group_that_does_not_exist_is_refused(life: Life) -> None:
    with pytest.raises(errors.UnknownMemberId):
        life.leave("g", Leaving("a"))


def test_after_a_failover_members_go_on_with_full_sessions(life: Life) -> None:
    life.stable("g", "a", "b")
    life.wait(5_000)
    life.reload()
    life.wait(9_999)
    life.heartbeat("g", "a", 1)
    assert life.sync("g", "b", 1).assignment == b"to b"
