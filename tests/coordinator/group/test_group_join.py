"""JoinGroup: every rule and refusal."""

from typing import Any

import pytest

from automq.coordinator.group.classic import GroupState
from automq.coordinator.group.replies import Leaving
from automq.coordinator.group.settings import GroupSettings
from automq.coordinator.machine import Waiting
from automq.protocol import errors
from support.groups import Life, protocols


@pytest.fixture
def life() -> Life:
    return Life()


def test_a_first_join_is_told_its_member_id(life: Life) -> None:
    reply = life.join("g", new="c-1")
    assert isinstance(reply.error, errors.MemberIdRequired)
    assert reply.member_id == "c-1"
    assert life.groups.live["g"].pending_joins == {"c-1"}


def test_a_new_group_is_in_the_log_from_its_first_join(life: Life) -> None:
    life.join("g", new="c-1")
    assert life.replayed().stored["g"].generation_id == 0


def test_a_join_before_version_4_waits_at_once(life: Life) -> None:
    assert isinstance(life.join("g", requires_known_member_id=False), Waiting)


def test_a_pending_member_that_joins_becomes_a_member(life: Life) -> None:
    life.join("g", new="c-1")
    waiting = life.join("g", "c-1")
    life.wait(3_000)
    joined = life.answers[waiting.token]
    assert (joined.member_id, joined.leader, joined.generation_id) == ("c-1", "c-1", 1)
    assert [m.member_id for m in joined.members] == ["c-1"]


def test_a_pending_member_that_never_joins_is_forgotten(life: Life) -> None:
    life.join("g", new="c-1", session_timeout_ms=6_000)
    life.wait(6_000)
    assert life.groups.live["g"].pending_joins == set()
    with pytest.raises(errors.UnknownMemberId):
        life.join("g", "c-1")


def test_a_pending_member_id_is_not_for_a_static_member(life: Life) -> None:
    life.join("g", new="c-1")
    with pytest.raises(errors.UnknownMemberId):
        life.join("g", "c-1", group_instance_id="i")


def test_a_rebalance_waits_for_pending_members(life: Life) -> None:
    life.stable("g", "a")
    life.join("g", new="b")
    leader = life.join("g", "a")
    assert isinstance(leader, Waiting)
    assert leader.token not in life.answers
    life.join("g", "b")
    assert life.answers[leader.token].generation_id == 2


def test_a_member_id_of_a_group_that_does_not_exist_is_unknown(life: Life) -> None:
    with pytest.raises(errors.UnknownMemberId):
        life.join("g", "a")
    assert life.groups.live == {}


@pytest.mark.parametrize("timeout_ms", [5_999, 1_800_001])
def test_a_session_timeout_out_of_bounds_is_refused(life: Life, timeout_ms: int) -> None:
    with pytest.raises(errors.InvalidSessionTimeout, match=str(timeout_ms)):
        life.join("g", session_timeout_ms=timeout_ms)


def test_a_join_without_protocols_is_refused(life: Life) -> None:
    with pytest.raises(errors.InconsistentGroupProtocol):
        life.join("g", protocols=())
    with pytest.raises(errors.InconsistentGroupProtocol):
        life.join("g", protocol_type="")


def test_a_join_of_another_protocol_type_is_refused(life: Life) -> None:
    life.stable("g", "a")
    with pytest.raises(errors.InconsistentGroupProtocol):
        life.join("g", protocol_type="connect")


def test_a_join_without_a_protocol_that_all_support_is_refused(life: Life) -> None:
    life.stable("g", "a", names=("range", "sticky"))
    with pytest.raises(errors.InconsistentGroupProtocol):
        life.join("g", names=("roundrobin",))


def test_the_protocol_with_the_most_votes_is_selected(life: Life) -> None:
    first = life.join("g", new="a", names=("x", "y"), requires_known_member_id=False)
    life.join("g", new="b", names=("y", "x"), requires_known_member_id=False)
    life.join("g", new="c", names=("z", "y", "x"), requires_known_member_id=False)
    life.wait(12_000)
    assert life.answers[first.token].protocol_name == "y"


def test_the_first_rebalance_is_put_off_while_members_keep_coming(life: Life) -> None:
    first = life.join("g", new="a", requires_known_member_id=False)
    life.wait(2_000)
    life.join("g", new="b", requires_known_member_id=False)
    life.wait(1_500)
    assert first.token not in life.answers
    life.wait(2_500)
    assert [m.member_id for m in life.answers[first.token].members] == ["a", "b"]


def test_the_first_rebalance_is_never_put_off_beyond_the_rebalance_timeout(life: Life) -> None:
    fields: dict[str, Any] = {"requires_known_member_id": False, "rebalance_timeout_ms": 5_000}
    first = life.join("g", new="a", **fields)
    life.wait(2_900)
    life.join("g", new="b", **fields)
    life.wait(2_000)
    life.join("g", new="c", **fields)
    life.wait(100)
    assert len(life.answers[first.token].members) == 3


def test_only_the_leader_is_sent_the_members(life: Life) -> None:
    leader = life.join("g", new="a", requires_known_member_id=False)
    follower = life.join("g", new="b", requires_known_member_id=False)
    life.wait(9_000)
    assert len(life.answers[leader.token].members) == 2
    assert life.answers[follower.token].members == ()
    assert life.answers[follower.token].leader == "a"


def test_a_full_group_takes_no_new_member() -> None:
    life = Life(GroupSettings(max_size=1))
    life.stable("g", "a")
    with pytest.raises(errors.GroupMaxSizeReached):
        life.join("g")


def test_a_full_group_takes_its_members_back() -> None:
    life = Life(GroupSettings(max_size=1))
    life.stable("g", "a")
    life.join("g", "a")
    assert life.groups.live["g"].generation_id == 2


def test_in_a_rebalance_the_last_to_join_are_turned_away() -> None:
    life = Life(GroupSettings(max_size=2))
    life.stable("g", "a", "b")
    life.groups.settings = GroupSettings(max_size=1)
    life.join("g", "a")
    with pytest.raises(errors.GroupMaxSizeReached):
        life.join("g", "b")
    life.wait(60_000)
    assert list(life.groups.live["g"].members) == ["a"]


def test_a_loaded_group_over_its_limit_rebalances() -> None:
    life = Life(GroupSettings(max_size=2))
    life.stable("g", "a", "b")
    life.groups.settings = GroupSettings(max_size=1)
    life.reload()
    assert life.state("g") is GroupState.PREPARING_REBALANCE


def test_a_follower_that_joins_unchanged_gets_its_generation(life: Life) -> None:
    generation_id = life.stable("g", "a", "b")
    reply = life.join("g", "b")
    assert (reply.generation_id, reply.members) == (generation_id, ())
    assert life.state("g") is GroupState.STABLE


def test_a_follower_that_joins_with_new_metadata_starts_a_rebalance(life: Life) -> None:
    life.stable("g", "a", "b")
    assert isinstance(life.join("g", "b", topics=("t", "u")), Waiting)
    assert life.state("g") is GroupState.PREPARING_REBALANCE


def test_a_leader_that_joins_always_starts_a_rebalance(life: Life) -> None:
    life.stable("g", "a", "b")
    assert isinstance(life.join("g", "a"), Waiting)
    assert life.state("g") is GroupState.PREPARING_REBALANCE


def test_a_member_that_missed_its_answer_gets_it_again_before_the_assignment(life: Life) -> None:
    first = life.join("g", new="a", requires_known_member_id=False)
    life.wait(3_000)
    assert life.join("g", "a") == life.answers[first.token]


def test_new_metadata_before_the_assignment_starts_another_rebalance(life: Life) -> None:
    life.join("g", new="a", requires_known_member_id=False)
    life.wait(3_000)
    reply = life.join("g", "a", topics=("u",))
    assert reply.generation_id == 2


def test_a_member_that_joins_twice_is_answered_on_the_newer_connection(life: Life) -> None:
    life.stable("g", "a", "b")
    older = life.join("g", "a")
    newer = life.join("g", "a")
    assert isinstance(life.answers[older.token], errors.RebalanceInProgress)
    life.join("g", "b")
    assert life.answers[newer.token].generation_id == 2


def test_members_that_do_not_join_in_time_are_removed(life: Life) -> None:
    life.stable("g", "a", "b", session_timeout_ms=1_800_000)
    leader = life.join("g", "a", session_timeout_ms=1_800_000)
    life.wait(59_999)
    assert leader.token not in life.answers
    life.wait(1)
    assert [m.member_id for m in life.answers[leader.token].members] == ["a"]


def test_a_leader_that_does_not_join_is_succeeded(life: Life) -> None:
    life.stable("g", "a", "b", session_timeout_ms=1_800_000)
    follower = life.join("g", "b", topics=("u",), session_timeout_ms=1_800_000)
    life.wait(60_000)
    assert life.answers[follower.token].leader == "b"


def test_a_first_rebalance_ends_when_nobody_has_come_for_the_delay(life: Life) -> None:
    first = life.join("g", new="a", requires_known_member_id=False)
    life.wait(1_000)
    life.join("g", new="b", requires_known_member_id=False)
    life.wait(2_999)
    assert first.token not in life.answers
    life.wait(1)
    assert [m.member_id for m in life.answers[first.token].members] == ["a", "b"]


def test_members_that_keep_coming_hold_a_first_rebalance_up_for_one_timeout(life: Life) -> None:
    fields: dict[str, Any] = {"rebalance_timeout_ms": 5_000, "requires_known_member_id": False}
    first = life.join("g", new="a", **fields)
    for number in range(2):
        life.wait(2_000)
        life.join("g", new=f"b{number}", **fields)
    life.wait(999)
    assert first.token not in life.answers
    life.wait(1)
    assert len(life.answers[first.token].members) == 3


def test_a_first_rebalance_waits_for_its_delay_where_that_is_longer_than_a_timeout(
    life: Life,
) -> None:
    fields: dict[str, Any] = {"rebalance_timeout_ms": 1_000, "requires_known_member_id": False}
    first = life.join("g", new="a", **fields)
    life.wait(2_000)
    life.join("g", new="b", **fields)
    life.wait(999)
    assert first.token not in life.answers
    life.wait(1)
    assert len(life.answers[first.token].members) == 2


def test_a_new_member_waits_five_minutes_at_most(life: Life) -> None:
    fields: dict[str, Any] = {"session_timeout_ms": 1_800_000, "rebalance_timeout_ms": 600_000}
    life.stable("g", "a", **fields)
    waiting = life.join("g", new="b", requires_known_member_id=False, **fields)
    life.wait(300_000)
    assert isinstance(life.answers[waiting.token], errors.UnknownMemberId)
    assert list(life.groups.live["g"].members) == ["a"]


def test_a_member_that_waits_for_a_rebalance_needs_no_heartbeat(life: Life) -> None:
    fields: dict[str, Any] = {"rebalance_timeout_ms": 600_000}
    life.stable("g", "a", "b", **fields)
    waiting = life.join("g", "a", **fields)
    life.wait(9_000)
    with pytest.raises(errors.RebalanceInProgress):
        life.heartbeat("g", "b", 1)
    life.wait(9_000)
    assert "a" in life.groups.live["g"].members
    assert waiting.token not in life.answers


def test_a_join_while_the_group_is_empty_forgets_ids_of_the_past(life: Life) -> None:
    life.stable("g", "a")
    life.leave("g", Leaving("a"))
    with pytest.raises(errors.UnknownMemberId):
        life.join("g", "a")


def test_the_members_protocols_are_kept_for_the_next_vote(life: Life) -> None:
    life.stable("g", "a", names=("x", "y"))
    life.join("g", "a", protocols=protocols("y"))
    assert life.groups.live["g"].protocol_name == "y"
