"""Creating and reading the objects of one WAL: what both its owner and its taker rest on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from automq._native import (
    WAL_OBJECT_HEADER_BYTES,
    Buf,
    WalBatch,
    WalDamaged,
    WalForeign,
    WalObject,
    wal_object_header,
)
from automq.objectstore import AlreadyExists, Corrupt, NotFound, Retrying
from automq.objectstore.looking import PATIENCE, PAUSE_S, SecondLook, StaysAway
from automq.stream.wal.object_keys import mark_key, number_of, wal_key, wal_prefix
from automq.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from automq._native import WalObjectKind


@dataclass(frozen=True, slots=True)
class Broken:
    """Something is stored under a number, and it cannot be read."""

    why: str


class WalObjects:
    """The objects of one WAL."""

    def __init__(self, store: Retrying, world: World, cluster_id: bytes, wal_id: int) -> None:
        self._store = store
        self._world = world
        self.cluster_id = cluster_id
        self.wal_id = wal_id
        self.mark_key = mark_key(cluster_id, wal_id)
        self._begun: WalObject | None = None

    @property
    def name(self) -> str:
        """What messages call this WAL."""
        return f"{self._store.name}: {wal_prefix(self.cluster_id, self.wal_id)}"

    def key(self, number: int) -> str:
        return wal_key(self.cluster_id, self.wal_id, number)

    async def stored(self, *, above: int = -1) -> list[int]:
        """The numbers above `above` under which the store lists something, in order."""
        prefix = wal_prefix(self.cluster_id, self.wal_id)
        after = self.key(above) if above >= 0 else None
        numbers = [number_of(it.key) async for it in self._store.list(prefix, after=after)]
        return sorted(number for number in numbers if number is not None)

    async def headers(self, numbers: Iterable[int]) -> list[WalObject | Broken | None]:
        """What is under each of some numbers, all asked for at once."""
        return await asyncio.gather(*(self.header(self.key(number)) for number in numbers))

    def nonce(self) -> bytes:
        """Tells one creation of an object from every other."""
        return self._world.chance.randbytes(16)

    async def create(self, key: str, pieces: list[Buf], nonce: bytes) -> WalObject | Broken | None:
        """Create an object, however long it takes: None if it is ours, else what is there.

        Invariant (HAZARDS 6): the bytes are the same in every attempt and carry a nonce, and only
        the store's word ends it: it took them, or it holds an object whose nonce is ours, or it is
        not. A 404 after "exists" is no verdict.
        """
        attempt = 0
        while True:
            try:
                await self._store.create_until_settled(key, pieces)
            except AlreadyExists:
                found = await self.header(key)
                if found is not None:
                    return None if isinstance(found, WalObject) and found.nonce == nonce else found
                await asyncio.sleep(PAUSE_S * 2 ** min(attempt, PATIENCE))
                attempt += 1
            else:
                return None

    async def mark(
        self, kind: WalObjectKind, number: int, node_id: int, node_epoch: int
    ) -> WalObject | Broken | None:
        """Create a mark without records, as `create` does."""
        nonce = self.nonce()
        pieces = WalBatch().encode(
            kind,
            wal_id=self.wal_id,
            number=number,
            cluster_id=self.cluster_id,
            nonce=nonce,
            node_id=node_id,
            node_epoch=node_epoch,
        )
        key = self.mark_key if kind == "begin" else self.key(number)
        return await self.create(key, pieces, nonce)

    async def header(self, key: str) -> WalObject | Broken | None:
        """What is under a key; None if nothing is. Raises WalForeign, WalUnsupported."""
        try:
            found = wal_object_header(await self._store.get_range(key, 0, WAL_OBJECT_HEADER_BYTES))
        except NotFound:
            return None
        except (Corrupt, WalDamaged) as error:
            return Broken(str(error))
        self.check(key, found)
        return found

    def check(self, key: str, found: WalObject) -> None:
        """Raises WalForeign unless an object says that it is this WAL's."""
        if (found.cluster_id, found.wal_id) != (self.cluster_id, self.wal_id):
            raise WalForeign(
                f"{self._store.name}: {key} belongs to WAL {found.wal_id} of cluster "
                f"{found.cluster_id.hex()}"
            )

    async def begin(self) -> WalObject | None:
        """The begin mark, asked for more than once; None if there is none. Raises WalDamaged.

        Once it was seen it is not read again: it never changes, and a WAL that somebody else has
        removed meanwhile has its fence.
        """
        if self._begun is not None:
            return self._begun
        for attempt in range(3):
            found = await self.header(self.mark_key)
            if isinstance(found, Broken):
                raise WalDamaged(f"{self._store.name}: {self.mark_key}: {found.why}")
            if found is not None:
                self._begun = found
                return found
            await asyncio.sleep(PAUSE_S * attempt)
        return None

    async def must_get(self, number: int) -> Buf:
        """A whole object that has to be there. Raises WalDamaged if it stays away."""
        key = self.key(number)
        try:
            found: Buf | None = await SecondLook().find(partial(self._store.get, key))
        except StaysAway:
            why = f"{self._store.name}: {key} is missing, and the log goes on behind it"
            raise WalDamaged(why) from None
        assert found is not None, key
        return found
