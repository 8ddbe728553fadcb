"""`memory://`: objects in this process, gone with it. For tests and a first look."""

from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Iterable, Sequence

from automq._native import Buf
from automq.objectstore.errors import AlreadyExists, Corrupt, NotFound
from automq.objectstore.store import ObjectInfo, Pieces, check_key, check_prefix, check_range
from automq.world import Clock


class MemoryStore:
    """An `ObjectStore` in a dict. Each call is atomic: no await between look and write."""

    def __init__(self, clock: Clock, name: str = "memory://") -> None:
        self._clock = clock
        self._name = name
        self._objects: dict[str, tuple[Buf, int]] = {}
        self._order: list[bytes] = []

    @property
    def name(self) -> str:
        return self._name

    async def put(self, key: str, data: Pieces) -> None:
        self._write(key, data)

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        check_key(key)
        if key in self._objects:
            raise AlreadyExists("create", self._name, key, "the key has an object")
        self._write(key, data)

    async def get(self, key: str) -> Buf:
        return self._read("get", key)[0]

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return (await self.get_ranges(key, [(start, end)]))[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        for start, end in ranges:
            check_range(start, end)
        body = self._read("get", key)[0]
        for start, end in ranges:
            if end > len(body):
                why = f"asked for [{start}, {end}) of {len(body)} bytes"
                raise Corrupt("get", self._name, key, why)
        return [body.slice(start, end) for start, end in ranges]

    async def head(self, key: str) -> ObjectInfo:
        body, modified_ms = self._read("head", key)
        return ObjectInfo(key, len(body), modified_ms)

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        start = max(prefix.encode(), b"" if after is None else after.encode() + b"\0")
        keys = self._order[bisect_left(self._order, start) :]
        for key in (encoded.decode() for encoded in keys):
            if not key.startswith(prefix):
                return
            if key in self._objects:
                body, modified_ms = self._objects[key]
                yield ObjectInfo(key, len(body), modified_ms)

    async def delete(self, key: str) -> None:
        check_key(key)
        if self._objects.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key.encode())]

    async def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self.delete(key)

    async def close(self) -> None:
        """Nothing to let go of: the objects stay for whoever opens the store again in a test."""

    def _write(self, key: str, data: Pieces) -> None:
        check_key(key)
        if key not in self._objects:
            insort(self._order, key.encode())
        self._objects[key] = (Buf(b"".join(map(bytes, data))), self._clock.now_ms())

    def _read(self, operation: str, key: str) -> tuple[Buf, int]:
        check_key(key)
        if key not in self._objects:
            raise NotFound(operation, self._name, key, "no such object")
        return self._objects[key]
