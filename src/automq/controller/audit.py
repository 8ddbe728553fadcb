"""Comparing what a store holds with what the metadata say: nothing leaked, nothing missing.

Works beside a running cluster. The log is read before and after the store is listed, and only what
holds by both readings is said:

* **Leaked**: what nobody can come to need, whatever any clock says; see `judging`. It may be
  deleted at any time.
* Write-ahead logs in an object store: see `wal_audit`.
* **Missing**: an object from which both readings read, and that stays away when asked for again
  after both (`looking`); an entry or a snapshot of the log itself (`log_audit`). That is damage.

`verifying` reads the objects as well.
"""

from collections.abc import AsyncIterator, Iterator
from functools import partial

from automq.controller.judging import DATA, WAL, Is, LogKeys, judge_object, object_of
from automq.controller.log_audit import ends_early, log_findings
from automq.controller.report import Finding, Report
from automq.controller.wal_audit import WalAudit, held_logs
from automq.metadata.image import Image
from automq.metadata.reader import MetadataReader
from automq.metadata.register import Listed
from automq.metadata.storage import COMMITTED, Object
from automq.objectstore import ObjectInfo, ObjectStore
from automq.objectstore.looking import SecondLook, StaysAway
from automq.stream.keys import data_key
from automq.world import Clock

SLICE = 1_000


def known_objects(image: Image) -> Iterator[tuple[int, Object]]:
    """Every object that the metadata know, by ascending id."""
    after = -1
    while (rows := image.storage.tables.dump_objects(after, SLICE)) is not None:
        described, _, after = rows
        for object_id in described.columns()[0]:
            known = image.storage.object(object_id)
            if known is not None:
                yield object_id, known


def is_read(known: Object) -> bool:
    """Whether some stream reads from it."""
    return known.state == COMMITTED and known.live > 0


def holes(image: Image) -> Iterator[Finding]:
    """Streams whose ranges do not follow each other from the start to the end."""
    for stream_id in stream_ids(image):
        stream = image.storage.stream(stream_id)
        if stream is None:
            continue
        offset = stream.start
        while offset < stream.end:
            ranges = image.storage.locate(stream_id, offset, SLICE)
            for row in ranges:
                if row.start > offset or row.end <= offset:
                    break
                offset = row.end
            else:
                if ranges:
                    continue
            why = f"no object holds offset {offset} of [{stream.start}, {stream.end})"
            yield Finding(Is.BROKEN, f"stream {stream_id}", 0, why)
            break


def stream_ids(image: Image) -> Iterator[int]:
    """The ids of all streams, ascending."""
    after = -1
    while (rows := image.storage.tables.dump_streams(after, SLICE)) is not None:
        _, streams, _, _, after = rows
        yield from streams.columns()[0]


class Audit:
    """One comparison of a store with the log. Only reads.

    `wal_store`: where write-ahead logs are, if that is an object store and another place.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        metadata_store: Listed,
        before: MetadataReader,
        after: MetadataReader,
        clock: Clock,
        wal_store: ObjectStore | None = None,
    ) -> None:
        self._store = store
        self._metadata_store = metadata_store
        self._wal_store = wal_store
        self._before, self._after = before, after
        self._clock = clock
        self._look = SecondLook()
        self._leaked_wal_keys: list[tuple[ObjectStore, list[str]]] = []
        self.report = Report()
        self.is_empty = False
        """Whether there is no metadata log, once `run` has looked."""

    @property
    def image(self) -> Image:
        """What the last reading says."""
        return self._after.image

    @property
    def cluster_id(self) -> bytes:
        return self.image.cluster.cluster_id

    async def run(self) -> Report:
        """List, compare, and ask again for what seems to be missing.

        Raises DamagedLog, UnknownRecord, and what a store raises that does not answer in time.
        """
        await self._before.load()
        if self._before.image.cluster.created is None and await self._has_no_log():
            self.is_empty = True
            return self.report
        listed = [info async for info in self._listing()]
        wal_place = [info async for info in self._wal_listing()]
        await self._after.load()
        log = {info.key: info for info in listed if info.key.startswith("meta/")}
        for finding in await log_findings(self._before, self._after, log, self._look):
            self.report.find(finding)
        if ends_early(self._after, log):
            # What else is there cannot be judged by what is known.
            return self.report
        await self._judge_all(listed)
        await self._judge_wals(self._store, listed)
        if self._wal_store is not None:
            await self._judge_wals(self._wal_store, wal_place)
        for finding in holes(self.image):
            self.report.find(finding)
        self.report.streams = self.image.storage.tables.stream_count
        return self.report

    async def _has_no_log(self) -> bool:
        """Also no entry behind the first, without which nothing can be read."""
        return await anext(aiter(self._metadata_store.list("meta/")), None) is None

    async def _listing(self) -> AsyncIterator[ObjectInfo]:
        """Everything in the store, and the metadata where they are in another one."""
        async for info in self._store.list(""):
            yield info
        if self._metadata_store is not self._store:
            async for info in self._metadata_store.list("meta/"):
                yield info

    async def _wal_listing(self) -> AsyncIterator[ObjectInfo]:
        """What lies where write-ahead logs are, if that is another place."""
        if self._wal_store is not None:
            for prefix in ("wal/", "wals/"):
                async for info in self._wal_store.list(prefix):
                    yield info

    async def _judge_wals(self, store: ObjectStore, listed: list[ObjectInfo]) -> None:
        infos = []
        for info in listed:
            if wal := WAL.fullmatch(info.key):
                if wal[1] == self.cluster_id.hex():
                    infos.append(info)
                else:
                    self.report.count(Is.ANOTHER, info.size_bytes)
        logs, others = held_logs(infos, self.cluster_id)
        for info in others:
            self.report.count(Is.WAL, info.size_bytes)
        before, now_ms = self._before.image, self._clock.now_ms()
        job = WalAudit(
            store, before, self.image, self._newest, self.report, self._look, now_ms=now_ms
        )
        for held in logs:
            await job.judge(held)
        self._leaked_wal_keys.append((store, job.leaked))

    async def _judge_all(self, listed: list[ObjectInfo]) -> None:
        readings = (self._before, self._after)
        log_keys = LogKeys.of(
            [snapshot for it in readings for snapshot in it.image.cluster.snapshots],
            [it.closed for it in readings if it.closed is not None],
        )
        objects: dict[int, ObjectInfo] = {}
        for info in listed:
            object_id = object_of(info.key, self.cluster_id)
            if object_id is None:
                self._judge_other(info, log_keys)
            else:
                objects[object_id] = info
                self._judge(info, object_id)
        for object_id, known in known_objects(self.image):
            await self._must_be_there(object_id, known, objects.get(object_id))

    def _judge(self, info: ObjectInfo, object_id: int) -> None:
        what = judge_object(object_id, self._before.image, self._after.image)
        if what.is_waste:
            self._find(what, info, f"object {object_id} is not known and never will be again")
        else:
            self.report.count(what, info.size_bytes)

    def _judge_other(self, info: ObjectInfo, log_keys: LogKeys) -> None:
        if DATA.fullmatch(info.key):
            self.report.count(Is.ANOTHER, info.size_bytes)
        elif info.key.startswith("meta/"):
            what = log_keys.judge(info.key)
            if what.is_waste:
                self._find(what, info, "the metadata log does not need it any more")
            else:
                self.report.count(what, info.size_bytes)
        elif not WAL.fullmatch(info.key):
            self._find(Is.UNEXPECTED, info, "no cluster writes such a key")

    def _find(self, what: Is, info: ObjectInfo, why: str) -> None:
        self.report.find(Finding.at(what, info, why))

    async def _must_be_there(self, object_id: int, known: Object, info: ObjectInfo | None) -> None:
        """An object that is read from must be in the store, whole."""
        earlier = self._before.image.storage.object(object_id)
        if not is_read(known) or earlier is None or not earlier.live:
            return
        key = data_key(self.cluster_id, object_id)
        if info is None:
            is_needed = partial(self.is_still_read, object_id)
            try:
                info = await self._look.find(partial(self._store.head, key), is_needed)
            except StaysAway:
                why = f"{known.live} streams have data in it"
                self.report.find(Finding(Is.MISSING, key, known.bytes, why))
            if info is None:
                return
            self.report.count(Is.READ, info.size_bytes)
        if info.size_bytes != known.bytes:
            self._find(Is.DAMAGED, info, f"{info.size_bytes} bytes instead of {known.bytes}")

    async def is_still_read(self, object_id: int) -> bool:
        """Whether it is named now: what has gone meanwhile is not missing."""
        known = (await self._newest()).storage.object(object_id)
        return known is not None and is_read(known)

    async def _newest(self) -> Image:
        """What the log says now."""
        if await self._after.poll() is None:
            await self._after.load()
        return self.image

    async def repair(self) -> int:
        """Delete what is leaked; how many. What is of no known kind is left alone, and everything
        as long as something is damaged: what a damaged log says is not to be acted on.

        Invariant: only keys that both readings of the log have shown to be needed by nobody, ever.
        """
        if self.report.is_damaged:
            return 0
        leaked = [it.key for it in self.report.findings if it.what is Is.LEAKED]
        meta = [key for key in leaked if key.startswith("meta/")]
        data = [key for key in leaked if key.startswith("data/")]
        places = [(self._store, data), (self._metadata_store, meta), *self._leaked_wal_keys]
        for store, keys in places:
            for at in range(0, len(keys), SLICE):
                await store.delete_many(keys[at : at + SLICE])
        return len(leaked)
