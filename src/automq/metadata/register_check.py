"""Whether a register keeps the contract of `Register`: what `automq storage check` tries of one.

As for a store (`objectstore.check`): each step is a function that tells what it saw or raises
`Broken`; only keys below a prefix of the trial's own are written, each noted before it is. What a
register does in trouble, no step can show (`CANNOT_SHOW`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from automq.metadata.register import ListedRegister, Unfit, Unsettled
from automq.objectstore.check import Check, Finding, Outcome, Unusable
from automq.objectstore.check.finding import Broken
from automq.objectstore.check.promises import RACERS, one_winner_each
from automq.objectstore.check.speed import Speed, series
from automq.objectstore.check.trial import PREFIX
from automq.world import World

T = TypeVar("T")

KEYS: Final = 25
LARGE_BYTES: Final = 8 << 20
"""An entry of the metadata log is not larger."""
SMALL_BYTES: Final = 1 << 10
SERIES: Final = 100
PAUSES_S: Final = (0.1, 0.3, 1.0, 2.0)

CANNOT_SHOW: Final = (
    "whether a server that takes over has everything: it must be a synchronous standby",
    "whether the disk keeps what it said it had synced",
    "what happens when somebody changes the server's settings later (each create asks again)",
)


class RegisterTrial:
    """The register under test, as several who use it at once: each has connections of its own."""

    def __init__(self, registers: Sequence[ListedRegister], world: World) -> None:
        assert registers, "somebody has to ask"
        self.registers = registers
        self.world = world
        self.prefix = f"{PREFIX}/{world.new_uuid().hex()}"
        self._written: set[str] = set()

    def key(self, name: str) -> str:
        """A key below the prefix, noted for `clean`."""
        key = f"{self.prefix}/{name}"
        self._written.add(key)
        return key

    async def create(self, key: str, data: bytes, *, by: int = 0) -> bool:
        """Whether this creator won, by the rule of the metadata log: the same bytes are sent until
        there is a verdict, and a loser is a winner if it finds its own bytes. Raises Unsettled."""
        if await patiently(lambda: self._by(by).create(key, data)):
            return True
        return await self.read(key, by=by) == data

    async def read(self, key: str, *, by: int = 0) -> bytes | None:
        return await patiently(lambda: self._by(by).read(key))

    async def list(self, folder: str) -> list[str]:
        """The keys below a folder of the prefix."""

        async def listed() -> list[str]:
            return [it.key async for it in self._by(0).list(f"{self.prefix}/{folder}")]

        return await patiently(listed)

    async def delete(self, keys: Sequence[str]) -> None:
        await patiently(lambda: self._by(0).delete_many(keys))

    async def clean(self) -> None:
        """Delete what was written. Raises Unsettled."""
        if self._written:
            await self.delete(sorted(self._written))
        self._written.clear()

    def _by(self, number: int) -> ListedRegister:
        return self.registers[number % len(self.registers)]


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of the first attempt that has one; a few are made, over some seconds.

    Raises Unsettled, and Unfit at once.
    """
    for pause_s in PAUSES_S:
        try:
            return await call()
        except Unfit:
            raise
        except Unsettled:
            await asyncio.sleep(pause_s)
    return await call()


# -- the steps


async def absent(trial: RegisterTrial) -> str:
    """A key that nobody created is absent."""
    if await trial.read(f"{trial.prefix}/never-written") is not None:
        raise Broken("a key that nobody created was read")
    return "it is absent"


async def create_twice(trial: RegisterTrial) -> str:
    """A key has one creator."""
    key, first = trial.key("twice"), trial.world.new_uuid()
    if not await trial.create(key, first):
        raise Broken(f"the only creator of {key} was told that it has lost")
    if await trial.create(key, trial.world.new_uuid(), by=1):
        raise Broken("the second creator was not refused")
    if await trial.read(key, by=2) != first:
        raise Broken("the second creator was refused, and its bytes are there")
    return "the second creator is refused"


async def race(trial: RegisterTrial) -> str:
    """Of many creators at once exactly one wins, and all readers see that one's bytes."""

    async def create(key: str, data: bytes, by: int) -> bool:
        return await trial.create(key, data, by=by)

    async def read(key: str, by: int) -> bytes | None:
        return await trial.read(key, by=by)

    return await one_winner_each(trial, create, read, readers=len(trial.registers))


async def large(trial: RegisterTrial) -> str:
    """As many bytes as an entry may have come back as they were."""
    key, data = trial.key("large"), trial.world.chance.randbytes(LARGE_BYTES)
    if not await trial.create(key, data):
        raise Broken("its only creator was told that it has lost")
    if await trial.read(key, by=1) != data:
        raise Broken("a reader found other bytes")
    return f"{LARGE_BYTES >> 20} MiB come back as they were"


async def listing(trial: RegisterTrial) -> str:
    """What was created is listed in order, and what was deleted is neither listed nor read."""
    keys = [trial.key(f"list/{number:03}") for number in range(KEYS)]
    for by, key in enumerate(keys):
        await trial.create(key, trial.world.new_uuid(), by=by)
    if await trial.list("list/") != keys:
        raise Broken(f"{KEYS} keys were created, and others, or in another order, are listed")
    await trial.delete(keys[1:])
    if await trial.list("list/") != keys[:1] or await trial.read(keys[1], by=1) is not None:
        raise Broken("a key that was deleted is still there")
    return f"all of {KEYS} keys, and none that was deleted"


_Step = Callable[[RegisterTrial], Awaitable[str]]

STEPS: Final[tuple[tuple[str, _Step], ...]] = (
    ("missing key", absent),
    ("create if absent", create_twice),
    (f"race of {RACERS} creators", race),
    ("large entry", large),
    ("list and delete", listing),
)


async def examine_register(
    trial: RegisterTrial, first: Finding, *, is_tried: bool = True
) -> AsyncGenerator[Check, None]:
    """Everything, a step at a time, behind what was found out before; or that alone, where nothing
    has to be tried any more. Raises Unusable.

    The caller calls `trial.clean()` at the end, however it comes.
    """
    yield Check((first,))
    if not is_tried:
        return
    for what, step in STEPS:
        yield Check((await _tried(trial, what, step),))
    try:
        yield Check(speeds=await measure(trial))
    except Unsettled as error:
        yield Check((Finding("speed", Outcome.UNFIT, f"failed: {error}"),))


async def _tried(trial: RegisterTrial, what: str, step: _Step) -> Finding:
    try:
        return Finding(what, Outcome.OK, await step(trial))
    except Broken as why:
        return Finding(what, Outcome.UNFIT, str(why))
    except Unfit as why:
        raise Unusable(str(why)) from None
    except Unsettled as why:
        return Finding(what, Outcome.UNFIT, f"failed: {why}")


async def measure(trial: RegisterTrial) -> tuple[Speed, ...]:
    """Creates and reads one after another, as the metadata log asks. Raises Unsettled."""
    data = trial.world.chance.randbytes(SMALL_BYTES)
    keys = [trial.key(f"speed/{number:03}") for number in range(SERIES)]
    register = trial.registers[0]

    def create(number: int) -> Awaitable[object]:
        return patiently(lambda: register.create(keys[number], data))

    def read(number: int) -> Awaitable[object]:
        return patiently(lambda: register.read(keys[number]))

    clock = trial.world.clock
    written = await series(clock, "create", SMALL_BYTES, SERIES, create, at_once=1)
    return written, await series(clock, "read", SMALL_BYTES, written.count, read, at_once=1)
