"""`python -m benches.doubling`: what one request costs beside 1, 2, 4 and 8 times as many others.

A whole node runs in virtual time on a simulated store. Connections, consumers that wait at the end
of another topic, partitions, topics and groups are doubled in turn, and each time the same few
things are done: the CPU time of one of them should stay what it is. Idle time costs CPU for what
the node looks after, so it may grow with that, and is shown for a minute of it. CPU times are the
process's own, the least of a few tries, so that neighbours matter little.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from benches import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from automq.protocol.messages.find_coordinator_request import FindCoordinatorRequest
from automq.protocol.messages.heartbeat_request import HeartbeatRequest
from automq.protocol.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from automq.protocol.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from automq.protocol.messages.sync_group_request import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from support.groups import subscription
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, produce
from support.storage import Machine
from support.virtual_node import VirtualClient, VirtualNode, virtual_node
from support.virtual_time import run_virtual

FACTORS = (1, 2, 4, 8)
BASES = {"connections": 250, "waiting": 250, "partitions": 500, "topics": 250, "groups": 125}
TRIES = 5
REPEATS = 40
IDLE_S = 60.0
SETTLE_S = 120.0
PARTITIONS_A_TOPIC = 500
GROUP_SETTINGS = ("group.initial.rebalance.delay.ms=0",)
SESSION_MS = 1_800_000
# Until the run is over, in virtual time.
WAIT_MS = 2**31 - 1
GROWS = 1.5

Task = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Scene:
    """A node with one topic `t` and one group `g`, and whatever is doubled beside them."""

    node: VirtualNode
    client: VirtualClient
    made: int = 0
    member_id: str = ""

    async def more(self, subject: str, count: int) -> None:
        """Add until there are so many of the subject."""
        while self.made < count:
            if subject == "connections":
                self.node.client()
                self.made += 1
            elif subject == "waiting":
                waits = fetch(topic="quiet", max_wait_ms=WAIT_MS, min_bytes=1)
                self.node.client().send(waits, FETCH_VERSION)
                self.made += 1
            elif subject == "partitions":
                await self.node.create_topic(f"more-{self.made}", PARTITIONS_A_TOPIC)
                self.made += PARTITIONS_A_TOPIC
            elif subject == "topics":
                await self.node.create_topic(f"more-{self.made}")
                self.made += 1
            else:
                await self.join(f"more-{self.made}")
                self.made += 1

    async def join(self, group_id: str) -> str:
        """A group with one member, which is stable; the member's id."""
        first = await self.client.ask(join(group_id, ""))
        joined = await self.client.ask(join(group_id, first.member_id))
        assert joined.error_code == 0, joined
        assignment = SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"all")
        synced = await self.client.ask(
            SyncGroupRequest(
                group_id=group_id,
                generation_id=joined.generation_id,
                protocol_type="consumer",
                protocol_name="range",
                member_id=joined.member_id,
                assignments=[assignment],
            )
        )
        assert synced.error_code == 0, synced
        return str(joined.member_id)

    def tasks(self) -> dict[str, Task]:
        """What is done again and again, by its name."""
        ask = self.client.ask
        row = OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
        topic = OffsetCommitRequestTopic(name="t", partitions=[row])
        one = MetadataRequestTopic(name="t")
        member: dict[str, Any] = {"group_id": "g", "member_id": self.member_id}
        commit = OffsetCommitRequest(**member, generation_id_or_member_epoch=1, topics=[topic])
        return {
            "produce": lambda: ask(produce(b"value"), PRODUCE_VERSION),
            "fetch one batch": lambda: ask(fetch(partition_max_bytes=1), FETCH_VERSION),
            "metadata of one topic": lambda: ask(MetadataRequest(topics=[one]), 9),
            "heartbeat": lambda: ask(HeartbeatRequest(**member, generation_id=1)),
            "offset commit": lambda: ask(commit, 9),
            "create and delete a topic": self.create_and_delete,
        }

    async def create_and_delete(self) -> None:
        topic_id = await self.node.create_topic("passing")
        await self.node.parts.controller.delete_topic(topic_id)


def join(group_id: str, member_id: str) -> JoinGroupRequest:
    protocol = JoinGroupRequestProtocol(name="range", metadata=subscription("t"))
    return JoinGroupRequest(
        group_id=group_id,
        member_id=member_id,
        session_timeout_ms=SESSION_MS,
        rebalance_timeout_ms=SESSION_MS,
        protocol_type="consumer",
        protocols=[protocol],
    )


async def measure(subject: str, base: int) -> dict[str, list[float]]:
    """CPU microseconds of each task, milliseconds of an idle minute, at each factor."""
    found: dict[str, list[float]] = {}
    async with virtual_node(Machine(), *GROUP_SETTINGS) as node:
        scene = Scene(node, node.client())
        await node.create_topic("t")
        await node.create_topic("quiet")
        await scene.client.ask(FindCoordinatorRequest(coordinator_keys=["g"]))
        await asyncio.sleep(SETTLE_S)
        scene.member_id = await scene.join("g")
        for factor in FACTORS:
            await scene.more(subject, base * factor)
            await asyncio.sleep(SETTLE_S)
            for name, task in scene.tasks().items():
                found.setdefault(f"{name}, us", []).append(await cpu_us(task))
            started_s = time.process_time()
            await asyncio.sleep(IDLE_S)
            found.setdefault("an idle minute, ms", []).append(
                (time.process_time() - started_s) * 1e3
            )
    return found


async def cpu_us(task: Task) -> float:
    """The CPU time of one execution, the least of a few tries."""
    tries = []
    for _ in range(TRIES):
        started_s = time.process_time()
        for _ in range(REPEATS):
            await task()
        tries.append((time.process_time() - started_s) / REPEATS * 1e6)
    return min(tries)


def rows(subject: str, base: int, found: dict[str, list[float]]) -> list[str]:
    return [
        f"| {subject} {' '.join(f'{base * factor:,}' for factor in FACTORS)} | {name} | "
        f"{' | '.join(f'{number:,.0f}' for number in numbers)} | "
        f"{numbers[-1] / max(numbers[0], 1e-9):.1f}x{'!' * grows(name, numbers)} |"
        for name, numbers in found.items()
    ]


def grows(name: str, numbers: list[float]) -> bool:
    """Whether one request costs clearly more beside 8 times as many others."""
    return not name.startswith("an idle") and numbers[-1] > numbers[0] * GROWS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.doubling", description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[[], *BASES], help="all, if none is named")
    args = parser.parse_args()
    print("| beside | CPU of | 1x | 2x | 4x | 8x | 8x to 1x |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for subject in args.subjects or BASES:
        base = BASES[subject]
        print("\n".join(rows(subject, base, run_virtual(measure(subject, base)))), flush=True)


if __name__ == "__main__":
    main()
