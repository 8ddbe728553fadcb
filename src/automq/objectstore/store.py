"""The interface of every object store."""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from automq._native import BLOB_MULTIPART_BYTES, BLOB_PART_BYTES, Buf
from automq.objectstore.settings import BucketSettings

KEY_BYTES_MAX = 1024
SEGMENT_BYTES_MAX = 255
MULTIPART_BYTES = BLOB_MULTIPART_BYTES
"""An object larger than this is put in parts..."""
PART_BYTES = BLOB_PART_BYTES
"""...of this size."""
COALESCE_BYTES = 1 << 20
"""Reading this much too much is cheaper than another request. The `object_store` crate's."""
DELETE_KEYS_MAX = 1000
"""What one request may delete (S3's and OSS's limit)."""
LIST_KEYS_MAX = 1000
"""What one answer may list."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Pieces: TypeAlias = Sequence[Buf | bytes]
"""An object's bytes, in pieces: never joined on the way, so that nothing is copied."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    key: str
    size_bytes: int
    modified_ms: int
    """By the store's own clock: for people to read, never to decide by."""


class ObjectStore(Protocol):
    """Objects by key: written whole, read in ranges, never changed in place.

    A key is 1 to 1,024 bytes of UTF-8 in segments of 1 to 255, divided by `/`; none starts with a
    dot, none is empty, and no key is a folder of another. What breaks that, and an empty range, is
    the caller's mistake: ValueError.

    Every call is one attempt; `retry.Retrying` repeats what may be repeated. A call may be
    cancelled at any time; a write that was cancelled is applied, or will be, or never. All calls of
    a store belong to one event loop. Errors are those of `objectstore.errors`, and any call may
    raise Throttled, Unavailable, Denied or OutcomeUnknown.
    """

    @property
    def name(self) -> str:
        """What messages call this store: its URI, without secrets."""
        ...

    async def put(self, key: str, data: Pieces) -> None:
        """Write the object, in place of an older one. Durable when it returns.

        Network stores take more than `MULTIPART_BYTES` in parts, several at once, which are given
        up when one fails; the object appears when the last is there.
        """
        ...

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        """Write the object unless the key has one: returning is having won. Sent exactly once.

        Of any number of callers at most one returns. AlreadyExists is a verdict as durable as
        winning; TryAgain, Throttled, Unavailable and Denied mean that nothing was applied;
        OutcomeUnknown means neither. Nothing below this call repeats it, or cuts it into parts.
        """
        ...

    async def get(self, key: str) -> Buf:
        """The whole object. Raises NotFound."""
        ...

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        """The bytes of `[start, end)`, all of them. Raises NotFound, Corrupt (it ends before)."""
        ...

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        """Several ranges of one object, in the order asked for.

        Those not further apart than `COALESCE_BYTES` share a request; the others run side by side.
        """
        ...

    async def head(self, key: str) -> ObjectInfo:
        """What is known of the object. Raises NotFound."""
        ...

    def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        """The objects whose key starts with the string `prefix` (and is greater than `after`).

        In the order of the keys' UTF-8 bytes. Objects written or deleted meanwhile may be missed or
        shown.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; a missing one is fine. May come undone by a crash of the machine."""
        ...

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Remove the objects, up to `DELETE_KEYS_MAX` a request; missing ones are fine.

        Raises NotAllDeleted, which names what failed; after any other error some may be gone.
        """
        ...

    async def copy(self, source: str, target: str) -> None:
        """Write what `source` holds as `target`, in place of an older object. Raises NotFound.

        Network stores do it without sending the bytes through us, up to 5 GiB.
        """
        ...

    async def settings(self) -> BucketSettings:
        """What is set for the bucket as a whole. Asked when a store is new, not while one works.

        What the store does not tell is no error: `BucketSettings` says so when it is asked.
        """
        ...

    async def close(self) -> None:
        """Give up what is in flight and let go of everything. Further calls fail."""
        ...


def check_key(key: str) -> None:
    """Raise ValueError for a key that some store cannot hold."""
    if not 1 <= len(key.encode()) <= KEY_BYTES_MAX:
        raise ValueError(f"key {key[:64]!r}: not 1 to {KEY_BYTES_MAX} bytes long")
    if _CONTROL.search(key):
        raise ValueError(f"key {key!r}: has a control character")
    for segment in key.split("/"):
        if not segment:
            raise ValueError(f"key {key!r}: has an empty segment (a leading, trailing or double /)")
        if segment.startswith("."):
            raise ValueError(f"key {key!r}: has a segment that starts with a dot")
        if len(segment.encode()) > SEGMENT_BYTES_MAX:
            raise ValueError(f"key {key!r}: has a segment of over {SEGMENT_BYTES_MAX} bytes")


def check_prefix(prefix: str) -> None:
    """Raise ValueError for what no key can start with."""
    if prefix:
        check_key(prefix.removesuffix("/"))


def check_range(start: int, end: int) -> None:
    """Raise ValueError for a range that is empty or backwards."""
    if not 0 <= start < end:
        raise ValueError(f"range [{start}, {end}) is empty or backwards")
