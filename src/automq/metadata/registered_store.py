"""Objects whose names are taken in a register: for stores that do not create if absent.

The write-ahead log in an object store needs of its store what the metadata log needs of its
register. Here the register decides who has a key, and the store only keeps the bytes: they are put
under a name that carries their digest, which nobody else can have written, and then the key is
created in the register as a row that holds the name. What is small is in the row itself.
"""

import hashlib
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from automq._native import Buf
from automq.metadata.register import ListedRegister, Unsettled
from automq.objectstore import (
    AlreadyExists,
    Corrupt,
    NotFound,
    ObjectInfo,
    ObjectStore,
    OutcomeUnknown,
    Pieces,
    Unavailable,
)
from automq.objectstore.settings import BucketSettings

INLINE_BYTES: Final = 1_024
"""What is not larger is in the row: marks, which are read far more often than they are written."""

_DIGEST_BYTES: Final = 16
_HEADER: Final = struct.Struct(">hbq16s")
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Row:
    """What the register holds under a key: the bytes, or what tells their object."""

    size_bytes: int
    digest: bytes
    data: bytes | None

    @staticmethod
    def of(body: bytes) -> "Row":
        digest = hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
        return Row(len(body), digest, body if len(body) <= INLINE_BYTES else None)

    def encode(self) -> bytes:
        inline = b"" if self.data is None else self.data
        return _HEADER.pack(_FORMAT, self.data is not None, self.size_bytes, self.digest) + inline

    @staticmethod
    def decode(stored: bytes, store: str, key: str) -> "Row":
        """Raises Corrupt."""
        if len(stored) >= _HEADER.size:
            layout, is_inline, size_bytes, digest = _HEADER.unpack_from(stored)
            data = stored[_HEADER.size :] if is_inline else None
            if layout == _FORMAT and (data is None or Row.of(data).digest == digest):
                return Row(size_bytes, digest, data)
        raise Corrupt("get", store, key, f"its row of {len(stored)} bytes is damaged")

    def name(self, key: str) -> str:
        """Where the object is. The bytes carry a nonce, so nobody can guess their digest."""
        return f"{key}-{self.digest.hex()}"


class RegisteredStore:
    """An `ObjectStore` for keys that are created once and never written again.

    Invariant: the row is created after its object was stored, and deleted after it: so a key that
    exists can be read, and of any number of creators one wins, because one wins its row. Repeated
    with the same bytes, a create writes the same object and the same row.
    """

    def __init__(self, store: ObjectStore, register: ListedRegister) -> None:
        self._store = store
        self._register = register

    @property
    def name(self) -> str:
        return f"{self._store.name} (by the register)"

    async def put(self, key: str, data: Pieces) -> None:
        """Refused: what is registered is never written again."""
        raise AssertionError(f"put {key}: a registered key is created, once")

    async def copy(self, source: str, target: str) -> None:
        """Refused, as `put` is."""
        raise AssertionError(f"copy {source}: a registered key is created, once")

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        body = b"".join(map(bytes, data))
        row = Row.of(body)
        if row.data is None:
            await self._store.put(row.name(key), [body])
        with self._in_store_words("create", key, OutcomeUnknown):
            won = await self._register.create(key, row.encode())
        if won:
            return
        if row.data is None and await self._is_of_another(key, row):
            await self._store.delete(row.name(key))
        raise AlreadyExists("create", self.name, key, "the register has the key")

    async def get(self, key: str) -> Buf:
        row = await self._row("get", key)
        if row.data is not None:
            return Buf(row.data)
        body = await self._store.get(row.name(key))
        if Row.of(bytes(body)).digest != row.digest:
            raise Corrupt("get", self.name, key, "its bytes are not those that were registered")
        return body

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return (await self.get_ranges(key, [(start, end)]))[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        row = await self._row("get", key)
        if row.data is None:
            return await self._store.get_ranges(row.name(key), ranges)
        if any(end > row.size_bytes for _, end in ranges):
            raise Corrupt("get", self.name, key, f"it has {row.size_bytes} bytes, not {ranges}")
        return [Buf(row.data).slice(start, end) for start, end in ranges]

    async def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, (await self._row("head", key)).size_bytes, 0)

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        """The keys in the register, and behind the first of them those that only have an object:
        its creator died before it was registered, or lost. They are there to be deleted."""
        with self._in_store_words("list", prefix, Unavailable):
            known = {it.key: it async for it in self._register.list(prefix)}
        if not known:
            return
        first = min(known)
        async for info in self._store.list(prefix):
            key = info.key.rpartition("-")[0]
            if key > first:
                known.setdefault(key, ObjectInfo(key, info.size_bytes, info.modified_ms))
        for key in sorted(known):
            if after is None or key > after:
                yield known[key]

    async def delete(self, key: str) -> None:
        await self.delete_many((key,))

    async def delete_many(self, keys: Iterable[str]) -> None:
        """All objects first, then all rows."""
        some = tuple(keys)
        if not some:
            return
        await self._store.delete_many([name for key in some for name in await self._names(key)])
        with self._in_store_words("delete", some[0], OutcomeUnknown):
            await self._register.delete_many(some)

    async def _names(self, key: str) -> Sequence[str]:
        """The objects of a key: that of its row, or all that were never registered."""
        try:
            row = await self._row("delete", key)
        except NotFound:
            return [it.key async for it in self._store.list(f"{key}-")]
        return [row.name(key)] if row.data is None else []

    async def settings(self) -> BucketSettings:
        """Those of the store."""
        return await self._store.settings()

    async def close(self) -> None:
        """The store's own. The register is whose it was."""
        await self._store.close()

    async def _is_of_another(self, key: str, row: Row) -> bool:
        try:
            return (await self._row("create", key)).digest != row.digest
        except NotFound:
            # Deleted meanwhile, or no verdict: what may be the winner's is not deleted here.
            return False

    async def _row(self, operation: str, key: str) -> Row:
        with self._in_store_words(operation, key, Unavailable):
            stored = await self._register.read(key)
        if stored is None:
            raise NotFound(operation, self.name, key, "the register does not have it")
        return Row.decode(stored, self.name, key)

    @contextmanager
    def _in_store_words(
        self, operation: str, key: str, error: type[OutcomeUnknown] | type[Unavailable]
    ) -> Iterator[None]:
        try:
            yield
        except Unsettled as why:
            raise error(operation, self.name, key, str(why)) from why
