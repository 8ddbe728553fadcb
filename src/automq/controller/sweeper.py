"""Objects that nothing reads: doomed by a stored record, then deleted, then forgotten."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from automq._native import Columns
from automq.metadata.decision import Command, Decision
from automq.metadata.image import Image
from automq.metadata.records.objects import DoomReason, ObjectsDoomed, ObjectsForgotten
from automq.metadata.state import MetadataState
from automq.metadata.storage import DOOMED, PREPARED
from automq.objectstore.errors import StoreError
from automq.objectstore.store import ObjectStore
from automq.world import World

log = logging.getLogger(__name__)

SWEEP_OBJECTS = 1_000
"""How many one sweep dooms, and how many it deletes."""


def doom_objects(objects: Iterable[int], reason: DoomReason) -> Command[list[int]]:
    """Dooms those that nothing reads (any more); answers which.

    Invariant: no commit of a doomed object is accepted, so what is stored as doomed may be deleted.
    """

    def command(image: Image) -> Decision[list[int]]:
        doomed = []
        for object_id in sorted(set(objects)):
            found = image.storage.object(object_id)
            if found is not None and found.state != DOOMED and found.live == 0:
                doomed.append(object_id)
        return Decision([ObjectsDoomed(Columns(doomed), reason)] if doomed else (), doomed)

    return command


def forget_objects(objects: Sequence[int]) -> Command[None]:
    """They are deleted from the store. Those that are not doomed are passed by."""

    def command(image: Image) -> Decision[None]:
        known = []
        for object_id in sorted(set(objects)):
            found = image.storage.object(object_id)
            if found is not None and found.state == DOOMED:
                known.append(object_id)
        return Decision([ObjectsForgotten(Columns(known))] if known else (), None)

    return command


def doomed_objects(limit: int) -> Command[list[int]]:
    """Doomed objects. As a command: the answer waits until their doom is stored."""
    return lambda image: Decision((), image.storage.tables.doomed(limit))


def expired_objects(image: Image, now_ms: int, limit: int) -> list[int]:
    """Prepared objects that were not committed by their deadline, or whose node is over."""
    expired = []
    for object_id in image.storage.tables.prepared(1 << 31):
        found = image.storage.object(object_id)
        assert found is not None
        assert found.state == PREPARED
        if found.deadline_ms <= now_ms:
            expired.append(object_id)
            if len(expired) == limit:
                break
    return expired


@dataclass(frozen=True, slots=True)
class SweepPolicy:
    """`grace_ms`: how long an object stays after its last range went, for readers that are at it.
    Comfort, not safety: a reader that comes too late asks for the ranges again."""

    interval_ms: int = 60_000
    grace_ms: int = 600_000


class Sweeper:
    """Sweeps every `interval_ms`; writes nothing when there is nothing to sweep."""

    def __init__(
        self,
        state: MetadataState,
        store: ObjectStore,
        world: World,
        *,
        key_of: Callable[[int], str],
        policy: SweepPolicy | None = None,
    ) -> None:
        self._state = state
        self._store = store
        self._world = world
        self._key_of = key_of
        self._policy = SweepPolicy() if policy is None else policy
        # Soft: a new controller gives every object a full grace.
        self._unread_since_ms: dict[int, float] = {}

    async def run(self) -> None:
        """Sweeps until cancelled. Raises what the state raises once it is over."""
        while True:
            await asyncio.sleep(self._policy.interval_ms / 1000)
            await self.sweep()

    async def sweep(self) -> None:
        """One sweep. What the store refuses to delete stays doomed for the next."""
        # Each answer comes when it is stored: nothing is deleted on the word of an image alone.
        image = self._state.image
        await self._doom(self._past_grace(image), DoomReason.NO_EXTENTS)
        now_ms = self._world.clock.now_ms()
        await self._doom(expired_objects(image, now_ms, SWEEP_OBJECTS), DoomReason.ORPHAN)
        doomed = await self._state.run_lazy(doomed_objects(SWEEP_OBJECTS))
        if not doomed:
            return
        try:
            await self._store.delete_many([self._key_of(object_id) for object_id in doomed])
        except StoreError as why:
            log.warning("%d doomed objects not deleted, the next sweep tries: %s", len(doomed), why)
            return
        await self._state.run_lazy(forget_objects(doomed))
        log.info("%d objects deleted", len(doomed))

    async def _doom(self, objects: list[int], reason: DoomReason) -> None:
        if objects:
            await self._state.run_lazy(doom_objects(objects, reason))

    def _past_grace(self, image: Image) -> list[int]:
        now_ms = self._world.clock.monotonic_ms()
        unread = image.storage.tables.unreferenced(1 << 31)
        since = self._unread_since_ms
        self._unread_since_ms = {it: since.get(it, now_ms) for it in unread}
        past = [
            it
            for it, at_ms in self._unread_since_ms.items()
            if now_ms - at_ms >= self._policy.grace_ms
        ]
        return past[:SWEEP_OBJECTS]
