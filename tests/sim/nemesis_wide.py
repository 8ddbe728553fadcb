"""Troubles that only later seeds have: each leads where chance alone hardly gets."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from automq.objectstore.simulated import Effect, Fault
from sim.node import Node

REASONS_OF_DISK = ("write-ahead log failed", "simulated disk")


class WideTroubles:
    """By name, in `kinds`."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self._node = node
        self._chance = chance
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "snapshots are slow": self._snapshots_are_slow,
            "disk fails and it dies": self._disk_fails_and_it_dies,
            "stands still for a while": self._stands_still_for_a_while,
        }

    async def _snapshots_are_slow(self) -> None:
        """It dies while a part of a snapshot is on its way: nothing may rest on that already."""
        node = self._node
        slow = Fault(
            Effect.DELAY,
            operations=frozenset({"create"}),
            key_prefix="meta/snapshots/",
            times=None,
            probability=0.7,
            wait_ms=(200, 8_000),
        )
        node.store.inject(slow)
        for _ in range(self._chance.randint(1, 4)):
            await self._some_time(self._chance.choice([1, 4]))
            node.crash(node.newest)
            node.start()
        await self._some_time(2)
        node.store.heal()

    async def _disk_fails_and_it_dies(self) -> None:
        """Whatever the disk says later, what one sync did not write is not there."""
        node = self._node
        node.failures_expected.update(REASONS_OF_DISK)
        node.disk.failing = True
        await self._some_time(0.1)
        node.disk.failing = False
        await self._some_time(0.05)
        node.crash(node.newest)
        node.start()

    async def _stands_still_for_a_while(self) -> None:
        """Long enough for its successor to close and to empty what it would write to next."""
        node = self._node
        victim = node.newest
        node.loop.pause(victim.process)
        node.trace.note("operator", f"pauses {victim}")
        node.start()
        await self._some_time(self._chance.choice([5, 15]))
        node.trace.note("operator", f"resumes {victim}")
        node.loop.resume(victim.process)
        await self._some_time(1)

    async def _some_time(self, mean_s: float) -> None:
        await asyncio.sleep(self._chance.expovariate(1 / mean_s))
