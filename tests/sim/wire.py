"""A process's way to the simulated store and disk: what it has sent goes on without it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from automq._native import Buf
from automq.objectstore import BucketSettings, ObjectInfo
from automq.objectstore.memory import Objects
from automq.objectstore.simulated import SimulatedStore
from automq.objectstore.store import Pieces
from automq.stream.wal import SimulatedDisk, SimulatedWal, WalOptions, WalOwner, WalTaker
from automq.stream.wal.simulated import SimulatedRecovery
from automq.world import Clock
from sim.loop import SimLoop
from sim.trace import Trace

T = TypeVar("T")

EIO = 5
TRIES_WITHIN_S = 15.0
"""What fails is tried again within this time."""


class RecordedObjects(Objects):
    """Objects that remember when each was last written and deleted, for the audit at the end."""

    def __init__(self, clock: Clock, name: str) -> None:
        super().__init__(clock, name)
        self._moment = 0
        self.written: dict[str, int] = {}
        self.deleted: dict[str, int] = {}
        self.overwritten: set[str] = set()
        """Keys of the metadata log that had other bytes before: never, in a store that keeps its
        promise."""

    def put(self, key: str, data: Pieces) -> None:
        if key.startswith("meta/") and key in self._by_key:
            before = bytes(self.get(key))
            if before != b"".join(map(bytes, data)):
                self.overwritten.add(key)
        super().put(key, data)
        self._moment += 1
        self.written[key] = self._moment

    def delete(self, keys: Iterable[str]) -> None:
        all_keys = list(keys)
        super().delete(all_keys)
        self._moment += 1
        self.deleted.update(dict.fromkeys(all_keys, self._moment))

    def came_late(self, key: str) -> bool:
        """Whether it was written after it was deleted: by a request that was long under way."""
        return self.deleted.get(key, 0) > 0 and self.written[key] > self.deleted[key]


class Uploads:
    """When data were stored, and when that failed: whether a node that stops could upload."""

    def __init__(self) -> None:
        self._stored_s = self._refused_s = float("-inf")

    def note(self, now_s: float, *, is_stored: bool) -> None:
        if is_stored:
            self._stored_s = now_s
        else:
            self._refused_s = now_s

    def were_refused(self, now_s: float, for_s: float) -> bool:
        """Whether nothing was stored for so long, although somebody tried until the end of it."""
        return self._stored_s < now_s - for_s and self._refused_s > now_s - TRIES_WITHIN_S


class StoreWire:
    """One process's `ObjectStore`. A request that was sent is served even if its sender dies."""

    def __init__(
        self,
        store: SimulatedStore,
        loop: SimLoop,
        who: str,
        trace: Trace,
        uploads: Uploads | None = None,
    ) -> None:
        self._uploads = Uploads() if uploads is None else uploads
        self._store = store
        self._loop = loop
        self._who = who
        self._trace = trace

    @property
    def name(self) -> str:
        return self._store.name

    async def put(self, key: str, data: Pieces) -> None:
        is_stored = False
        try:
            await self._call("put", key, lambda: self._store.put(key, data))
            is_stored = True
        finally:
            if key.startswith("data/"):
                self._uploads.note(self._loop.time(), is_stored=is_stored)

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        await self._call("create", key, lambda: self._store.put_if_absent(key, data))

    async def get(self, key: str) -> Buf:
        return await self._call("get", key, lambda: self._store.get(key))

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return await self._call("get", key, lambda: self._store.get_range(key, start, end))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        return await self._call("get", key, lambda: self._store.get_ranges(key, ranges))

    async def head(self, key: str) -> ObjectInfo:
        return await self._call("head", key, lambda: self._store.head(key))

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        async def all_of_it() -> list[ObjectInfo]:
            return [known async for known in self._store.list(prefix, after=after)]

        for known in await self._call("list", prefix, all_of_it):
            yield known

    async def delete(self, key: str) -> None:
        await self._call("delete", key, lambda: self._store.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> None:
        all_keys = list(keys)
        first = all_keys[0] if all_keys else ""
        await self._call("delete", first, lambda: self._store.delete_many(all_keys))

    async def copy(self, source: str, target: str) -> None:
        await self._call("copy", source, lambda: self._store.copy(source, target))

    async def settings(self) -> BucketSettings:
        """At once: a new store asks this once, and no seed is about it."""
        return await self._store.memory.settings()

    async def close(self) -> None:
        """The store stays."""

    async def _call(
        self, operation: str, key: str, make: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        answer = self._loop.create_future()

        async def carry() -> None:
            try:
                result = await make()
            except Exception as error:
                self._trace.note(self._who, f"{operation} {key}: {type(error).__name__}")
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()
            else:
                self._trace.note(self._who, f"{operation} {key}")
                if not answer.done():
                    answer.set_result(result)

        self._loop.spawn(carry(), f"{operation} {key}")
        result: T = await answer
        return result


class DiskView:
    """The disk as one process has it attached. Once it is attached elsewhere, nothing works."""

    is_shared = False

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._opened: list[int] = []
        self.is_attached = True

    async def open(
        self, *, wal_id: int, node_id: int, cluster_id: bytes, options: WalOptions
    ) -> SimulatedWal:
        self._check()
        wal = await self._disk.open(
            wal_id=wal_id, node_id=node_id, cluster_id=cluster_id, options=options
        )
        self._opened.append(wal_id)
        return wal

    def recover(
        self,
        *,
        wal_id: int,
        start: int,
        cluster_id: bytes | None = None,
        taker: WalTaker | None = None,
    ) -> SimulatedRecovery:
        self._check()
        return self._disk.recover(wal_id=wal_id, start=start, cluster_id=cluster_id, taker=taker)

    async def holds(self, wal_id: int) -> bool:
        self._check()
        return await self._disk.holds(wal_id)

    async def remove(self, wal_id: int) -> bool:
        self._check()
        return await self._disk.remove(wal_id)

    async def wal_ids(self) -> list[int]:
        self._check()
        return await self._disk.wal_ids()

    async def owner_of(self, wal_id: int) -> WalOwner | None:
        self._check()
        return await self._disk.owner_of(wal_id)

    def crash(self) -> None:
        """The process died, or the machine did: what was not synced may be lost."""
        if self.is_attached:
            for wal_id in self._opened:
                if wal_id in self._disk.ids:
                    self._disk.crash(wal_id)

    def detach(self) -> None:
        """The disk goes to another machine: what this one writes from now on fails."""
        if self.is_attached:
            self.is_attached = False
            for wal_id in self._opened:
                if wal_id in self._disk.ids:
                    self._disk.detach(wal_id)

    def _check(self) -> None:
        if not self.is_attached:
            raise OSError(EIO, "the disk is attached to another machine")
