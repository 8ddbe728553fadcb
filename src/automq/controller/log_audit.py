"""What the metadata log must have in the store: every entry of a chunk that is not closed, the
snapshots that it would be read from, a pointer for every closed chunk.

The listing lies between two readings of the log. Only what it must have had by the second reading
is missed, and only if it stays away when asked for again (`looking`).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from automq.controller.judging import CLOSED, ENTRY, Is
from automq.controller.report import Finding
from automq.metadata.log import closed_key, entry_key
from automq.metadata.reader import MetadataReader, is_closed
from automq.metadata.records.cluster import SnapshotTaken
from automq.objectstore import ObjectInfo
from automq.objectstore.looking import SecondLook

SHOWN = 10
"""So many missing entries are named, each in a line."""


async def log_findings(
    before: MetadataReader,
    after: MetadataReader,
    listed: Mapping[str, ObjectInfo],
    look: SecondLook,
) -> list[Finding]:
    """What is missing or damaged in the log. `after` is read on if entries lie beyond it."""
    numbers = [int(it[2]) for it in map(ENTRY.fullmatch, listed) if it is not None]
    found = [it async for it in _beyond(after, listed, numbers)]
    found += [it async for it in _missing_entries(after, set(numbers), look)]
    found += [it async for it in _missing_pointers(after, listed, look)]
    for snapshot in _kept(before, after):
        found += [it async for it in _missing_parts(after, snapshot, listed, look)]
    return found


def ends_early(after: MetadataReader, listed: Mapping[str, ObjectInfo]) -> bool:
    """Whether entries lie behind the end of a reading: then it says too little of everything."""
    return _newest(after, listed) > after.position


def _newest(after: MetadataReader, listed: Mapping[str, ObjectInfo]) -> int:
    """The last entry that was listed in a chunk that is not closed, or -1."""
    numbers = (int(it[2]) for it in map(ENTRY.fullmatch, listed) if it is not None)
    first = (_closed_chunk(after) + 1) * after.chunk_entries
    return max((number for number in numbers if number >= first), default=-1)


async def _beyond(
    after: MetadataReader, listed: Mapping[str, ObjectInfo], numbers: Sequence[int]
) -> AsyncIterator[Finding]:
    """Entries behind the end at which the second reading stopped.

    Whoever writes an entry has seen the one before it, and the reading began after the listing: so
    one of those between was there and is gone, and all behind it is out of reach.
    """
    if not ends_early(after, listed) or await after.poll() is None:
        # In order; or chunks were closed meanwhile, and all was read again.
        return
    if not ends_early(after, listed):
        return
    hole = after.position + 1
    behind = [number for number in numbers if number > hole]
    why = (
        f"the metadata log ends here for who reads it, but {len(behind)} later entries up to "
        f"{max(behind)} are there: what they say cannot be known without this one"
    )
    yield Finding(Is.MISSING, entry_key(hole, after.chunk_entries), 0, why)


async def _missing_entries(
    after: MetadataReader, there: set[int], look: SecondLook
) -> AsyncIterator[Finding]:
    """Those of chunks that are not closed; a snapshot covers them, or they could not be read."""
    first = (_closed_chunk(after) + 1) * after.chunk_entries
    gone = [number for number in range(first, after.position + 1) if number not in there]
    told = 0
    for number in gone:
        key = entry_key(number, after.chunk_entries)
        is_needed = partial(_is_open, after, number // after.chunk_entries)
        if await look.is_missing(partial(after.register.read, key), is_needed):
            told += 1
            yield Finding(Is.MISSING, key, 0, "an entry of a chunk that is not closed")
            if told == SHOWN:
                return


async def _missing_pointers(
    after: MetadataReader, listed: Mapping[str, ObjectInfo], look: SecondLook
) -> AsyncIterator[Finding]:
    """Closed chunks are found by bisection: each must have its pointer, for ever."""
    chunks = {int(it[1]) for it in map(CLOSED.fullmatch, listed) if it is not None}
    newest = max(chunks, default=-1)
    for chunk in range(newest + 1):
        key = closed_key(chunk)
        if chunk not in chunks and await look.is_missing(partial(after.register.read, key)):
            why = f"chunk {newest} is closed, and so this one was"
            yield Finding(Is.MISSING, key, 0, why)


def _kept(before: MetadataReader, after: MetadataReader) -> list[SnapshotTaken]:
    """The snapshots that a start may need, and that were needed all the time."""
    named = before.image.cluster.snapshots
    kept = [it for it in after.image.cluster.snapshots[-2:] if it in named]
    if after.closed is not None and after.closed == before.closed:
        kept.append(after.closed.snapshot)
    return list(dict.fromkeys(kept))


async def _missing_parts(
    after: MetadataReader,
    snapshot: SnapshotTaken,
    listed: Mapping[str, ObjectInfo],
    look: SecondLook,
) -> AsyncIterator[Finding]:
    what = f"a part of the snapshot after entry {snapshot.position}"
    for part in snapshot.parts:
        info = listed.get(part.key)
        if info is None:
            is_needed = partial(_is_still_kept, after, snapshot)
            if await look.is_missing(partial(after.register.read, part.key), is_needed):
                yield Finding(Is.MISSING, part.key, part.size_bytes, what)
        elif info.size_bytes != part.size_bytes:
            why = f"{what}, with {info.size_bytes} bytes instead of {part.size_bytes}"
            yield Finding.at(Is.DAMAGED, info, why)


async def _is_open(after: MetadataReader, chunk: int) -> bool:
    """Whether a chunk is not closed by now: one that is, is emptied."""
    return not await is_closed(after.register, chunk)


async def _is_still_kept(after: MetadataReader, snapshot: SnapshotTaken) -> bool:
    """Whether a start may need a snapshot by now; those before the newest two are deleted."""
    newest = MetadataReader(after.register)
    await newest.load()
    return snapshot in _kept(newest, newest)


def _closed_chunk(after: MetadataReader) -> int:
    return -1 if after.closed is None else after.closed.chunk
