"""Competing controllers on a PostgreSQL whose servers crash, are replaced and lose their standby.

The stories of `test_schedules`, on the real register over simulated servers: the truth is what was
created first and reached a standby.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from automq.metadata.log import DamagedLog
from automq.metadata.postgres.links import Links
from automq.metadata.postgres.register import PostgresRegister
from automq.metadata.postgres.simulated import SimulatedPostgres
from automq.metadata.register import Patience, Register, SteadyRegister
from metadata.test_schedules import Story
from metadata.virtual import VirtualClock, VirtualLoop

TIMEOUT_MS = 300


@dataclass(slots=True)
class PostgresStory(Story):
    """One run. Without `locks` losing and reading commit nothing."""

    locks: bool = True
    postgres: SimulatedPostgres = field(init=False)
    servers: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)

    def __post_init__(self) -> None:
        self.postgres = SimulatedPostgres(
            self.chance,
            lambda work, name: self.servers.create_task(work, name=name),
            locks=self.locks,
        )

    @property
    def first(self) -> Mapping[str, bytes]:
        return self.postgres.created

    def register(self) -> SteadyRegister:
        return SteadyRegister(self.links(), self.world(), Patience(first_ms=1, longest_ms=20))

    def links(self) -> PostgresRegister:
        return PostgresRegister(Links(self.postgres.connect, VirtualClock(self.loop), TIMEOUT_MS))

    def disturb(self, draw: float) -> None:
        postgres = self.postgres
        postgres.cuts = self.chance.choice([0.0, 0.02, 0.2])
        troubles = [
            postgres.crash,
            postgres.end_waits,
            postgres.end_waits,
            postgres.lose_standby,
            postgres.regain_standby,
            postgres.regain_standby,
            lambda: postgres.fail_over(old_answers=True),
            lambda: postgres.fail_over(old_answers=False),
            postgres.bury_replaced,
            postgres.go_away,
            postgres.come_back,
            postgres.come_back,
        ]
        troubles[int(draw * len(troubles))]()

    def heal(self) -> Register:
        postgres = self.postgres
        postgres.cuts = 0.0
        postgres.bury_replaced()
        postgres.regain_standby()
        postgres.come_back()
        return self.links()

    async def run(self, turns: int) -> None:
        async with self.servers:
            await Story.run(self, turns)
            self.postgres.crash()


def run_seed(seed: int, turns: int = 1_000, *, locks: bool = True) -> PostgresStory:
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        story = PostgresStory(loop, random.Random(seed), locks=locks)
        runner.run(story.run(turns))
    return story


def fails(seed: int, *, locks: bool = True) -> bool:
    """Whether something was lost, or was seen that is no history."""
    try:
        run_seed(seed, locks=locks)
    except BaseExceptionGroup as group:
        return group.subgroup((AssertionError, DamagedLog)) is not None
    return False


@pytest.mark.parametrize("seed", range(16))
def test_nothing_acknowledged_is_lost_whatever_becomes_of_the_servers(seed: int) -> None:
    story = run_seed(seed)

    assert story.acknowledged


def test_a_seed_runs_the_same_way_twice() -> None:
    first, second = run_seed(3, 300), run_seed(3, 300)

    assert first.postgres.created == second.postgres.created
    assert first.acknowledged == second.acknowledged


def test_without_the_lock_a_failover_loses_what_was_acknowledged() -> None:
    """What the lock of a loser and of a reader is for."""
    assert any(fails(seed, locks=False) for seed in range(40))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_400))
def test_nothing_is_lost_in_many_more_schedules(seed: int) -> None:
    run_seed(seed, turns=4_000)
