"""From the WAL and the log cache into objects: seal, build, put, commit, trim."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from automq._native import BuiltObject, build_object
from automq.objectstore import ObjectStore
from automq.stream.client import (
    IDS_GOOD_FOR_MS,
    ObjectCommit,
    ObjectDoomed,
    StorageClient,
    Verdict,
)
from automq.stream.engine import StreamEngine
from automq.stream.keys import data_key
from automq.world import Clock
from automq.world.background import beside
from automq.world.probe import probe

log = logging.getLogger(__name__)

IDS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """When to upload, and how much at once."""

    upload_bytes: int
    interval_ms: int
    inflight_max: int


@dataclass(slots=True)
class Job:
    """One generation of the log cache on its way into one object.

    `generation` is None where there is only something of the WAL to let go of. `wal_end`: the WAL
    position behind its last record. `committed` is done when the controller has stored the commit.
    """

    generation: int | None
    wal_end: int
    epochs: dict[int, int]
    committed: "asyncio.Future[None]"
    urgent: bool = False
    before: "asyncio.Future[None] | None" = field(default=None)


class ObjectIds:
    """Ids for new objects, reserved some at a time so that an upload does not wait for one.

    `first` are reserved first, then twice as many each time.
    """

    def __init__(self, client: StorageClient, clock: Clock, first: int = IDS_AT_ONCE) -> None:
        self._client = client
        self._clock = clock
        self._count = first
        self._ids: Iterator[int] = iter(())
        self._good_until_ms = 0.0
        self._lock = asyncio.Lock()

    async def take(self) -> int:
        """The next id. Those that lay unused for too long are left to the controller's sweep."""
        async with self._lock:
            now_ms = self._clock.monotonic_ms()
            object_id = next(self._ids, None) if now_ms < self._good_until_ms else None
            if object_id is None:
                object_id = await self._client.prepare_objects(self._count)
                self._ids = iter(range(object_id + 1, object_id + self._count))
                self._count = min(2 * self._count, IDS_AT_ONCE)
                self._good_until_ms = now_ms + IDS_GOOD_FOR_MS
            return object_id


class Uploader:
    """Uploads in parallel, commits in WAL order.

    Invariants: only what is durable in the WAL is uploaded, but for what a full disk keeps waiting
    (see `_upload`); a commit is sent only after the one before it is stored; cache and WAL are let
    go only after the commit is stored, so a death at any point leaves everything acknowledged in
    the WAL or in a committed object.
    """

    def __init__(
        self,
        *,
        engine: StreamEngine,
        store: ObjectStore,
        client: StorageClient,
        cluster_id: bytes,
        wal_id: int,
        clock: Clock,
        limits: UploadLimits,
        on_committed: Callable[[Sequence[int], Sequence[Verdict]], None],
    ) -> None:
        self._engine = engine
        self._store = store
        self._client = client
        self._cluster_id = cluster_id
        self._wal_id = wal_id
        self._limits = limits
        self._on_committed = on_committed
        self._ids = ObjectIds(client, clock)
        self._wanted = asyncio.Event()
        self._slots = asyncio.Semaphore(limits.inflight_max)
        self._last: asyncio.Future[None] | None = None
        self._stopping = False
        self.uploaded_objects = 0
        self.uploaded_bytes = 0
        engine.call_after_append(self._look)

    async def run(self) -> None:
        """Upload whenever there is enough or it has waited long enough.

        Returns after `stop`, when all that was appended before is committed.
        """
        async with asyncio.TaskGroup() as tasks:
            is_last = False
            while not is_last:
                await self._until_wanted()
                await self._slots.acquire()
                # Nothing is appended after `stop`, so what is sealed now is all there is.
                is_last = self._stopping
                job = self._seal()
                if job is None:
                    self._slots.release()
                    continue
                job.urgent = self._stopping
                task = tasks.create_task(self._upload(job), name=f"upload {job.generation}")
                task.add_done_callback(lambda _: self._slots.release())

    def stop(self) -> None:
        """Upload what there is, at once, and end `run`. Nothing may be appended afterwards."""
        self._stopping = True
        self._wanted.set()

    # -- inside

    def _look(self) -> None:
        """Called after appends: is it time, by bytes or because something has no room?"""
        cache = self._engine.cache
        is_enough = cache.active_bytes >= self._limits.upload_bytes
        # Small uploads are wasteful, but a full cache or WAL stops every producer.
        if is_enough or (self._engine.needs_upload and self._has_something and not cache.sealed()):
            self._wanted.set()

    @property
    def _has_something(self) -> bool:
        """Whether an upload would free anything: data, or the WAL's records of deleted streams."""
        return self._engine.cache.active_bytes > 0 or self._holds_dead_records

    @property
    def _holds_dead_records(self) -> bool:
        """Whether deleted streams fill the WAL, so that no upload of others may ever free it."""
        engine = self._engine
        if engine.cache.active_bytes > 0 or engine.cache.sealed():
            return False
        return engine.wal.durable > engine.trimmed_position and engine.needs_upload

    async def _until_wanted(self) -> None:
        """Wait for enough bytes, at most the interval once there is something at all."""
        while True:
            try:
                async with asyncio.timeout(self._limits.interval_ms / 1000):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            if self._has_something or self._stopping:
                return

    def _seal(self) -> Job | None:
        """Close the active generation. Synchronous: nothing is appended in between."""
        generation = self._engine.cache.seal()
        if generation is None:
            if not self._holds_dead_records:
                return None
            probe("storage: the write-ahead log holds nothing but deleted records")
        committed = asyncio.get_running_loop().create_future()
        job = Job(
            generation=generation,
            wal_end=self._engine.wal.end,
            epochs=self._engine.take_epochs(),
            committed=committed,
            before=self._last,
        )
        self._last = committed
        return job

    async def _upload(self, job: Job) -> None:
        """Take one generation all the way.

        On a full disk its last records may not be in the WAL, and only this upload makes room. So
        it goes on with them, as one prefix of all appends, and lets go only of what the WAL had.
        They are written and acknowledged later; a recovery in between finds the commit, and
        what it has of them again is told so by the controller.
        """
        try:
            wal_start = await self._engine.until_durable(job.wal_end)
            while not await self._store_under_new_id(job, wal_start):
                log.warning("the id of an upload was given up meanwhile; uploading again")
            # Stored: from here on objects have it, so memory and WAL may let it go.
            if job.generation is not None:
                self._engine.cache.release(job.generation)
            self._engine.trim_wal(wal_start)
        except BaseException as error:
            if not job.committed.done():
                job.committed.set_exception(error)
                job.committed.exception()
            raise
        job.committed.set_result(None)

    async def _store_under_new_id(self, job: Job, wal_start: int) -> bool:
        """Put and commit one generation; False if the id was doomed before the commit."""
        object_id = await self._ids.take()
        key = data_key(self._cluster_id, object_id)
        built = None if job.generation is None else await self._build(job.generation, object_id)
        if built is not None:
            await self._store.put(key, built.parts)
        if job.before is not None:
            await asyncio.shield(job.before)
        try:
            await self._commit(job, object_id, built, wal_start)
        except ObjectDoomed:
            # No commit of this id is accepted ever again, so nobody can come to need it.
            probe("storage: an upload raced with the sweep of its id")
            await self._store.delete(key)
            return False
        return True

    async def _build(self, generation: int, object_id: int) -> BuiltObject | None:
        """Build beside the loop: native work without the GIL. None if its streams are gone."""

        def build() -> BuiltObject | None:
            return build_object(
                self._engine.cache, generation, object_id=object_id, cluster_id=self._cluster_id
            )

        return await beside(build)

    async def _commit(
        self, job: Job, object_id: int, built: BuiltObject | None, wal_start: int
    ) -> None:
        """Also without an object: streams that were deleted must not keep the WAL from moving."""
        ranges = [] if built is None else built.ranges
        verdicts = await self._client.commit_object(
            ObjectCommit(
                object_id=object_id,
                size_bytes=0 if built is None else built.size_bytes,
                index_position=0 if built is None else built.index_position,
                index_bytes=0 if built is None else built.index_bytes,
                wal_id=self._wal_id,
                wal_start=wal_start,
                ranges=[row[:5] for row in ranges],
                epochs=[job.epochs[row[0]] for row in ranges],
            ),
            urgent=job.urgent,
        )
        if built is None:
            return
        self._on_committed([row[0] for row in ranges], verdicts)
        self.uploaded_objects += 1
        self.uploaded_bytes += built.size_bytes
        log.info(
            "uploaded object %d: %d bytes of %d streams", object_id, built.size_bytes, len(ranges)
        )
