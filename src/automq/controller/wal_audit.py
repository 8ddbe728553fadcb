"""What an audit says of write-ahead logs in an object store: what of them nobody needs any more.

Of a log that is closed one object stays for ever, the lowest mark that ended it: it keeps an owner
that was stopped in the middle of a create from acknowledging (HAZARDS 1). Of one that is open what
lies below its stored start is committed. Everything else below is deleted by whoever let it go: so
it counts as leaked once it is old, or once the begin mark is gone, which is deleted last.

Invariant: only what the first of two readings of the metadata let go is called leaked: a log that
is closed stays closed, a start never goes back, and no taker asks for what is below it. The mark is
told by its bytes, never by the position at which the log was closed: one that was given up ends
before its fence.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from automq._native import WAL_OBJECT_HEADER_BYTES, WalDamaged, WalObject, WalUnsupported
from automq._native import wal_object_header as header_of
from automq.controller.judging import Is
from automq.controller.report import Finding, Report
from automq.metadata.image import Image
from automq.metadata.storage import Wal
from automq.objectstore import Corrupt, NotFound, ObjectInfo, ObjectStore
from automq.objectstore.looking import SecondLook
from automq.stream.wal.object_keys import mark_key, number_at, position_at, wal_key

LET_GO_MS = 3_600_000
"""What was written so long ago and was let go should have been deleted: that is tried at once."""
MARKS = ("fence", "end")

_BEGIN = re.compile(r"wals/[0-9a-f]{32}/([0-9a-f]{16})")
_OBJECT = re.compile(r"wal/[0-9a-f]{2}/[0-9a-f]{32}/([0-9a-f]{16})/([0-9a-f]{16})")


@dataclass(slots=True)
class Held:
    """What a store holds of one log: its begin mark, and its objects by number."""

    wal_id: int
    begin: ObjectInfo | None = None
    objects: dict[int, ObjectInfo] = field(default_factory=dict)

    def numbers(self) -> list[int]:
        return sorted(self.objects)


@dataclass(frozen=True, slots=True)
class Needless:
    """What of a log was let go, and why; `is_closed`: its begin mark is needless as well."""

    numbers: tuple[int, ...] = ()
    why: str = ""
    is_closed: bool = False


def held_logs(
    infos: Iterable[ObjectInfo], cluster_id: bytes
) -> tuple[list[Held], list[ObjectInfo]]:
    """The logs of a cluster that `infos` belong to, and what belongs to none as it is: the bytes of
    an object whose number is registered elsewhere, say.
    """
    logs: dict[int, Held] = {}
    others: list[ObjectInfo] = []
    for info in infos:
        if found := _BEGIN.fullmatch(info.key):
            wal_id = int(found[1], 16)
            if info.key == mark_key(cluster_id, wal_id):
                logs.setdefault(wal_id, Held(wal_id)).begin = info
                continue
        elif found := _OBJECT.fullmatch(info.key):
            wal_id, number = int(found[1], 16), int(found[2], 16)
            if info.key == wal_key(cluster_id, wal_id, number):
                logs.setdefault(wal_id, Held(wal_id)).objects[number] = info
                continue
        others.append(info)
    return list(logs.values()), others


class WalAudit:
    """Judges the logs in one store, which were listed between two readings of the metadata.

    `newest` reads on, and answers with what the metadata say now. What seems to be missing is
    looked for again by `look`.
    """

    def __init__(
        self,
        store: ObjectStore,
        before: Image,
        after: Image,
        newest: Callable[[], Awaitable[Image]],
        report: Report,
        look: SecondLook,
        *,
        now_ms: float,
    ) -> None:
        self._store = store
        self._look = look
        self._before, self._after, self._newest = before.storage, after.storage, newest
        self._cluster_id = after.cluster.cluster_id
        self._report = report
        self._now_ms = now_ms
        self.leaked: list[str] = []
        """In the order in which they may be deleted: a begin mark comes after all else."""

    async def judge(self, held: Held) -> None:
        """Count what is there of a log, and name what is not as it should be."""
        if held.wal_id >= self._after.next_wal:
            self._name_unknown(held)
            return
        before = self._before.wals.get(held.wal_id)
        if self._before.is_wal_closed(held.wal_id):
            needless = await self._closed(held, None if before is None else before.fence)
        elif before is None:
            # Registered between the two readings.
            self._count_needed(held, Needless())
            return
        else:
            numbers = [it for it in held.numbers() if it < number_at(before.start)]
            needless = Needless(tuple(numbers), "what the log has from there on is committed")
        self._count_needed(held, needless)
        for number in needless.numbers:
            await self._judge_needless(held.objects[number], held, needless)
        if needless.is_closed and held.begin is not None:
            await self._judge_needless(held.begin, held, needless)
        await self._must_begin(held)

    def _name_unknown(self, held: Held) -> None:
        why = f"no write-ahead log {held.wal_id} was ever registered"
        for info in self._all(held):
            self._report.find(Finding.at(Is.UNEXPECTED, info, why))

    def _all(self, held: Held) -> Iterator[ObjectInfo]:
        if held.begin is not None:
            yield held.begin
        yield from held.objects.values()

    def _count_needed(self, held: Held, needless: Needless) -> None:
        if held.begin is not None and not needless.is_closed:
            self._report.count(Is.WAL, held.begin.size_bytes)
        for number in held.objects.keys() - set(needless.numbers):
            self._report.count(Is.WAL, held.objects[number].size_bytes)

    async def _closed(self, held: Held, fence: int | None) -> Needless:
        """All but the mark that ended it; only what is below the end where no mark is found, and
        nothing where the end is forgotten as well.
        """
        why = "the log is closed, all of it is committed"
        first = 0 if fence is None else number_at(fence)
        behind = [number for number in held.numbers() if number >= first]
        mark = await self._lowest_mark(behind, held.wal_id, fence)
        if mark is None:
            # It was closed as one that never began: the next start that finds it ends it.
            return Needless(tuple(it for it in held.numbers() if it < first), why)
        return Needless(tuple(it for it in held.numbers() if it != mark), why, is_closed=True)

    async def _lowest_mark(self, numbers: list[int], wal_id: int, fence: int | None) -> int | None:
        if len(numbers) == 1 and fence in (None, position_at(numbers[0])):
            # As nearly every log is, and for ever: nothing is asked about it.
            return numbers[0]
        for number in numbers:
            found = await self._header(wal_key(self._cluster_id, wal_id, number))
            if isinstance(found, WalObject) and found.kind in MARKS:
                return number
        return None

    async def _judge_needless(self, info: ObjectInfo, held: Held, needless: Needless) -> None:
        is_old = 0 < info.modified_ms < self._now_ms - LET_GO_MS
        if held.begin is not None and not is_old:
            self._report.count(Is.DOOMED, info.size_bytes)
        elif await self._header(info.key) is not None:
            # Still there. Without a begin mark whoever removes it has removed all it found.
            self._report.find(Finding.at(Is.LEAKED, info, needless.why))
            self.leaked.append(info.key)

    async def _must_begin(self, held: Held) -> None:
        """A log that is open has its begin mark, and the object that its start is in: no taker goes
        on without them. What is missing behind may never have been acknowledged.
        """
        wal = self._after.wals.get(held.wal_id)
        if wal is None or wal.closed or not held.objects:
            return
        start = number_at(wal.start)
        if held.begin is None:
            key = mark_key(self._cluster_id, wal.wal)
            why = "its write-ahead log is not closed, and no start finds it without this mark"
            await self._must_be_there(key, wal, why)
        if wal.start > 0 and start not in held.objects:
            key = wal_key(self._cluster_id, wal.wal, start)
            why = "its write-ahead log starts in it, and is not taken over without it"
            await self._must_be_there(key, wal, why)

    async def _must_be_there(self, key: str, wal: Wal, why: str) -> None:
        if await self._look.is_missing(partial(self._header, key), partial(self._is_open, wal)):
            self._report.find(Finding(Is.MISSING, key, 0, why))

    async def _is_open(self, wal: Wal) -> bool:
        """Whether the log still is where it was: what is absent may have been let go meanwhile."""
        known = (await self._newest()).storage.wals.get(wal.wal)
        return known is not None and not known.closed and known.start == wal.start

    async def _header(self, key: str) -> WalObject | str | None:
        """What an object says that it is; why it says nothing; None if it is not there."""
        try:
            return header_of(await self._store.get_range(key, 0, WAL_OBJECT_HEADER_BYTES))
        except NotFound:
            return None
        except (Corrupt, WalDamaged, WalUnsupported) as error:
            return str(error)
