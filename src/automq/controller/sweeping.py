"""Objects from which nothing is read any more: doomed, deleted, forgotten.

The order is the safety: doomed by a stored record, after which no commit of the ids is accepted;
then deleted; then forgotten (HAZARDS 4). What a store does not delete stays doomed, and is tried
again. The grace only spares readers that are under way.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from automq.controller import objects
from automq.controller.deleting import DeleteMetrics, Deleter
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.state import MetadataState
from automq.objectstore import StoreError
from automq.stream.keys import data_key
from automq.world import Clock

log = logging.getLogger(__name__)

LOOK_EVERY_MS = 30_000
LOOK_EVERY_LEAST_MS = 1_000
DOOMED_AT_ONCE = 100_000
"""So many doomed objects are remembered, each with its grace and its failures. The others wait."""
AGAIN_FIRST_MS = 30_000.0
AGAIN_MAX_MS = 3_600_000.0
LOUD_AFTER_TRIES = 3
REMIND_MS = 3_600_000


class Sweeper:
    """Keeps the store free of objects that nobody reads, until cancelled."""

    def __init__(
        self,
        metadata: MetadataState,
        deleter: Deleter,
        clock: Clock,
        *,
        grace_ms: int,
        metrics: DeleteMetrics,
    ) -> None:
        self._metadata = metadata
        self._deleter = deleter
        self._clock = clock
        self._grace_ms = grace_ms
        self._metrics = metrics
        self._due_ms: dict[int, float] = {}
        self._refusals: dict[int, int] = {}
        self._told_ms: float | None = None

    async def run(self) -> None:
        """Raises what ends the controller: Deposed, Stopped."""
        every_ms = min(LOOK_EVERY_MS, max(self._grace_ms, LOOK_EVERY_LEAST_MS))
        while True:
            await asyncio.sleep(every_ms / 1000)
            await self.sweep()

    async def sweep(self) -> None:
        """One look: doom what nothing is read from, delete what is doomed for long enough."""
        await self._doom()
        await self._learn()
        await self._delete_due()

    async def _doom(self) -> None:
        now_ms = self._clock.now_ms()
        await self._doom_all(objects.doom_unreferenced)
        await self._doom_all(lambda image: objects.doom_orphans(image, now_ms))

    async def _doom_all(self, command: Callable[[Image], Decision[list[int]]]) -> None:
        while len(await self._metadata.run_lazy(command)) == objects.OBJECTS_AT_ONCE:
            pass

    async def _learn(self) -> None:
        """What is doomed now, by stored records: a command's answer waits for all that it saw."""

        def command(image: Image) -> Decision[list[int]]:
            return Decision((), image.storage.tables.doomed(DOOMED_AT_ONCE))

        ids = await self._metadata.run_lazy(command)
        due_ms = self._clock.monotonic_ms() + self._grace_ms
        before = self._due_ms
        self._due_ms = {object_id: before.get(object_id, due_ms) for object_id in ids}
        self._measure()

    async def _delete_due(self) -> None:
        while due := self._due(self._deleter.keys_max):
            cluster_id = self._metadata.stored.cluster_id
            keys = {data_key(cluster_id, object_id): object_id for object_id in due}
            outcome = await self._deleter.delete(list(keys))
            await self._forget([keys[key] for key in outcome.gone])
            self._put_off({keys[key]: why for key, why in outcome.refused.items()})
            self._measure()
            if outcome.is_nothing:
                return

    def _due(self, limit: int) -> list[int]:
        now_ms = self._clock.monotonic_ms()
        due = (object_id for object_id, due_ms in self._due_ms.items() if due_ms <= now_ms)
        return list(islice(due, limit))

    async def _forget(self, gone: Sequence[int]) -> None:
        if not gone:
            return
        await self._metadata.run_lazy(lambda image: objects.forget_objects(image, gone))
        for object_id in gone:
            self._due_ms.pop(object_id, None)
            self._refusals.pop(object_id, None)
        log.info("deleted %d objects from which nothing is read any more", len(gone))
        if self._told_ms is not None and not self._loud():
            log.warning("all objects that could not be deleted are gone now")
            self._told_ms = None

    def _put_off(self, refused: Mapping[int, StoreError]) -> None:
        """Each has its own back-off, so that none holds up another."""
        now_ms = self._clock.monotonic_ms()
        for object_id, why in refused.items():
            tries = self._refusals[object_id] = self._refusals.get(object_id, 0) + 1
            self._due_ms[object_id] = now_ms + min(AGAIN_FIRST_MS * 2 ** (tries - 1), AGAIN_MAX_MS)
            is_news = self._told_ms is None or now_ms - self._told_ms >= REMIND_MS
            if tries >= LOUD_AFTER_TRIES and is_news:
                self._told_ms = now_ms
                log.warning(
                    "an object cannot be deleted (tried %d times; %d such objects): %s: nothing "
                    "reads it, and it costs its storage; look for a policy, a lock or a legal "
                    "hold on its key. It is tried again, at least every hour",
                    tries,
                    self._loud(),
                    why,
                )

    def _loud(self) -> int:
        """How many objects the store refuses to delete again and again."""
        return sum(1 for tries in self._refusals.values() if tries >= LOUD_AFTER_TRIES)

    def _measure(self) -> None:
        self._metrics.waiting = len(self._due_ms)
        self._metrics.refused = len(self._refusals)
