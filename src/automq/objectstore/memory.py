"""`memory://`: objects in this process, gone with it. For tests and a first look."""

from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Iterable, Sequence

from automq._native import Buf
from automq.objectstore.errors import AlreadyExists, Corrupt, NotFound
from automq.objectstore.settings import BucketSettings
from automq.objectstore.store import ObjectInfo, Pieces, check_key, check_prefix, check_range
from automq.world import Clock


class Objects:
    """What a store holds, and what each operation does to it at once. Raises as a store does."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._by_key: dict[str, tuple[Buf, int]] = {}
        self._order: list[bytes] = []

    def put(self, key: str, data: Pieces) -> None:
        check_key(key)
        if key not in self._by_key:
            insort(self._order, key.encode())
        self._by_key[key] = (Buf(b"".join(map(bytes, data))), self._clock.now_ms())

    def create(self, key: str, data: Pieces) -> None:
        if key in self._by_key:
            raise AlreadyExists("create", self._name, key, "the key has an object")
        self.put(key, data)

    def get(self, key: str) -> Buf:
        return self._known("get", key)[0]

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        for start, end in ranges:
            check_range(start, end)
        body = self.get(key)
        for start, end in ranges:
            if end > len(body):
                why = f"asked for [{start}, {end}) of {len(body)} bytes"
                raise Corrupt("get", self._name, key, why)
        return [body.slice(start, end) for start, end in ranges]

    def head(self, key: str) -> ObjectInfo:
        body, modified_ms = self._known("head", key)
        return ObjectInfo(key, len(body), modified_ms)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            check_key(key)
            if self._by_key.pop(key, None) is not None:
                del self._order[bisect_left(self._order, key.encode())]

    def copy(self, source: str, target: str) -> None:
        check_key(target)
        self.put(target, [self._known("copy", source)[0]])

    def list(self, prefix: str, after: str | None) -> Sequence[ObjectInfo]:
        check_prefix(prefix)
        start = max(prefix.encode(), b"" if after is None else after.encode() + b"\0")
        found = []
        for encoded in self._order[bisect_left(self._order, start) :]:
            key = encoded.decode()
            if not key.startswith(prefix):
                break
            found.append(self.head(key))
        return found

    def _known(self, operation: str, key: str) -> tuple[Buf, int]:
        check_key(key)
        if key not in self._by_key:
            raise NotFound(operation, self._name, key, "no such object")
        return self._by_key[key]


class MemoryStore:
    """An `ObjectStore` in a dict. Each call is atomic: it ends before anything else runs."""

    def __init__(self, clock: Clock, name: str = "memory://") -> None:
        self._name = name
        self.objects = Objects(clock, name)
        self.bucket = BucketSettings(is_bucket=False)

    @property
    def name(self) -> str:
        return self._name

    async def put(self, key: str, data: Pieces) -> None:
        self.objects.put(key, data)

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        self.objects.create(key, data)

    async def get(self, key: str) -> Buf:
        return self.objects.get(key)

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return self.objects.get_ranges(key, [(start, end)])[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        return self.objects.get_ranges(key, ranges)

    async def head(self, key: str) -> ObjectInfo:
        return self.objects.head(key)

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        for known in self.objects.list(prefix, after):
            yield known

    async def delete(self, key: str) -> None:
        self.objects.delete([key])

    async def delete_many(self, keys: Iterable[str]) -> None:
        self.objects.delete(keys)

    async def copy(self, source: str, target: str) -> None:
        self.objects.copy(source, target)

    async def settings(self) -> BucketSettings:
        return self.bucket

    async def close(self) -> None:
        """Nothing to let go of: the objects stay with this value."""
