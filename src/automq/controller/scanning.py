"""Finding what lies in the store and is known to nobody, and deleting it.

Two things can be left: an upload that arrived after its id had been doomed and deleted, and the
parts of a snapshot whose writer died before the log named it (an entry or a hint of a writer that
was deposed is alike). Where write-ahead logs are in an object store, a third: a batch that arrived
after its log had been removed. They cost money and nothing else, so they are looked for rarely, a
part of the store at a time: of the data a 257th with each step, of the log all of it with one. A
pass costs 256 LIST requests for the data and as many for write-ahead logs, one more for every 1,000
objects, and about ten for the log.

The rule has no clock; `judging` says why it holds whatever this process does not know. What it does
know is stored: a command's answer waits for all that it saw.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from automq.controller.deleting import DeleteMetrics, Deleter
from automq.controller.judging import Is, LogKeys, judge_object, object_of
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.reader import newest_closed
from automq.metadata.register import Listed, SteadyRegister, Unsettled
from automq.metadata.state import MetadataState
from automq.objectstore import ObjectInfo, ObjectStore, StoreError
from automq.stream.keys import PREFIXES, data_key, data_prefix
from automq.stream.wal import WalError
from automq.world import Clock

log = logging.getLogger(__name__)

STEPS = PREFIXES + 1
LIST_MS = 300_000
JUDGED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the metadata log lies: read key by key, and listed."""

    register: SteadyRegister
    keys: Listed


class RemovedWals(Protocol):
    """Where write-ahead logs leave something: `ObjectWals`."""

    async def crowded(self, spread: int) -> list[int]: ...

    async def tidy(self, wal_id: int) -> int: ...


class Scanner:
    """Goes through the store again and again, once every `interval_ms`, until cancelled."""

    def __init__(
        self,
        metadata: MetadataState,
        store: ObjectStore,
        log_place: LogPlace | None,
        deleter: Deleter,
        clock: Clock,
        *,
        interval_ms: int,
        metrics: DeleteMetrics,
        wals: RemovedWals | None = None,
    ) -> None:
        self._metadata = metadata
        self._wals = wals
        self._store = store
        self._log_place = log_place
        self._deleter = deleter
        self._clock = clock
        self._interval_ms = interval_ms
        self._metrics = metrics

    async def run(self) -> None:
        """Begins where the time of the day says: a node that starts often still gets everywhere.

        Raises what ends the controller: Deposed, Stopped, DamagedLog.
        """
        step = self._clock.now_ms() * STEPS // self._interval_ms % STEPS
        while True:
            await asyncio.sleep(self._interval_ms / STEPS / 1000)
            await self.scan(step)
            step = (step + 1) % STEPS

    async def scan(self, step: int) -> None:
        """One part: the data of a prefix, or, as the last, the log."""
        try:
            async with asyncio.timeout(LIST_MS / 1000):
                if step < PREFIXES:
                    await self._scan_data(step)
                    if self._wals is not None:
                        await self._scan_wals(self._wals, step)
                elif self._log_place is not None:
                    await self._scan_log(self._log_place)
        except (StoreError, Unsettled, WalError, TimeoutError) as error:
            why = str(error) or f"not done within {LIST_MS // 1000} s"
            log.warning("a part of the store was not looked through for what is leaked: %s", why)

    async def _scan_data(self, number: int) -> None:
        cluster_id = self._metadata.stored.cluster_id
        async for some in batches(self._store.list(data_prefix(cluster_id, number))):
            ids = [object_of(info.key, cluster_id) for info in some]
            self._metrics.scanned += len(some)
            leaked = await self._leaked([object_id for object_id in ids if object_id is not None])
            await self._delete([data_key(cluster_id, object_id) for object_id in leaked])

    async def _leaked(self, ids: Sequence[int]) -> list[int]:
        """Invariant: in the stored log these ids were given out, and are known no more."""

        def command(image: Image) -> Decision[list[int]]:
            return Decision((), [it for it in ids if judge_object(it, image, image) is Is.LEAKED])

        return await self._metadata.run_lazy(command)

    async def _delete(self, keys: Sequence[str]) -> None:
        left = list(keys)
        while left:
            outcome = await self._deleter.delete(left)
            self._count(outcome.gone, left[0])
            done = {*outcome.gone, *outcome.refused}
            if not done:
                # The store has trouble; the next pass finds them again.
                return
            left = [key for key in left if key not in done]

    async def _scan_wals(self, wals: RemovedWals, spread: int) -> None:
        ids = await wals.crowded(spread)

        def command(image: Image) -> Decision[list[int]]:
            return Decision((), [it for it in ids if image.storage.is_wal_closed(it)])

        if not ids:
            return
        # Closed by a stored record: a command's answer waits for all that it saw.
        for wal_id in await self._metadata.run_lazy(command):
            gone = await wals.tidy(wal_id)
            if gone:
                self._metrics.unknown += gone
                log.info("deleted %d objects behind the end of write-ahead log %d", gone, wal_id)

    async def _scan_log(self, place: LogPlace) -> None:
        listed = [info async for info in place.keys.list("meta/")]
        self._metrics.scanned += len(listed)
        closed = await newest_closed(place.register)
        # After the listing: what it shows and this does not name has been named by nobody.
        named = self._metadata.stored.snapshots
        log_keys = LogKeys.of(named, [] if closed is None else [closed])
        leaked = [info.key for info in listed if log_keys.judge(info.key) is Is.LEAKED]
        if leaked:
            await place.keys.delete_many(leaked)
            self._count(leaked, leaked[0])

    def _count(self, gone: Sequence[str], first: str) -> None:
        if gone:
            self._metrics.unknown += len(gone)
            log.info("deleted %d objects that are known to nobody, such as %s", len(gone), first)


async def batches(infos: AsyncIterator[ObjectInfo]) -> AsyncIterator[list[ObjectInfo]]:
    """What is listed, as many as are judged at once."""
    some: list[ObjectInfo] = []
    async for info in infos:
        some.append(info)
        if len(some) == JUDGED_AT_ONCE:
            yield some
            some = []
    if some:
        yield some
