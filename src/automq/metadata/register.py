"""The register: create, read, delete. All that the metadata log asks of the world below it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol

from automq.objectstore.errors import AlreadyExists, NoBucket, NotFound, StoreError, advice
from automq.objectstore.store import ObjectInfo, ObjectStore
from automq.world import World

log = logging.getLogger(__name__)


class Unsettled(Exception):
    """No answer, or none that says what is so. Repeat: a create with the very same bytes."""


class Unfit(Unsettled):
    """What is asked cannot be a register as it is; an operator must act.

    Whoever asks for the first time is told so; later it is repeated like anything unsettled.
    """


class Unsafe(Unfit):
    """It answers, and what it acknowledges may be lost as it is set up."""


class Register(Protocol):
    """Keys that are created once. Each call is one attempt and may raise Unsettled.

    Of any number of creators of a key at most one is answered True. A read that follows a settled
    create sees it. An attempt whose answer was lost may still take effect, much later.
    """

    async def create(self, key: str, data: bytes) -> bool:
        """True: this attempt won. False: the key is there; perhaps an earlier attempt did it."""
        ...

    async def read(self, key: str) -> bytes | None:
        """The bytes, or None: absent *now*, which says nothing about attempts on their way."""
        ...

    async def delete(self, key: str) -> None:
        """The key is absent afterwards; it may have been before."""
        ...

    async def close(self) -> None:
        """Let go of connections. What is on its way may still take effect."""
        ...


class Listed(Protocol):
    """What an audit asks of the place of the metadata log besides; object stores have it."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Every key that starts with `prefix`, by key."""
        ...

    async def delete_many(self, keys: Iterable[str]) -> None:
        """All of them are absent afterwards."""
        ...


class ListedRegister(Register, Listed, Protocol):
    """A register that can be listed."""


class ObjectStoreRegister:
    """A register on an object store that keeps its promise about conditional creates."""

    def __init__(self, store: ObjectStore, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix

    @property
    def store(self) -> ObjectStore:
        return self._store

    async def create(self, key: str, data: bytes) -> bool:
        try:
            await self._store.put_if_absent(self._prefix + key, [data])
        except AlreadyExists:
            return False
        except StoreError as why:
            raise _unsettled(why) from why
        return True

    async def read(self, key: str) -> bytes | None:
        try:
            return bytes(await self._store.get(self._prefix + key))
        except NotFound:
            return None
        except StoreError as why:
            raise _unsettled(why) from why

    async def delete(self, key: str) -> None:
        try:
            await self._store.delete(self._prefix + key)
        except NotFound:
            return
        except StoreError as why:
            raise _unsettled(why) from why

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        try:
            async for info in self._store.list(self._prefix + prefix):
                key = info.key.removeprefix(self._prefix)
                yield ObjectInfo(key, info.size_bytes, info.modified_ms)
        except StoreError as why:
            raise Unsettled(str(why)) from why

    async def delete_many(self, keys: Iterable[str]) -> None:
        try:
            await self._store.delete_many(self._prefix + key for key in keys)
        except StoreError as why:
            raise Unsettled(str(why)) from why

    async def close(self) -> None:
        await self._store.close()


def _unsettled(why: StoreError) -> Unsettled:
    """A bucket that is not there will not come by itself."""
    if isinstance(why, NoBucket):
        return Unfit(f"{why.store}: {advice(why)}")
    return Unsettled(str(why))


@dataclass(frozen=True, slots=True)
class Patience:
    """Pauses between attempts: doubling from the first to the longest, each drawn from its upper
    half. `attempts_max` is for who only looks, and would rather know: None repeats for ever."""

    first_ms: int = 20
    longest_ms: int = 5_000
    attempts_max: int | None = None


class SteadyRegister:
    """A register that repeats until there is an answer, for as long as that takes, or raises the
    last Unsettled if its patience has an end.

    A create is repeated with the same bytes; so False may mean an earlier attempt of one's own, and
    the caller tells by the nonce in the bytes. Raises Unfit, but only as long as nothing worked.
    """

    def __init__(self, register: Register, world: World, patience: Patience | None = None) -> None:
        self._register = register
        self._world = world
        self._patience = Patience() if patience is None else patience
        self._failing = 0
        self._has_worked = False

    async def create(self, key: str, data: bytes) -> bool:
        attempt = 0
        while True:
            try:
                won = await self._register.create(key, data)
            except Unsettled as why:
                attempt = await self._again(attempt, f"create {key}", why)
            else:
                self._works(attempt)
                return won

    async def read(self, key: str) -> bytes | None:
        attempt = 0
        while True:
            try:
                data = await self._register.read(key)
            except Unsettled as why:
                attempt = await self._again(attempt, f"read {key}", why)
            else:
                self._works(attempt)
                return data

    async def delete(self, key: str) -> None:
        attempt = 0
        while True:
            try:
                await self._register.delete(key)
            except Unsettled as why:
                attempt = await self._again(attempt, f"delete {key}", why)
            else:
                self._works(attempt)
                return

    async def close(self) -> None:
        await self._register.close()

    async def pause(self, attempt: int = 0) -> None:
        """Waits before the next attempt, `attempt` counting those that were made."""
        longest_ms = min(self._patience.first_ms << min(attempt, 16), self._patience.longest_ms)
        await asyncio.sleep(longest_ms * self._world.chance.uniform(0.5, 1) / 1000)

    async def _again(self, attempt: int, what: str, why: Unsettled) -> int:
        is_over = attempt + 1 == self._patience.attempts_max
        if is_over or (isinstance(why, Unfit) and not self._has_worked):
            raise why
        # One line when it starts failing (the first repeat is not worth one), one when it works.
        if attempt == 1:
            self._failing += 1
            if self._failing == 1:
                log.warning("the metadata store does not answer: %s: %s", what, why)
        await self.pause(attempt)
        return attempt + 1

    def _works(self, attempt: int) -> None:
        self._has_worked = True
        if attempt > 1:
            self._failing -= 1
            if self._failing == 0:
                log.warning("the metadata store answers again")
