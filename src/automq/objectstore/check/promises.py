"""The promises about exclusion and order: the metadata log stands on these."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from automq.objectstore.check.finding import Broken
from automq.objectstore.check.trial import Trial, patiently
from automq.objectstore.errors import AlreadyExists, Denied, NotFound
from automq.world import World

RACERS = 32
ROUNDS = 3
OVERWRITES = 8


class Keyed(Protocol):
    """A trial of a store, or of a register."""

    world: World

    def key(self, name: str) -> str:
        """A key of the trial's own."""
        ...


async def create_twice(trial: Trial) -> str:
    """A key has one creator."""
    key = trial.key("twice")
    await create_and_refuse(trial, key)
    return "the second creator is refused"


async def create_and_refuse(trial: Trial, key: str) -> None:
    """Create `key`, once more by another, and read the first one's bytes. Raises Broken."""
    first, second = trial.world.new_uuid(), trial.world.new_uuid()
    if not await trial.create(key, first):
        raise Broken(f"the only creator of {key} was told that it has lost")
    try:
        await patiently(lambda: trial.by(1).put_if_absent(key, [second]))
    except AlreadyExists:
        pass
    else:
        raise Broken("the second creator was not refused: the store ignores the condition")
    if await trial.get(key) != first:
        raise Broken("the second creator was refused, and its bytes are there")


async def race(trial: Trial) -> str:
    """Of many creators at once exactly one wins, and all readers see that one's bytes."""

    async def create(key: str, data: bytes, by: int) -> bool:
        try:
            return await trial.create(key, data, by=by)
        except NotFound:
            raise Broken("a creator that has lost found no object") from None

    async def read(key: str, by: int) -> bytes:
        return await trial.get(key, by=by)

    return await one_winner_each(trial, create, read, readers=len(trial.stores))


async def one_winner_each(
    trial: Keyed,
    create: Callable[[str, bytes, int], Awaitable[bool]],
    read: Callable[[str, int], Awaitable[bytes | None]],
    *,
    readers: int,
) -> str:
    """The race of whatever has keys that are created once: `create` says whether this creator won,
    `read` what that reader sees. Raises Broken.
    """
    for number in range(ROUNDS):
        key = trial.key(f"race-{number}")
        offers = [trial.world.new_uuid() for _ in range(RACERS)]
        racing = (create(key, data, by) for by, data in enumerate(offers))
        won = await asyncio.gather(*racing)
        winners = [data for data, is_winner in zip(offers, won, strict=True) if is_winner]
        where = f"in round {number + 1} of {ROUNDS}"
        if len(winners) != 1:
            raise Broken(f"{len(winners) or 'none'} of {RACERS} creators at once won, {where}")
        for by in range(readers):
            if await read(key, by) != winners[0]:
                raise Broken(f"a reader found other bytes than the winner's, {where}")
    return f"one winner in each of {ROUNDS} rounds, and everyone reads its bytes"


async def read_after_write(trial: Trial) -> str:
    """What was written, overwritten or deleted is so for every reader, by any address."""
    for number in range(OVERWRITES):
        key = trial.key(f"overwritten-{number // 4}")
        data = trial.world.new_uuid()
        await trial.put(key, data, by=number)
        if await trial.get(key, by=number + 1) != data:
            raise Broken("a read after an overwrite gave the bytes before it")
    await trial.delete([key])
    await expect_absent(trial, key, by=1)
    return "by every reader, after a write, an overwrite and a delete"


async def absent(trial: Trial) -> str:
    """An object that is not there is said to be not there."""
    await expect_absent(trial, f"{trial.prefix}/never-written")
    return "NotFound"


async def expect_absent(trial: Trial, key: str, *, by: int = 0) -> None:
    try:
        await trial.get(key, by=by)
    except NotFound:
        return
    except Denied as error:
        raise Broken(
            f"{error.why}, where 404 is needed: allow listing the bucket (s3:ListBucket), without "
            "which some stores do not say what is missing"
        ) from None
    raise Broken("an object that is not there, or was deleted, was read")
