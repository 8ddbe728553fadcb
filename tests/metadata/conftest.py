"""Fixtures of the metadata tests: a seeded world and registers that answer at once."""

import random

import pytest

from automq.metadata.memory_register import MemoryRegister
from automq.metadata.register import Patience, SteadyRegister
from automq.world import World


class StoppedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> float:
        return float(self.ms)


@pytest.fixture
def world() -> World:
    return World(clock=StoppedClock(), chance=random.Random(7))


@pytest.fixture
def store() -> MemoryRegister:
    return MemoryRegister()


@pytest.fixture
def register(store: MemoryRegister, world: World) -> SteadyRegister:
    return SteadyRegister(store, world, Patience(first_ms=0))
