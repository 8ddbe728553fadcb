"""The metadata of some seeds lie in a simulated PostgreSQL, which has troubles of its own."""

import asyncio
import random

from automq.metadata.postgres import PostgresRegister, open_register
from automq.metadata.postgres.simulated import LONE_URIS, URI, SimulatedPostgres
from automq.metadata.register import ListedRegister, ObjectStoreRegister
from automq.world import Clock
from sim.loop import SimLoop
from sim.trace import Trace
from sim.wide import is_wide
from sim.wire import StoreWire

FIRST_SEED = 61
"""Those before are what mistakes are looked for in, each with the seeds that find it."""

SHARE_ALONE = 0.25
STALLS = ("goes away", "loses its standby")
ENDS_OF_STALLS = {
    "comes back": frozenset({"goes away"}),
    "has its standby again": frozenset({"loses its standby"}),
}


def is_in_postgres(seed: int) -> bool:
    """Whether the metadata of this seed lie in PostgreSQL."""
    return seed >= FIRST_SEED and seed % 4 == 0


ALONE = ("crashes", "goes away", "comes back")
"""What befalls a server that has no standby."""


def uri_of(seed: int) -> str:
    """Where the servers of a seed are: one of them, or one and its standby."""
    chance = random.Random(f"{seed} servers")
    is_alone = is_wide(seed) and chance.random() < SHARE_ALONE
    return chance.choice(LONE_URIS) if is_alone else URI


class Database:
    """The servers of one seed, and what strikes them."""

    def __init__(self, seed: int, loop: SimLoop, trace: Trace) -> None:
        self._postgres = SimulatedPostgres(
            random.Random(f"{seed} postgres"), loop.spawn, uri=uri_of(seed)
        )
        self.location = self._postgres.location
        self.dial = self._postgres.dial
        self._chance = random.Random(f"{seed} trouble with postgres")
        self._trace = trace
        self._loop = loop
        self._stalls: set[str] = set()
        self._stalled_until_s = float("-inf")

    def has_stalled(self, within_s: float) -> bool:
        """Whether nothing could be committed at some time within the last so many seconds."""
        return bool(self._stalls) or self._stalled_until_s >= self._loop.time() - within_s

    def _note(self, name: str) -> None:
        """What begins with this, or ends with it: that no commit comes to its end."""
        if name in STALLS:
            self._stalls.add(name)
        for stall in self._stalls & ENDS_OF_STALLS.get(name, frozenset()):
            self._stalls.discard(stall)
            self._stalled_until_s = self._loop.time()

    def register(self, clock: Clock) -> PostgresRegister:
        """A process's way to them."""
        return open_register(self.location, None, clock, connect=self.dial)

    async def run(self) -> None:
        """Until cancelled; `heal` then undoes what lasts."""
        postgres = self._postgres
        mean_s = self._chance.choice([0.5, 2.0, 5.0])
        troubles = {
            "crashes": postgres.crash,
            "ends waits": postgres.end_waits,
            "loses its standby": postgres.lose_standby,
            "has its standby again": postgres.regain_standby,
            "is replaced and goes on answering": lambda: postgres.fail_over(old_answers=True),
            "is replaced": lambda: postgres.fail_over(old_answers=False),
            "answers no more once replaced": postgres.bury_replaced,
            "goes away": postgres.go_away,
            "comes back": postgres.come_back,
        }
        if postgres.is_lone:
            troubles = {name: troubles[name] for name in ALONE}
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / mean_s))
            postgres.cuts = self._chance.choice([0.0, 0.01, 0.1])
            name = self._chance.choice(list(troubles))
            self._trace.note("postgres", name)
            self._note(name)
            troubles[name]()

    def heal(self) -> None:
        """From now on everything works."""
        self._trace.note("postgres", "heals")
        for name in ENDS_OF_STALLS:
            self._note(name)
        self._postgres.cuts = 0.0
        self._postgres.bury_replaced()
        self._postgres.regain_standby()
        self._postgres.come_back()


def register_of(wire: StoreWire, database: Database | None, clock: Clock) -> ListedRegister:
    """The register of the metadata log: in the store, or in the database of those seeds."""
    return ObjectStoreRegister(wire) if database is None else database.register(clock)
