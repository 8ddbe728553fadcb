"""Fixtures of the metadata tests: a seeded world and registers that answer at once."""

import random
from collections.abc import Iterator

import pytest

from automq.metadata.register import Patience, SteadyRegister
from automq.world import World
from support.memory_register import MemoryRegister
from support.postgres_server import Postgres, postgres


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


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    """A PostgreSQL that all tests of a process share; each uses a table of its own."""
    with postgres() as server:
        yield server
