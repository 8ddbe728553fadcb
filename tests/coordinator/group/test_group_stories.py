"""Long stories of rebalances, as text: a command, then indented what came of it.

`AUTOMQ_ACCEPT=1 pytest` rewrites the answers; the difference is for review. Commands:

    join GROUP [MEMBER] [as=NEW_ID] [instance=ID] [topics=t,u] [names=range] [old]
    sync GROUP MEMBER GENERATION [MEMBER=ASSIGNMENT ...]
    beat GROUP MEMBER GENERATION       leave GROUP MEMBER      wait MS      fail-over
    commit GROUP TOPIC PARTITION OFFSET [MEMBER GENERATION]    show GROUP
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from automq.coordinator.group.records import GroupStored, OffsetCommitted, parse_record
from automq.coordinator.group.replies import Joined, Leaving, OffsetToCommit, Synced
from automq.coordinator.machine import Waiting
from automq.protocol import errors
from support.groups import Life

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))


class Storyteller:
    """Carries out one line at a time and says what came of it."""

    def __init__(self) -> None:
        self.life = Life()
        self.told: set[int] = set()
        self.names: dict[int, str] = {}
        self.stored = 0

    def tell(self, line: str) -> list[str]:
        command, *words = line.split()
        tell: Callable[..., object] = getattr(self, f"do_{command.replace('-', '_')}")
        try:
            reply = tell(*words)
        except errors.KafkaError as error:
            said = [error.name]
        else:
            said = self.words_of(reply, words)
        return said + self.news()

    def words_of(self, reply: object, words: list[str]) -> list[str]:
        if isinstance(reply, Waiting):
            self.names[reply.token] = " ".join(words[:2])
            return ["waits"]
        return [] if reply is None else [describe(reply)]

    def news(self) -> list[str]:
        lines = []
        for token, reply in self.life.answers.items():
            if token not in self.told:
                self.told.add(token)
                lines.append(f"{self.names.get(token, '?')}: {describe(reply)}")
        for key, value in self.life.log[self.stored :]:
            lines.append(f"stored {describe(parse_record(key, value))}")
        self.stored = len(self.life.log)
        return lines

    def do_join(self, group_id: str, *words: str) -> object:
        plain = [word for word in words if "=" not in word and word != "old"]
        values = dict(word.split("=", 1) for word in words if "=" in word)
        return self.life.join(
            group_id,
            *plain,
            new=values.get("as", "new"),
            topics=tuple(values.get("topics", "t").split(",")),
            names=tuple(values.get("names", "range").split(",")),
            group_instance_id=values.get("instance"),
            requires_known_member_id="old" not in words,
        )

    def do_sync(self, group_id: str, member_id: str, generation: str, *words: str) -> object:
        assignments = {m: a.encode() for m, a in (word.split("=", 1) for word in words)}
        return self.life.sync(group_id, member_id, int(generation), assignments=assignments)

    def do_beat(self, group_id: str, member_id: str, generation: str) -> object:
        return self.life.heartbeat(group_id, member_id, int(generation)) or "fine"

    def do_leave(self, group_id: str, member_id: str) -> object:
        return self.life.leave(group_id, Leaving(member_id))

    def do_commit(
        self, group_id: str, topic: str, partition: str, offset: str, *member: str
    ) -> object:
        member_id, generation = member or ("", "-1")
        wanted = OffsetToCommit(topic, int(partition), int(offset))
        return self.life.commit(
            group_id, wanted, member_id=member_id, generation_id=int(generation)
        )

    def do_wait(self, ms: str) -> None:
        self.life.wait(int(ms))

    def do_fail_over(self) -> None:
        self.life.reload()

    def do_show(self, group_id: str) -> object:
        group = self.life.groups.live.get(group_id)
        if group is None:
            return "no such group"
        members = ", ".join(group.members)
        led = f", led by {group.leader_id}: {members}" if members else ""
        return f"{group.state} generation {group.generation_id}{led}"


def describe(reply: object) -> str:
    if isinstance(reply, errors.KafkaError):
        return reply.name
    if isinstance(reply, Joined):
        if reply.error is not None:
            return f"{reply.error.name} {reply.member_id}"
        members = ", ".join(m.member_id for m in reply.members)
        skip = " (skip the assignment)" if reply.skip_assignment else ""
        seen = f", of [{members}]" if members else ""
        where = f"generation {reply.generation_id}, led by {reply.leader}"
        return f"{reply.member_id} in {where}{seen}{skip}"
    if isinstance(reply, Synced):
        return f"assigned {reply.assignment.decode() or 'nothing'}"
    if isinstance(reply, GroupStored):
        members = ", ".join(f"{m.member_id}={m.assignment.decode()}" for m in reply.members)
        return f"{reply.group_id} generation {reply.generation_id} [{members}]"
    if isinstance(reply, OffsetCommitted):
        where = f"{reply.topic}-{reply.partition}"
        return f"{reply.group_id} at {where}: {reply.committed.offset}"
    return str(reply)


@pytest.mark.parametrize("path", STORIES, ids=[path.stem for path in STORIES])
def test_a_story_goes_as_told(path: Path) -> None:
    teller = Storyteller()
    told = []
    for line in path.read_text().splitlines():
        if line.startswith("    "):
            continue
        told.append(line)
        if line and not line.startswith("#"):
            told += [f"    {said}" for said in teller.tell(line)]
    text = "\n".join(told) + "\n"
    if os.environ.get("AUTOMQ_ACCEPT"):
        path.write_text(text)
    assert path.read_text() == text


def test_there_are_stories() -> None:
    assert STORIES
