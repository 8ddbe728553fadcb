"""Commands about streams and objects. Batched: one record for any number of streams."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from automq._native import Columns
from automq.controller.nodes import NodeRef, require_committer, require_live
from automq.controller.refusals import (
    InvalidCommand,
    NotPrepared,
    NotUploaded,
    Refused,
    StaleEpoch,
    StreamHeld,
    StreamUnknown,
)
from automq.metadata.decision import Command, Decision
from automq.metadata.image import Image
from automq.metadata.records.objects import (
    ExtentsReplaced,
    ObjectCommitted,
    ObjectsPrepared,
    Purpose,
)
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import (
    NewStream,
    StreamsClosed,
    StreamsCreated,
    StreamsOpened,
    StreamsRemoved,
    StreamsTrimmed,
)
from automq.metadata.storage import PREPARED

_FREE, _HELD, _ALREADY, _STALE, _UNKNOWN = range(5)


class Verdict(IntEnum):
    """What became of a range of a commit."""

    TAKEN = 0
    """It is the stream's end now."""
    ALREADY = 1
    """It was committed before: fine."""
    GONE = 2
    """The stream was removed: drop it."""
    FENCED = 3
    """Another node opened the stream below its end: close the partition, keep nothing of it."""


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream as its new owner finds it. `opens`: the leader-epoch history with this one."""

    stream: int
    epoch: int
    start: int
    end: int
    opens: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class UploadedObject:
    """An object to commit. `ranges`: stream, epoch, start, end, bytes, max_timestamp, with streams
    ascending; the epoch is that of the range's last batch. `wal_start`: the first position of the
    WAL that is still needed once this is committed."""

    object: int
    bytes: int
    level: int
    index_position: int
    index_bytes: int
    wal_start: int
    ranges: Columns


def create_streams(streams: Sequence[NewStream]) -> Command[int]:
    """Creates empty streams; answers the id of the first, the others follow it."""

    def command(image: Image) -> Decision[int]:
        first = image.storage.tables.next_stream
        return Decision([StreamsCreated(first, tuple(streams))] if streams else (), first)

    return command


def open_streams(
    node: NodeRef, streams: Sequence[tuple[int, int]]
) -> Command[list[OpenedStream | Refused]]:
    """Opens (stream, epoch) at their committed ends. Each is answered alone: StreamUnknown,
    StaleEpoch, StreamHeld. Asking again for what is open answers the same. Raises NodeFenced.

    Invariant: a stream is opened only when no WAL can still bring records of an older epoch.
    """

    def command(image: Image) -> Decision[list[OpenedStream | Refused]]:
        require_live(image, node)
        ids, epochs = [stream for stream, _ in streams], [epoch for _, epoch in streams]
        if len(set(ids)) != len(ids):
            raise InvalidCommand("a stream is named twice")
        tables = image.storage.tables
        judged = tables.judge_opens(node.node_id, node.node_epoch, ids, epochs)
        replies: list[OpenedStream | Refused] = []
        rows: tuple[list[int], list[int], list[int]] = ([], [], [])
        for (stream, epoch), (code, start, *owner) in zip(streams, judged, strict=True):
            refusal = _open_refusal(image, stream, epoch, code, start, owner)
            if refusal is not None:
                replies.append(refusal)
                continue
            replies.append(_opened(image, stream, epoch, start, fresh=code != _ALREADY))
            if code != _ALREADY:
                for column, value in zip(rows, (stream, epoch, start), strict=True):
                    column.append(value)
        if not rows[0]:
            return Decision((), replies)
        opened = StreamsOpened(node.node_id, node.node_epoch, Columns(*rows))
        return Decision([opened], replies)

    return command


def _open_refusal(
    image: Image, stream: int, epoch: int, code: int, start: int, owner: Sequence[int]
) -> Refused | None:
    if code == _UNKNOWN:
        return StreamUnknown(f"stream {stream}")
    if code == _STALE:
        return StaleEpoch(f"stream {stream}: asked for epoch {epoch}, it has {start}")
    if code == _HELD:
        wals = image.storage.open_wals(owner[0], owner[1])
        if wals:
            return StreamHeld(f"stream {stream}: WAL {wals[0].wal} of node {owner[0]} is open")
    return None


def _opened(image: Image, stream: int, epoch: int, start: int, *, fresh: bool) -> OpenedStream:
    found = image.storage.stream(stream)
    assert found is not None, stream
    opens = image.storage.opens(stream)
    if fresh:
        opens = [entry for entry in opens if entry[1] != start]
        opens.append((epoch, start))
    return OpenedStream(stream, epoch, found.start, found.end, tuple(opens))


def close_streams(
    node: NodeRef, streams: Sequence[tuple[int, int, int]]
) -> Command[list[Refused | None]]:
    """Closes (stream, epoch, end): all up to `end` is committed, and nobody appends any more.

    Each is answered alone: StreamUnknown, StaleEpoch, NotUploaded. One that is closed is fine.
    Raises NodeFenced.
    """

    def command(image: Image) -> Decision[list[Refused | None]]:
        require_live(image, node)
        replies: list[Refused | None] = []
        rows: tuple[list[int], list[int], list[int]] = ([], [], [])
        for stream, epoch, end in streams:
            try:
                closing = _is_to_close(image, node, stream, epoch, end)
            except Refused as refusal:
                replies.append(refusal)
                continue
            replies.append(None)
            if closing and stream not in rows[0]:
                for column, value in zip(rows, (stream, epoch, end), strict=True):
                    column.append(value)
        return Decision([StreamsClosed(Columns(*rows))] if rows[0] else (), replies)

    return command


def _is_to_close(image: Image, node: NodeRef, stream: int, epoch: int, end: int) -> bool:
    found = image.storage.stream(stream)
    if found is None:
        raise StreamUnknown(f"stream {stream}")
    owner = (node.node_id, node.node_epoch)
    if found.epoch != epoch or (found.node_id, found.node_epoch) != owner:
        raise StaleEpoch(f"stream {stream}: asked for epoch {epoch}, it has {found.epoch}")
    if found.end != end:
        raise NotUploaded(f"stream {stream}: ends at {end}, committed is {found.end}")
    return found.open


def trim_streams(streams: Sequence[tuple[int, int]]) -> Command[None]:
    """Moves starts of (stream, start), clamped to the committed end, where that frees a range.

    Unknown streams are passed by: retention may come after the topic's deletion.
    """

    def command(image: Image) -> Decision[None]:
        furthest: dict[int, int] = {}
        for stream, start in streams:
            furthest[stream] = max(start, furthest.get(stream, 0))
        ids = sorted(furthest)
        judged = image.storage.tables.judge_trims(ids, [furthest[stream] for stream in ids])
        return Decision([StreamsTrimmed(judged)] if len(judged) else (), None)

    return command


def remove_streams(streams: Sequence[int]) -> Command[None]:
    """Removes streams with all their ranges; unknown ones are passed by."""

    def command(image: Image) -> Decision[None]:
        known = sorted({it for it in streams if image.storage.stream(it) is not None})
        return Decision([StreamsRemoved(Columns(known))] if known else (), None)

    return command


# Objects


def prepare_objects(
    node: NodeRef, *, count: int, deadline_ms: int, purpose: Purpose = Purpose.UPLOAD
) -> Command[range]:
    """Ids to upload under; never used before or after. What is not committed by the deadline may be
    doomed. Raises NodeFenced, InvalidCommand."""

    def command(image: Image) -> Decision[range]:
        require_live(image, node)
        if not 0 < count <= 10_000:
            raise InvalidCommand(f"{count} object ids: ask for 1 to 10,000")
        first = image.storage.tables.next_object
        prepared = ObjectsPrepared(
            first, count, node.node_id, node.node_epoch, purpose, deadline_ms
        )
        return Decision([prepared], range(first, first + count))

    return command


def commit_objects(
    node: NodeRef, wal_id: int, objects: Sequence[UploadedObject]
) -> Command[list[list[Verdict]]]:
    """Commits objects in WAL order; answers a verdict for each range of each.

    Safe to repeat: what was committed answers ALREADY, whether or not its object is still known.
    The WAL's start moves in the same records. Raises NodeFenced, WalOver, NotPrepared (upload that
    one again), InvalidCommand; then nothing is committed.
    """

    def command(image: Image) -> Decision[list[list[Verdict]]]:
        wal = require_committer(image, node, wal_id)
        owner = (wal.node_id, wal.node_epoch)
        try:
            judged = image.storage.tables.judge_commits([(*owner, it.ranges) for it in objects])
        except ValueError as why:
            raise InvalidCommand(str(why)) from None
        records: list[Record] = []
        wal_start = wal.start
        seen: set[int] = set()
        for uploaded, (_, taken) in zip(objects, judged, strict=True):
            refusal = _commit_refusal(image, node, uploaded.object)
            if uploaded.object in seen:
                refusal = f"object {uploaded.object} is named twice"
            seen.add(uploaded.object)
            if refusal is not None:
                if len(taken):
                    raise NotPrepared(refusal)
                continue
            wal_start = max(wal_start, uploaded.wal_start)
            records.append(_committed(node, wal_id, wal_start, uploaded, taken))
        return Decision(records, [[Verdict(code) for code in codes] for codes, _ in judged])

    return command


def _commit_refusal(image: Image, node: NodeRef, object_id: int) -> str | None:
    found = image.storage.object(object_id)
    if found is None or found.state != PREPARED:
        return f"object {object_id} is {'unknown' if found is None else 'not prepared any more'}"
    if (found.node_id, found.node_epoch) != (node.node_id, node.node_epoch):
        return f"object {object_id} was prepared for node {found.node_id}"
    return None


def _committed(
    node: NodeRef, wal_id: int, wal_start: int, uploaded: UploadedObject, taken: Columns
) -> ObjectCommitted:
    return ObjectCommitted(
        object=uploaded.object,
        bytes=uploaded.bytes,
        level=uploaded.level,
        index_position=uploaded.index_position,
        index_bytes=uploaded.index_bytes,
        node_id=node.node_id,
        wal=wal_id,
        wal_start=wal_start,
        ranges=taken,
    )


class ReplaceVerdict(IntEnum):
    TAKEN = 0
    GONE = 1
    REFUSED = 2


def replace_extents(
    node: NodeRef, *, removed: Columns, added: Columns, objects: Columns, cleaned: Columns
) -> Command[dict[int, ReplaceVerdict]]:
    """Lets streams read from new objects; columns as in `ExtentsReplaced`. A verdict per stream.

    A stream's part is taken if all that it removes is still there, whatever its epoch. An object of
    which nothing is taken becomes garbage. Raises NodeFenced, NotPrepared, InvalidCommand.
    """

    def command(image: Image) -> Decision[dict[int, ReplaceVerdict]]:
        require_live(image, node)
        for columns, width in ((removed, 4), (added, 6), (objects, 5), (cleaned, 3)):
            if columns.width != width:
                raise InvalidCommand(f"{columns.width} columns where {width} belong")
        for object_id in objects.column(0):
            refusal = _commit_refusal(image, node, object_id)
            if refusal is not None:
                raise NotPrepared(refusal)
        try:
            judged = image.storage.tables.judge_replace(removed, added)
        except ValueError as why:
            raise InvalidCommand(str(why)) from None
        _require_known_objects(added, objects)
        verdicts = {stream: ReplaceVerdict(code) for stream, code in judged}
        taken = {it for it, verdict in verdicts.items() if verdict is ReplaceVerdict.TAKEN}
        kept = [_rows_of(columns, taken) for columns in (removed, added)]
        replaced = ExtentsReplaced(kept[0], kept[1], objects, _rows_of(cleaned, taken))
        return Decision([replaced] if len(objects) else (), verdicts)

    return command


def _require_known_objects(added: Columns, objects: Columns) -> None:
    ids = objects.column(0)
    if len(set(ids)) != len(ids):
        raise InvalidCommand("an object is named twice")
    strange = set(added.column(1)) - set(ids)
    if strange:
        raise InvalidCommand(f"ranges in objects that are not committed: {sorted(strange)}")


def _rows_of(columns: Columns, streams: set[int]) -> Columns:
    """The rows whose first column is one of these."""
    values = columns.columns()
    keep = [row for row, stream in enumerate(values[0]) if stream in streams]
    if len(keep) == len(columns):
        return columns
    return Columns(*([column[row] for row in keep] for column in values))
