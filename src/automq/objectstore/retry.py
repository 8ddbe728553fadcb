"""Repeating what may be repeated, for as long as it takes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from copy import copy
from typing import TypeVar

from automq._native import Buf
from automq.objectstore.counting import Counted
from automq.objectstore.errors import (
    Denied,
    NotAllDeleted,
    OutcomeUnknown,
    StoreError,
    Throttled,
    TryAgain,
    Unavailable,
)
from automq.objectstore.hedging import Hedged
from automq.objectstore.metrics import READS, StoreMetrics
from automq.objectstore.native import NativeStore
from automq.objectstore.settings import BucketSettings
from automq.objectstore.store import ObjectInfo, ObjectStore, Pieces
from automq.world import World

T = TypeVar("T")

REPEATED = (Denied, NotAllDeleted, OutcomeUnknown, Throttled, TryAgain, Unavailable)
"""Errors that a later attempt may not meet. The others are answers."""
BACKOFF_FIRST_MS = 50.0
BACKOFF_MAX_MS = 5_000.0
DENIED_HEAD_START = 4
"""Doublings: an operator needs longer than a network."""
BUDGET_TOKENS_MAX = 100.0
BUDGET_TOKENS_PER_SUCCESS = 0.1
LOUD_AFTER_FAILURES = 2
"""One lost request is no news; a call that fails twice is."""

log = logging.getLogger(__name__)


class RetryBudget:
    """Prompt retries, as a share of what succeeds: a store in trouble is not asked even more.

    Without tokens a call is still repeated, but only at the longest pause.
    """

    def __init__(self) -> None:
        self._tokens = BUDGET_TOKENS_MAX

    def spend(self) -> bool:
        """Whether a prompt retry is allowed."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def earn(self) -> None:
        """A call succeeded."""
        self._tokens = min(BUDGET_TOKENS_MAX, self._tokens + BUDGET_TOKENS_PER_SUCCESS)


class _Outage:
    """Says once that calls fail and once that they work again, whatever many calls do between."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._troubled = 0
        self._since_ms: float | None = None

    def enter(self, error: StoreError, now_ms: float) -> None:
        self._troubled += 1
        if self._since_ms is None:
            self._since_ms = now_ms
            log.warning("object store fails, repeating until it works: %s", error)

    def leave(self) -> None:
        self._troubled -= 1

    def worked(self, now_ms: float) -> None:
        if self._since_ms is not None and self._troubled == 0:
            seconds = (now_ms - self._since_ms) / 1000
            log.warning("object store works again after %.1f s: %s", seconds, self._store)
            self._since_ms = None


class Retrying:
    """An `ObjectStore` that repeats all but creates until they have an answer, or for a time.

    Pauses grow from 50 ms to 5 s, with jitter. What it raises is what a repetition cannot change
    (NotFound, AlreadyExists, Corrupt) or, with a deadline, the last failure. `put_if_absent` is
    passed on as it is: only its caller knows what a repetition means. See `create_until_settled`.
    """

    def __init__(
        self, store: ObjectStore, world: World, metrics: StoreMetrics | None = None
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = world.clock
        self._chance = world.chance
        self._budget = RetryBudget()
        self._outage = _Outage(store.name)
        self._deadline_ms: float | None = None

    def within(self, deadline_ms: float) -> "Retrying":
        """The same store, each of whose calls ends `deadline_ms` after its start at the latest.

        A call raises its last failure when no further attempt would begin in time. One that is
        still under way at the deadline is given up: OutcomeUnknown for a write, Unavailable for a
        read. Without a deadline a call waits as long as it takes.
        """
        limited = copy(self)
        limited._deadline_ms = deadline_ms
        return limited

    @property
    def name(self) -> str:
        return self._store.name

    async def put(self, key: str, data: Pieces) -> None:
        await self._repeat("put", key, lambda: self._store.put(key, data))

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        await self._in_time("create", key, self._store.put_if_absent(key, data))

    async def create_until_settled(self, key: str, data: Pieces) -> None:
        """Send the same create until it has a verdict: returning is having won.

        AlreadyExists may mean an earlier attempt of this very call, whose answer was lost: read
        the object and compare the nonce in it. Invariant: the bytes are those of the first attempt,
        so whichever attempt is applied, it is this object.
        """
        pieces = tuple(data)
        await self._repeat("create", key, lambda: self._store.put_if_absent(key, pieces))

    async def get(self, key: str) -> Buf:
        return await self._repeat("get", key, lambda: self._store.get(key))

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return await self._repeat("get", key, lambda: self._store.get_range(key, start, end))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        return await self._repeat("get", key, lambda: self._store.get_ranges(key, ranges))

    async def head(self, key: str) -> ObjectInfo:
        return await self._repeat("head", key, lambda: self._store.head(key))

    async def delete(self, key: str) -> None:
        await self._repeat("delete", key, lambda: self._store.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> None:
        """As the store's; what is repeated are the keys that failed."""
        left = tuple(keys)

        async def attempt() -> None:
            nonlocal left
            try:
                await self._store.delete_many(left)
            except NotAllDeleted as error:
                left = tuple(error.failures)
                raise

        await self._repeat("delete", left[0] if left else "", attempt)

    async def copy(self, source: str, target: str) -> None:
        await self._repeat("copy", source, lambda: self._store.copy(source, target))

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        """As the store's; a listing that breaks goes on after the last object it gave."""
        listing = aiter(self._store.list(prefix, after=after))

        async def step() -> ObjectInfo | None:
            nonlocal listing
            try:
                return await anext(listing, None)
            except REPEATED:
                # A generator that has raised is over: the next attempt needs another.
                listing = aiter(self._store.list(prefix, after=after))
                raise

        while (known := await self._repeat("list", prefix, step)) is not None:
            yield known
            after = known.key

    async def settings(self) -> BucketSettings:
        return await self._repeat("settings", "", self._store.settings)

    async def close(self) -> None:
        await self._store.close()

    async def _repeat(self, operation: str, key: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The answer of the first attempt that has one, or the end that the deadline makes."""
        if self._deadline_ms is None:
            return await self._until_answered(operation, attempt)
        return await self._in_time(operation, key, self._until_answered(operation, attempt))

    async def _in_time(self, operation: str, key: str, call: Awaitable[T]) -> T:
        if self._deadline_ms is None:
            return await call
        try:
            async with asyncio.timeout(self._deadline_ms / 1000):
                return await call
        except TimeoutError:
            late = Unavailable if operation in READS else OutcomeUnknown
            why = f"no answer within {self._deadline_ms:.0f} ms"
            raise late(operation, self.name, key, why) from None

    async def _until_answered(self, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
        started_ms = self._clock.monotonic_ms()
        failures = 0
        try:
            while True:
                try:
                    answer = await attempt()
                except REPEATED as error:
                    failures += 1
                    pause_ms = self._pause_ms(failures, error)
                    now_ms = self._clock.monotonic_ms()
                    if failures == LOUD_AFTER_FAILURES:
                        self._outage.enter(error, now_ms)
                    if self._is_late(now_ms + pause_ms - started_ms):
                        raise
                else:
                    break
                await asyncio.sleep(pause_ms / 1000)
                if self._metrics is not None:
                    self._metrics.of(operation).retries += 1
        finally:
            if failures >= LOUD_AFTER_FAILURES:
                self._outage.leave()
        self._budget.earn()
        self._outage.worked(self._clock.monotonic_ms())
        return answer

    def _is_late(self, elapsed_ms: float) -> bool:
        return self._deadline_ms is not None and elapsed_ms > self._deadline_ms

    def _pause_ms(self, failures: int, error: StoreError) -> float:
        doublings = failures - 1 + (DENIED_HEAD_START if isinstance(error, Denied) else 0)
        pause_ms = BACKOFF_MAX_MS
        if self._budget.spend() and doublings < 10:
            pause_ms = min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2**doublings)
        return pause_ms * self._chance.uniform(0.5, 1.0)


def robust(store: ObjectStore, world: World, metrics: StoreMetrics) -> Retrying:
    """`store` as a node uses it: counted, slow reads sent twice, repeated until it works.

    A directory is not asked twice: the same disk would only have more to do.
    """
    counted = Counted(store, world.clock, metrics)
    if isinstance(store, NativeStore) and store.authority is None:
        return Retrying(counted, world, metrics)
    return Retrying(Hedged(counted, world.clock, metrics), world, metrics)
