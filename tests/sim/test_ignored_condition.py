"""A store that ignores a condition breaks what everything rests on: nobody starts on that."""

import asyncio
import random
import re
from unittest.mock import patch

import msgspec
import pytest

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.objectstore.simulated import Effect, Fault
from automq.protocol.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from automq.protocol.messages.create_topics_response import CreateTopicsResponse
from sim.client import Conversation
from sim.node import Incarnation
from sim.run import Run, listening

SEEDS = (1, 3)
"""Seeds whose metadata lie in the store, and whose older process has something to store."""
OVERTAKEN_SEEDS = (1, 2, 3, 4)
FOUND_S = 60.0
SLOW_MS = 200.0
ENTRY = re.compile(r"meta/\d+/\d+")


class BrokenPromise(Run):
    """An older process wakes up, and the store lets it overwrite what its successor has stored."""

    has_clients = True
    why = ""
    """What it said who found out: the next one when it did not start, or the one that ran."""

    async def story(self) -> None:
        older = await self._begin()
        self.node.loop.resume(older.process)
        await self._until_overwritten()
        self.node.store.heal()
        await self._start_again()

    async def _begin(self) -> Incarnation:
        """An older process that stands still beside its successor, and a store that is broken from
        now on."""
        node = self.node
        node.config = without_snapshots(node.config)
        node.start()
        await node.until_ready(FOUND_S)
        partitions = await self._create_topics()
        if self.has_clients:
            self._clients(partitions)
        await asyncio.sleep(3)
        older = node.newest
        await self._just_before()
        node.loop.pause(older.process)
        await asyncio.sleep(2 * SLOW_MS / 1000)
        node.start()
        await node.until_ready(FOUND_S)
        await asyncio.sleep(2)
        node.store.inject(
            Fault(Effect.IGNORE_CONDITION, frozenset({"create"}), "meta/0", times=None)
        )
        return older

    async def _just_before(self) -> None:
        """What the older process does before it stands still."""

    async def _until_overwritten(self) -> None:
        async with asyncio.timeout(FOUND_S):
            while not self.node.objects.overwritten:  # noqa: ASYNC110 (virtual time)
                await asyncio.sleep(0.01)

    async def _start_again(self) -> None:
        node = self.node
        node.is_supervised = False
        for one in node.incarnations:
            node.crash(one)
        last = node.start()
        node.failures_expected.add("the metadata log cannot be used")
        async with asyncio.timeout(FOUND_S):
            await last.ended.wait()
        self.why = str(last.failure)


class Overtaken(BrokenPromise):
    """The older process writes on behind the last entry of its successor, which lives.

    Nobody writes records: the older process would end by its log, which its successor has fenced.
    """

    has_clients = False
    topics = 0

    async def story(self) -> None:
        node, older = self.node, await self._begin()
        node.is_supervised = False
        node.failures_expected.add("the metadata log cannot be used")
        successor = node.newest
        node.loop.pause(successor.process)
        last = self._last_entry()
        node.loop.resume(older.process)
        async with asyncio.timeout(FOUND_S):
            while self._last_entry() <= last:
                self._create_topic(self.to_older[0])
                await asyncio.sleep(0.05)
        node.crash(older)
        node.store.heal()
        node.loop.resume(successor.process)
        async with asyncio.timeout(FOUND_S):
            await successor.ended.wait()
        self.why = str(successor.failure)

    async def _just_before(self) -> None:
        """One entry is on its way, and the next waits for it: the older process will go on with
        that when it wakes up, else it would ask first who leads."""
        node = self.node
        self.to_older = [Conversation(node), Conversation(node)]
        slow = Fault(Effect.DELAY, frozenset({"create"}), "meta/0", wait_ms=(SLOW_MS, SLOW_MS))
        node.store.inject(slow)
        for one in self.to_older:
            self._create_topic(one)
            await asyncio.sleep(0.05)

    def _last_entry(self) -> str:
        listed = (it.key for it in self.node.objects.list("meta/", None))
        return max(key for key in listed if ENTRY.fullmatch(key))

    def _create_topic(self, at: Conversation) -> None:
        self.topics += 1
        topic = CreatableTopic(name=f"late-{self.topics}", num_partitions=1, replication_factor=1)
        request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
        at.send(request, CreateTopicsResponse, 7).add_done_callback(
            lambda it: it.cancelled() or it.exception()
        )


def without_snapshots(config: NodeConfig) -> NodeConfig:
    """The log is read from its first entry on."""
    values = dict(config.values) | {keys.automq.METADATA_SNAPSHOT_ENTRIES.name: 100_000}
    return msgspec.structs.replace(config, values=values)


def told(run: BrokenPromise) -> str:
    """What it said who found out."""
    run.chance = random.Random(f"{run.seed} broken promise")
    with listening(run) as watch, patch("automq.node.run.settle_memory"):
        run.loop.run_until_complete(run.story())
        watch.is_deaf = True
        run.loop.bury()
        run.loop.close()
    assert not run.violations
    return run.why


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_starts_on_a_log_of_which_an_entry_was_overwritten(seed: int) -> None:
    assert told(BrokenPromise(seed)).startswith("the metadata log cannot be used: metadata entry ")


@pytest.mark.parametrize("seed", OVERTAKEN_SEEDS)
def test_a_successor_that_lives_stops_when_it_is_overtaken(seed: int) -> None:
    why = told(Overtaken(seed))
    assert why.startswith("the metadata log cannot be used: metadata entry ")
    assert "follows another entry" in why
