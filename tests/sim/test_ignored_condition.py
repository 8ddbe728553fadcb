"""A store that ignores a condition breaks what everything rests on: nobody starts on that."""

import asyncio
import random
from unittest.mock import patch

import msgspec
import pytest

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.objectstore.simulated import Effect, Fault
from sim.run import Run, listening

SEEDS = (1, 3)
"""Seeds whose metadata lie in the store, and whose older process has something to store."""
FOUND_S = 60.0


class BrokenPromise(Run):
    """An older process wakes up, and the store lets it overwrite what its successor has stored."""

    why = ""
    """What the next one said when it did not start."""

    async def story(self) -> None:
        node = self.node
        node.config = without_snapshots(node.config)
        node.start()
        await node.until_ready(FOUND_S)
        self._clients(await self._create_topics())
        await asyncio.sleep(3)
        older = node.newest
        node.loop.pause(older.process)
        node.start()
        await node.until_ready(FOUND_S)
        await asyncio.sleep(2)
        node.store.inject(
            Fault(Effect.IGNORE_CONDITION, frozenset({"create"}), "meta/0", times=None)
        )
        node.loop.resume(older.process)
        await self._until_overwritten()
        node.store.heal()
        await self._start_again()

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


def without_snapshots(config: NodeConfig) -> NodeConfig:
    """The log is read from its first entry on."""
    values = dict(config.values) | {keys.automq.METADATA_SNAPSHOT_ENTRIES.name: 100_000}
    return msgspec.structs.replace(config, values=values)


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_starts_on_a_log_of_which_an_entry_was_overwritten(seed: int) -> None:
    run = BrokenPromise(seed)
    run.chance = random.Random(f"{seed} broken promise")
    with listening(run) as watch, patch("automq.node.run.settle_memory"):
        run.loop.run_until_complete(run.story())
        watch.is_deaf = True
        run.loop.bury()
        run.loop.close()
    assert run.why.startswith("the metadata log cannot be used: metadata entry ")
    assert not run.violations
