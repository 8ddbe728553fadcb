"""The world as one value, and the real one."""

import random
import uuid
from dataclasses import dataclass

from automq.world.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class World:
    """What a simulation replaces. `chance` is the only source of randomness and of new ids."""

    clock: Clock
    chance: random.Random

    def new_uuid(self) -> bytes:
        """A random (version 4) UUID, as its 16 bytes."""
        return uuid.UUID(int=self.chance.getrandbits(128), version=4).bytes


def system_world() -> World:
    """The machine's clocks, and chance from the operating system's entropy."""
    return World(clock=SystemClock(), chance=random.SystemRandom())
