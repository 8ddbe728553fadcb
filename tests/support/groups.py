"""A life of the group machine: commands in, records and answers out, every rule checked."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from automq.coordinator.group.classic import GroupState, MemberProtocol
from automq.coordinator.group.machine import GroupDecision, Groups
from automq.coordinator.group.records import parse_record
from automq.coordinator.group.replies import JoinGroup, Leaving, OffsetToCommit
from automq.coordinator.group.settings import GroupSettings
from automq.coordinator.machine import Moment, Token, Waiting
from automq.protocol import errors

START_MS = 1_000_000
WALL_AHEAD_MS = 1_700_000_000_000

KeyValue = tuple[bytes, bytes | None]


def subscription(*topics: str, user_data: bytes = b"") -> bytes:
    """A ConsumerProtocolSubscription of version 0."""
    body = b"\0\0" + len(topics).to_bytes(4, "big")
    for topic in topics:
        body += len(topic).to_bytes(2, "big") + topic.encode()
    return body + len(user_data).to_bytes(4, "big") + user_data


def protocols(*names: str, topics: tuple[str, ...] = ("t",)) -> tuple[MemberProtocol, ...]:
    return tuple(MemberProtocol(name, subscription(*topics)) for name in names)


class Life:
    """Runs commands as a shard does, and checks that deciding changed nothing."""

    def __init__(self, settings: GroupSettings | None = None, *, checked: bool = True) -> None:
        self._checked = checked
        self.groups = Groups(settings=settings or GroupSettings())
        self.log: list[KeyValue] = []
        self.answers: dict[Token, Any] = {}
        self.mono_ms = START_MS
        self._last_token = 0
        for decision in self.groups.resume(self.now()):
            decision.apply(self.groups)

    def now(self) -> Moment:
        return Moment(WALL_AHEAD_MS + self.mono_ms, self.mono_ms)

    def token(self) -> Token:
        self._last_token += 1
        return self._last_token

    def run(self, command: Callable[[Groups], GroupDecision[Any]]) -> Any:
        """The reply, an error raised, or `Waiting`."""
        before = copy.deepcopy(self.groups) if self._checked else self.groups
        try:
            decision = command(self.groups)
        finally:
            assert self.groups is before or self.groups == before, "deciding changed the machine"
        decision.apply(self.groups)
        self.log += [record.key_value() for record in decision.records]
        for token, reply in decision.released:
            assert token not in self.answers, "answered twice"
            self.answers[token] = reply
        if isinstance(decision.reply, errors.KafkaError):
            raise decision.reply
        if isinstance(decision.reply, Waiting):
            return decision.reply
        return decision.reply

    # -- commands

    def join(
        self,
        group_id: str,
        member_id: str = "",
        *,
        new: str = "new",
        names: tuple[str, ...] = ("range",),
        topics: tuple[str, ...] = ("t",),
        **fields: Any,
    ) -> Any:
        """JoinGroup; a reply that waits is a `Waiting` whose token is in `answers` later."""
        values: dict[str, Any] = {
            "client_id": "c",
            "client_host": "/127.0.0.1",
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 60_000,
            "protocol_type": "consumer",
            "protocols": protocols(*names, topics=topics),
        }
        request = JoinGroup(group_id=group_id, member_id=member_id, **(values | fields))
        token = self.token()
        return self.run(
            lambda groups: groups.join(request, new_member_id=new, token=token, now=self.now())
        )

    def sync(self, group_id: str, member_id: str, generation_id: int, **fields: Any) -> Any:
        token = self.token()
        return self.run(
            lambda groups: groups.sync(
                group_id=group_id,
                member_id=member_id,
                generation_id=generation_id,
                token=token,
                now=self.now(),
                **fields,
            )
        )

    def heartbeat(self, group_id: str, member_id: str, generation_id: int, **fields: Any) -> Any:
        return self.run(
            lambda groups: groups.heartbeat(
                group_id=group_id,
                member_id=member_id,
                generation_id=generation_id,
                now=self.now(),
                **fields,
            )
        )

    def leave(self, group_id: str, *leaving: Leaving) -> list[int]:
        codes: list[int] = self.run(
            lambda groups: groups.leave(group_id=group_id, leaving=list(leaving), now=self.now())
        )
        return codes

    def commit(self, group_id: str, *to_commit: OffsetToCommit, **fields: Any) -> list[int]:
        values: dict[str, Any] = {"api_version": 9}
        codes: list[int] = self.run(
            lambda groups: groups.commit_offsets(
                group_id=group_id, to_commit=list(to_commit), now=self.now(), **(values | fields)
            )
        )
        return codes

    def tick(self) -> None:
        self.run(lambda groups: groups.tick(self.now()))

    def wait(self, ms: int) -> None:
        """Let time pass, waking the machine whenever it asks for it."""
        end_ms = self.mono_ms + ms
        while (wake_ms := self.groups.wake_at_ms()) is not None and wake_ms <= end_ms:
            self.mono_ms = max(wake_ms, self.mono_ms)
            self.tick()
        self.mono_ms = end_ms

    # -- setting a scene

    def stable(self, group_id: str, *members: str, **fields: Any) -> int:
        """A stable group of dynamic members, the first of which leads; gives its generation."""
        replies = [
            self.join(group_id, new=member, requires_known_member_id=False, **fields)
            for member in members
        ]
        self.wait(self.groups.settings.initial_rebalance_delay_ms * (len(members) + 1))
        joined = self.answers[replies[0].token]
        for member in reversed(members):
            assignments = {m: f"to {m}".encode() for m in members} if member == members[0] else {}
            self.sync(group_id, member, joined.generation_id, assignments=assignments)
        generation_id: int = joined.generation_id
        return generation_id

    def state(self, group_id: str) -> GroupState:
        return self.groups.live[group_id].state

    # -- what would be left

    def replayed(self, log: list[KeyValue] | None = None) -> Groups:
        """The machine that a load makes of the log."""
        groups = Groups(settings=self.groups.settings)
        for key, value in self.log if log is None else log:
            record = parse_record(key, value)
            assert record is not None
            record.apply(groups)
        return groups

    def reload(self) -> None:
        """Forget all soft state, as a failover does."""
        self.groups = self.replayed()
        for decision in self.groups.resume(self.now()):
            decision.apply(self.groups)


def compacted(log: list[KeyValue]) -> list[KeyValue]:
    """The log when only the last record of each key is left, without tombstones."""
    last: dict[bytes, bytes | None] = {}
    for key, value in log:
        last.pop(key, None)
        last[key] = value
    return [(key, value) for key, value in last.items() if value is not None]
