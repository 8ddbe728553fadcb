"""An operator who tries the database with `storage check`, beside a cluster or before its start."""

import asyncio
import random
from contextlib import suppress

from automq.metadata.postgres.checking import Look, commits, drop_if_empty, look
from automq.metadata.register import Unfit, Unsettled
from automq.metadata.register_check import RegisterTrial, examine_register
from automq.objectstore.check import Finding, Outcome, Unusable
from automq.world import World
from sim.node import Node
from sim.wide import is_wide

USERS = 2
TRIAL_S_MAX = 120.0
SHARE = 0.2
NO_VERDICT = "failed: "
"""So begins what is found when there is no answer: that is no promise broken."""


def is_tried(seed: int) -> bool:
    """Whether somebody tries the database of this seed."""
    return is_wide(seed) and random.Random(f"{seed} trial").random() < SHARE


class Trier:
    """A database that keeps its promises is called fit whatever befalls it, and nothing of the
    cluster is taken away."""

    def __init__(self, node: Node, name: str) -> None:
        assert node.database is not None
        self.node = node
        self.name = name
        self.chance = node.chance(name)
        self._database = node.database
        self._world = World(clock=node.clock, chance=node.chance(f"{name} world"))
        self.head_start_s: float = self.chance.choice([0.0, 0.4, 0.8, 1.0, 3.0])
        """So long before the node is started it may begin; without faults it takes about 1 s."""

    async def run(self) -> None:
        await asyncio.sleep(self.chance.choice([0.0, 0.1, 3.0, 10.0, 20.0]))
        with suppress(TimeoutError, Unsettled):
            async with asyncio.timeout(TRIAL_S_MAX):
                await self._try()

    async def _try(self) -> None:
        """As `automq storage check` does. Raises Unsettled."""
        place, dial = self._database.location, self._database.dial
        found = await look(place, None, connect=dial)
        registers = [self._database.register(self.node.clock) for _ in range(USERS)]
        trial = RegisterTrial(registers, self._world)
        try:
            await self._examine(trial, found)
            await trial.clean()
        finally:
            for register in registers:
                await register.close()
        self.node.trace.note(self.name, "is done")
        if not found.has_table:
            await drop_if_empty(place, None, connect=dial)

    async def _examine(self, trial: RegisterTrial, found: Look) -> None:
        try:
            first = commits(self._database.location, found)
            async for step in examine_register(trial, first):
                for finding in step.findings:
                    self._judge(finding)
        except (Unusable, Unfit) as why:
            self.node.complain(f"{self.name}: {why}")

    def _judge(self, finding: Finding) -> None:
        self.node.trace.note(self.name, f"{finding.what}: {finding.outcome.value}: {finding.text}")
        if finding.outcome is Outcome.UNFIT and not finding.text.startswith(NO_VERDICT):
            self.node.complain(f"{self.name}: {finding.what}: {finding.text}")
