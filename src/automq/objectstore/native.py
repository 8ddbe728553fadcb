"""Stores that the native core serves: a local directory, S3.

The native side queues completions and makes a file descriptor readable once for all that wait; one
callback of the event loop then resolves their futures together. No foreign thread enters Python.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import count, islice
from typing import Any, TypeAlias

from automq._native import BlobError, BlobStore, Buf
from automq.objectstore import errors
from automq.objectstore.errors import NotAllDeleted, StoreError
from automq.objectstore.settings import Answer, BucketSettings
from automq.objectstore.store import DELETE_KEYS_MAX, ObjectInfo, Pieces

REQUESTS_INFLIGHT_MAX = 128
"""More calls than this wait for their turn: each request to S3 is a connection."""


_Page: TypeAlias = tuple[list[tuple[str, int, int]], str | None]


class _Ended(Exception):
    """How a native operation failed: (name of the exception, message)."""


class NativeStore:
    """An `ObjectStore` over a native one. Made by `uri.open_store`."""

    def __init__(self, native: BlobStore, name: str) -> None:
        self._native = native
        self._name = name
        self._tokens = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._turn = asyncio.Semaphore(REQUESTS_INFLIGHT_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def authority(self) -> str | None:
        """Host, and port if it is not the usual one, of the server; None for a directory."""
        return self._native.authority

    async def put(self, key: str, data: Pieces) -> None:
        await self._call("put", key, lambda token: self._native.put(token, key, data))

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        await self._call("create", key, lambda token: self._native.create(token, key, data))

    async def get(self, key: str) -> Buf:
        data: Buf = await self._call("get", key, lambda token: self._native.get(token, key))
        return data

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return (await self.get_ranges(key, [(start, end)]))[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        bufs: list[Buf] = await self._call(
            "get", key, lambda token: self._native.get_ranges(token, key, ranges)
        )
        return bufs

    async def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(
            *await self._call("head", key, lambda token: self._native.head(token, key))
        )

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        page: str | None = None
        while True:
            objects, page = await self._list_page(prefix, after, page)
            for known in objects:
                yield ObjectInfo(*known)
            if page is None:
                return

    async def delete(self, key: str) -> None:
        for failure in (await self._delete_some([key])).values():
            raise failure

    async def delete_many(self, keys: Iterable[str]) -> None:
        left = iter(keys)
        failures: dict[str, StoreError] = {}
        while some := list(islice(left, DELETE_KEYS_MAX)):
            failures |= await self._delete_some(some)
        if failures:
            raise NotAllDeleted(self._name, failures)

    async def copy(self, source: str, target: str) -> None:
        await self._call("copy", source, lambda token: self._native.copy(token, source, target))

    async def settings(self) -> BucketSettings:
        told: tuple[str, list[tuple[str, str | None, str]]]
        told = await self._call("settings", "", self._native.settings)
        prefix, answers = told
        by_question = {it[0]: self._answer(*it) for it in answers}
        return BucketSettings(prefix, by_question, is_bucket=self.authority is not None)

    async def close(self) -> None:
        self._closed = True
        if self._loop is not None:
            self._loop.remove_reader(self._native.fileno())
            self._loop = None
        for token, future in self._waiting.items():
            self._native.cancel(token)
            if not future.done():
                future.set_exception(_Ended("OutcomeUnknown", "the store was closed meanwhile"))
        self._waiting.clear()

    async def _delete_some(self, keys: Sequence[str]) -> dict[str, StoreError]:
        """Why those that failed did."""
        subject = keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
        failed: list[tuple[str, str, str]] = await self._call(
            "delete", subject, lambda token: self._native.delete(token, keys)
        )
        return {key: self._failure("delete", key, kind, why) for key, kind, why in failed}

    async def _list_page(self, prefix: str, after: str | None, page: str | None) -> _Page:
        answer: _Page = await self._call(
            "list", prefix, lambda token: self._native.list(token, prefix, after, page)
        )
        return answer

    async def _call(self, operation: str, key: str, begin: Callable[[int], None]) -> Any:
        """Begin a native operation and wait for its completion. Cancelled, it is forgotten."""
        async with self._turn:
            loop = self._watching_loop()
            token = next(self._tokens)
            future = self._waiting[token] = loop.create_future()
            try:
                begin(token)
                return await future
            except BlobError as refused:
                raise self._error(operation, key, *refused.args) from None
            except _Ended as ended:
                raise self._error(operation, key, *ended.args) from None
            finally:
                if self._waiting.pop(token, None) is not None:
                    self._native.cancel(token)

    def _watching_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError(f"{self._name} is closed")
        if self._loop is None:
            loop.add_reader(self._native.fileno(), self._resolve)
            self._loop = loop
        assert self._loop is loop, f"{self._name} belongs to another event loop"
        return loop

    def _resolve(self) -> None:
        """Resolve every future whose operation has completed; some are of calls given up."""
        for token, failed, answer in self._native.drain():
            future = self._waiting.pop(token, None)
            if future is None or future.done():
                continue
            if failed is None:
                future.set_result(answer)
            else:
                future.set_exception(_Ended(failed, answer))

    def _answer(self, question: str, kind: str | None, text: str) -> Answer:
        if kind is None:
            return text
        return None if kind == "NotFound" else self._failure(question, "", kind, text)

    def _error(self, operation: str, key: str, kind: str, why: str) -> Exception:
        if kind == "Invalid":
            return ValueError(f"{operation} in {self._name}: {why}")
        return self._failure(operation, key, kind, why)

    def _failure(self, operation: str, key: str, kind: str, why: str) -> StoreError:
        error: type[StoreError] = getattr(errors, kind)
        return error(operation, self._name, key, why)
