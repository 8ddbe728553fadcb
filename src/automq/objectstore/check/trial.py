"""What a check works with: a store by each of its addresses, and a prefix of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from automq.objectstore.errors import (
    AlreadyExists,
    NotAllDeleted,
    OutcomeUnknown,
    Throttled,
    TryAgain,
    Unavailable,
)
from automq.objectstore.store import ObjectStore
from automq.world import World

T = TypeVar("T")

PREFIX = "check"
"""Of the keys of all checks: nothing else writes here."""
PAUSES_S = (0.1, 0.3, 1.0, 2.0)
CLEANINGS_MAX = 5
PASSING = (NotAllDeleted, OutcomeUnknown, Throttled, TryAgain, Unavailable)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of the first attempt that has one; a few are made, over some seconds."""
    for pause_s in PAUSES_S:
        try:
            return await call()
        except PASSING:
            await asyncio.sleep(pause_s)
    return await call()


class Trial:
    """The store under test. Each call of `stores` is one attempt through one address."""

    def __init__(self, stores: Sequence[ObjectStore], world: World) -> None:
        assert stores, "a store has an address"
        self.stores = stores
        self.world = world
        self.prefix = f"{PREFIX}/{world.new_uuid().hex()}"
        self._written: set[str] = set()

    def by(self, number: int) -> ObjectStore:
        """The store through one of its addresses, in turn."""
        return self.stores[number % len(self.stores)]

    def key(self, name: str) -> str:
        """A key below the prefix, noted for `clean`."""
        key = f"{self.prefix}/{name}"
        self._written.add(key)
        return key

    async def put(self, key: str, data: bytes, *, by: int = 0) -> None:
        await patiently(lambda: self.by(by).put(key, [data]))

    async def get(self, key: str, *, by: int = 0) -> bytes:
        return bytes(await patiently(lambda: self.by(by).get(key)))

    async def create(self, key: str, data: bytes, *, by: int = 0) -> bool:
        """Whether this creator won, by the rule of the metadata log: the same bytes are sent until
        there is a verdict, and a loser is a winner if it finds its own bytes.

        `data` is nobody else's. Raises NotFound if a loser finds nothing.
        """
        try:
            await patiently(lambda: self.by(by).put_if_absent(key, [data]))
        except AlreadyExists:
            return await self.get(key, by=by) == data
        return True

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        return bytes(await patiently(lambda: self.by(1).get_range(key, start, end)))

    async def list(self, folder: str, *, after: str | None = None) -> list[str]:
        """The keys below a folder of the prefix; "" is all of it."""
        whole = f"{self.prefix}/{folder}"

        async def listed() -> list[str]:
            return [known.key async for known in self.by(0).list(whole, after=after)]

        return await patiently(listed)

    async def delete(self, keys: Sequence[str]) -> None:
        await patiently(lambda: self.by(0).delete_many(keys))

    async def delete_written(self) -> None:
        """Delete what was written, by its keys."""
        await self.delete(sorted(self._written))
        self._written.clear()

    async def clean(self) -> None:
        """Delete what was written, and what the store still lists after that."""
        await self.delete_written()
        for _ in range(CLEANINGS_MAX):
            left = await self.list("")
            if not left:
                return
            await self.delete(left)
