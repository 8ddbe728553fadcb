"""Deleting keys from a store: in batches, at a limited rate, none for longer than a deadline.

Only *how* is decided here. Whoever calls has proven that nobody can come to need what it names.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from automq.objectstore import ObjectStore, StoreError, Unavailable
from automq.objectstore.errors import NotAllDeleted
from automq.objectstore.store import DELETE_KEYS_MAX
from automq.telemetry import counter, gauge, metric_set
from automq.world import Clock

log = logging.getLogger(__name__)

DEADLINE_MS = 30_000
PAUSE_FIRST_MS = 1_000.0
PAUSE_MAX_MS = 60_000.0
LOUD_AFTER_FAILURES = 3


@metric_set("automq_object_delete")
@dataclass(slots=True)
class DeleteMetrics:
    """What the controller deletes from the store."""

    objects: int = counter("Objects that were deleted from the store.")
    failures: int = counter("Objects whose deletion failed, each time it was tried.")
    waiting: float = gauge("Objects that are given up and not deleted yet.")
    refused: float = gauge("Objects among them that the store has refused to delete.")
    scanned: int = counter("Objects that were looked at for what nobody knows.")
    unknown: int = counter("Objects among them that nobody knew, and that were deleted.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. A key in neither is as it was: ask for it again."""

    gone: Sequence[str] = ()
    refused: Mapping[str, StoreError] = field(default_factory=dict)
    """Keys that the store would not delete though it answers."""

    @property
    def is_nothing(self) -> bool:
        return not self.gone and not self.refused


class Deleter:
    """Deletes batch after batch; after a failure as a whole it waits, up to a minute.

    A batch that fails as a whole is halved the next time: what a store cannot do in time becomes
    less, and a key that makes it refuse all others ends up alone, and is told.
    """

    def __init__(
        self, store: ObjectStore, clock: Clock, *, rate_per_s: int, metrics: DeleteMetrics
    ) -> None:
        self._store = store
        self._clock = clock
        self._rate_per_s = rate_per_s
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._keys_max = self._keys_most = min(DELETE_KEYS_MAX, rate_per_s)
        self._not_before_ms = 0.0
        self._failures = 0

    @property
    def keys_max(self) -> int:
        """So many keys are taken at once: a request's, and a second's at most."""
        return self._keys_max

    async def delete(self, keys: Sequence[str]) -> Outcome:
        """Delete up to `keys_max` keys, once it is their turn. Raises no StoreError."""
        async with self._turn:
            await asyncio.sleep((self._not_before_ms - self._clock.monotonic_ms()) / 1000)
            # It may have shrunk meanwhile.
            batch = list(keys[: self._keys_max])
            try:
                async with asyncio.timeout(DEADLINE_MS / 1000):
                    await self._store.delete_many(batch)
            except NotAllDeleted as error:
                outcome = self._worked(batch, error.failures)
            except TimeoutError:
                why = f"no answer within {DEADLINE_MS // 1000} s"
                late = Unavailable("delete", self._store.name, batch[0], why)
                outcome = self._failed(batch, late)
            except StoreError as error:
                outcome = self._failed(batch, error)
            else:
                outcome = self._worked(batch, {})
        self._metrics.objects += len(outcome.gone)
        self._metrics.failures += len(batch) - len(outcome.gone)
        return outcome

    def _worked(self, batch: Sequence[str], refused: Mapping[str, StoreError]) -> Outcome:
        if self._failures >= LOUD_AFTER_FAILURES:
            log.warning("objects are deleted again: %s", self._store.name)
        self._failures = 0
        self._keys_max = min(self._keys_max * 2, self._keys_most)
        pause_ms = len(batch) * 1000 / self._rate_per_s
        self._not_before_ms = self._clock.monotonic_ms() + pause_ms
        return Outcome([key for key in batch if key not in refused], refused)

    def _failed(self, batch: Sequence[str], error: StoreError) -> Outcome:
        self._failures += 1
        self._keys_max = max(1, self._keys_max // 2)
        pause_ms = min(PAUSE_FIRST_MS * 2 ** (self._failures - 1), PAUSE_MAX_MS)
        self._not_before_ms = self._clock.monotonic_ms() + pause_ms
        if self._failures == LOUD_AFTER_FAILURES:
            log.warning("objects cannot be deleted for now; they are tried again: %s", error)
        return Outcome(refused={batch[0]: error}) if len(batch) == 1 else Outcome()
