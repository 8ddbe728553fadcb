"""What every machine must keep, whatever happens to it, in whatever order."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from automq.coordinator.group.classic import ClassicGroup, GroupState
from automq.coordinator.group.draft import loaded_group, stored_group
from automq.coordinator.group.records import GroupStored
from automq.coordinator.group.replies import Leaving, OffsetToCommit
from automq.coordinator.group.settings import GroupSettings
from automq.protocol import errors
from support.groups import Life, compacted

GROUPS = st.sampled_from(["g", "h"])
MEMBERS = st.sampled_from(["m1", "m2", "m3", "m4"])
INSTANCES = st.sampled_from([None, None, "i", "j"])
TOPICS = st.sampled_from(["t", "u"])
SETTINGS = GroupSettings(
    max_size=3, offsets_retention_ms=50_000, offsets_retention_check_interval_ms=20_000
)


class AnyLife(RuleBasedStateMachine):
    """Random commands. `Life` checks that no decision changes the machine before it is applied."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(SETTINGS)
        self.new_ids = 0
        self.asked: set[int] = set()

    def attempt(self, command: Any, *args: Any, **fields: Any) -> Any:
        try:
            return command(*args, **fields)
        except errors.KafkaError:
            return None

    @rule(group=GROUPS, instance=INSTANCES, names=st.sampled_from([("x",), ("x", "y"), ("y",)]))
    def join_anew(self, group: str, instance: str | None, names: tuple[str, ...]) -> None:
        self.new_ids += 1
        self.attempt(
            self.life.join,
            group,
            new=f"m{self.new_ids}",
            names=names,
            group_instance_id=instance,
            requires_known_member_id=self.new_ids % 2 == 0,
        )

    @rule(data=st.data(), group=GROUPS, topic=TOPICS)
    def join_again(self, data: st.DataObject, group: str, topic: str) -> None:
        member_id, instance = self.someone(data, group)
        self.attempt(
            self.life.join,
            group,
            member_id,
            names=("x", "y"),
            topics=(topic,),
            group_instance_id=instance,
        )

    @rule(data=st.data(), group=GROUPS)
    def sync(self, data: st.DataObject, group: str) -> None:
        member_id, instance = self.someone(data, group)
        self.attempt(
            self.life.sync,
            group,
            member_id,
            self.generation(group),
            group_instance_id=instance,
            assignments={"m1": b"1", member_id: b"own"},
        )

    @rule(data=st.data(), group=GROUPS)
    def heartbeat(self, data: st.DataObject, group: str) -> None:
        member_id, instance = self.someone(data, group)
        self.attempt(
            self.life.heartbeat,
            group,
            member_id,
            self.generation(group),
            group_instance_id=instance,
        )

    @rule(data=st.data(), group=GROUPS)
    def leave(self, data: st.DataObject, group: str) -> None:
        member_id, instance = self.someone(data, group)
        self.attempt(self.life.leave, group, Leaving(member_id, instance))

    @rule(data=st.data(), group=GROUPS, topic=TOPICS, offset=st.integers(0, 9))
    def commit(self, data: st.DataObject, group: str, topic: str, offset: int) -> None:
        member_id, instance = self.someone(data, group)
        self.attempt(
            self.life.commit,
            group,
            OffsetToCommit(topic, 0, offset),
            member_id=member_id,
            group_instance_id=instance,
            generation_id=self.generation(group),
        )

    @rule(group=GROUPS, topic=TOPICS, offset=st.integers(0, 9))
    def commit_alone(self, group: str, topic: str, offset: int) -> None:
        self.attempt(self.life.commit, group, OffsetToCommit(topic, 1, offset))

    @rule(group=GROUPS, topic=TOPICS)
    def delete_offsets(self, group: str, topic: str) -> None:
        life = self.life
        self.attempt(
            life.run,
            lambda groups: groups.delete_offsets(
                group_id=group, partitions=[(topic, 0), (topic, 1)], now=life.now()
            ),
        )

    @rule(group=GROUPS)
    def delete_group(self, group: str) -> None:
        life = self.life
        life.run(lambda groups: groups.delete_groups(group_ids=[group], now=life.now()))

    @rule(ms=st.sampled_from([1, 1_000, 3_000, 10_000, 30_000, 60_000]))
    def time_passes(self, ms: int) -> None:
        self.life.wait(ms)

    @rule()
    def fail_over(self) -> None:
        self.life.reload()

    @invariant()
    def replay_equals_life(self) -> None:
        replayed = self.life.replayed()
        assert replayed.stored == self.life.groups.stored
        assert replayed.offsets == self.life.groups.offsets

    @invariant()
    def a_compacted_log_equals_its_history(self) -> None:
        replayed = self.life.replayed(compacted(self.life.log))
        assert replayed.stored == self.life.groups.stored
        assert replayed.offsets == self.life.groups.offsets

    @invariant()
    def a_stable_group_is_what_is_stored(self) -> None:
        for group in self.life.groups.live.values():
            if group.state is GroupState.STABLE:
                stored = self.life.groups.stored[group.group_id]
                assert (stored.generation_id, stored.protocol_name, stored.protocol_type) == (
                    group.generation_id,
                    group.protocol_name,
                    group.protocol_type,
                )
                for member in stored.members:
                    current = group.members.get(member.member_id)
                    assert current is None or current.assignment == member.assignment

    @invariant()
    def groups_are_consistent(self) -> None:
        for group in self.life.groups.live.values():
            check(group)

    @invariant()
    def everything_stored_is_alive(self) -> None:
        groups = self.life.groups
        assert {*groups.stored, *groups.offsets} <= groups.live.keys()

    def someone(self, data: st.DataObject, group_id: str) -> tuple[str, str | None]:
        """A member that exists, if there is one; else one that may not."""
        group = self.life.groups.live.get(group_id)
        known = [*group.members, *sorted(group.pending_joins)] if group is not None else []
        member_id = data.draw(st.sampled_from([*known, "m1"]))
        member = group.members.get(member_id) if group is not None else None
        return member_id, None if member is None else member.group_instance_id

    def generation(self, group_id: str) -> int:
        group = self.life.groups.live.get(group_id)
        return 0 if group is None else group.generation_id


def check(group: ClassicGroup) -> None:
    members = group.members.values()
    assert group.awaiting_joins == sum(m.join_token is not None for m in members)
    statics = {m.group_instance_id: m.member_id for m in members if m.group_instance_id}
    assert group.static_members == statics
    assert group.pending_syncs <= group.members.keys()
    assert not group.pending_joins & group.members.keys()
    assert (group.leader_id in group.members) == bool(members)
    assert (group.state is GroupState.EMPTY) == (
        not members and group.state is not GroupState.PREPARING_REBALANCE
    )
    for name, count in group.protocol_support.items():
        assert count == sum(name in {p.name for p in m.protocols} for m in members)


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_group_is_read_back_as_it_was_stored() -> None:
    life = Life()
    life.stable("g", "a", "b")
    stored = life.groups.stored["g"]
    assert isinstance(stored, GroupStored)
    assert stored_group(loaded_group(stored)) == stored
