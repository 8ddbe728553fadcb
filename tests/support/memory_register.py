"""A register in memory, with the faults of real ones on request."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from automq.metadata.register import Unsettled
from automq.objectstore import ObjectInfo


@dataclass(frozen=True, slots=True)
class Faults:
    """How often (0 to 1) what goes wrong.

    `lost`: applied, the answer lost. `late`: the answer lost, applied at some later moment.
    `refused`: not applied, no verdict. `pause`: extra turns of the loop before and after, at most.
    """

    lost: float = 0.0
    late: float = 0.0
    refused: float = 0.0
    pause: int = 0


NO_FAULTS = Faults()


@dataclass(slots=True)
class MemoryRegister:
    """What several registers share: one store. Each `Wire` to it has faults of its own."""

    data: dict[str, bytes] = field(default_factory=dict)
    under_way: list[Callable[[], object]] = field(default_factory=list)
    """Writes whose answer was lost and that have not landed yet."""

    async def create(self, key: str, data: bytes) -> bool:
        return self.create_now(key, data)

    async def read(self, key: str) -> bytes | None:
        return self.data.get(key)

    async def delete(self, key: str) -> None:
        self.data.pop(key, None)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        for key in sorted(self.data):
            if key.startswith(prefix):
                yield ObjectInfo(key, len(self.data[key]), 0)

    async def delete_many(self, keys: Iterable[str]) -> None:
        for key in tuple(keys):
            self.data.pop(key, None)

    async def close(self) -> None:
        """The data stay."""

    def create_now(self, key: str, data: bytes) -> bool:
        """The atomic step of `create`."""
        return self.data.setdefault(key, data) is data

    def land(self, chance: random.Random) -> None:
        """Lets one of the late writes take effect."""
        if self.under_way:
            self.under_way.pop(chance.randrange(len(self.under_way)))()


class Wire:
    """One client's way to a `MemoryRegister`."""

    def __init__(
        self, store: MemoryRegister, chance: random.Random, faults: Faults = NO_FAULTS
    ) -> None:
        self._store = store
        self._chance = chance
        self.faults = faults

    async def create(self, key: str, data: bytes) -> bool:
        # A copy of its own: `create_now` tells the winner by identity.
        data = bytes(bytearray(data))
        return await self._write(lambda: self._store.create_now(key, data))

    async def delete(self, key: str) -> None:
        await self._write(lambda: self._store.data.pop(key, None) is None)

    async def read(self, key: str) -> bytes | None:
        await self._turns()
        if self._chance.random() < self.faults.refused:
            raise Unsettled(f"read {key}: refused")
        data = self._store.data.get(key)
        await self._turns()
        return data

    async def close(self) -> None:
        """The store stays."""

    async def _write(self, effect: Callable[[], bool]) -> bool:
        try:
            await self._turns()
        except asyncio.CancelledError:
            # Whoever asked is gone; what it sent may be on its way all the same.
            if self._chance.random() < self.faults.late:
                self._store.under_way.append(effect)
            raise
        faults, draw = self.faults, self._chance.random()
        if draw < faults.late:
            self._store.under_way.append(effect)
            raise Unsettled("the answer was lost")
        draw -= faults.late
        if draw < faults.refused:
            raise Unsettled("refused")
        draw -= faults.refused
        done = effect()
        await self._turns()
        if draw < faults.lost:
            raise Unsettled("the answer was lost")
        return done

    async def _turns(self) -> None:
        for _ in range(self._chance.randint(0, self.faults.pause)):
            await asyncio.sleep(0)
