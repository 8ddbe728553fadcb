"""Commands about merging objects: what to merge, and putting what was made in place. Pure.

Invariants (HAZARDS 9, 17): a replace names exactly the ranges that it takes out, and is accepted
only while all of them are there, whatever has happened meanwhile; what it puts in covers the same
offsets; the new object is committed in the same record. So a merge that is late, repeated or
somebody else's changes nothing, and no reader ever finds a gap.
"""

from collections.abc import Collection, Sequence

from automq._native import Columns
from automq.controller.nodes import check_node
from automq.controller.objects import doom
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.objects import (
    DoomReason,
    ExtentsReplaced,
    ObjectsPrepared,
    Purpose,
)
from automq.metadata.storage import COMMITTED, PREPARED
from automq.protocol import errors
from automq.stream.client import (
    Merge,
    MergeLimits,
    MergeReason,
    MergeSource,
    ObjectDoomed,
    ObjectReplacement,
    ReplaceVerdict,
)

NOTHING_CLEANED = Columns([], [], [])


def plan_merge(
    image: Image,
    node_id: int,
    node_epoch: int,
    limits: MergeLimits,
    *,
    objects_left_out: Collection[int],
    streams_left_out: Collection[int],
    deadline_ms: int,
) -> Decision[Merge | None]:
    """What the node should merge next, and the id of the new object; None if nothing is worth it.

    Streams of merges in work are left out, so that there is one of each stream at a time. Raises
    StaleBrokerEpoch.
    """
    check_node(image, node_id, node_epoch)
    tables = image.storage.tables
    planned = tables.plan_merge(
        node_id,
        (
            limits.objects_max,
            limits.fan_in,
            limits.object_bytes,
            limits.ranges_max,
            limits.dead_bytes,
        ),
        (sorted(objects_left_out), sorted(streams_left_out)),
    )
    if planned is None:
        return Decision((), None)
    reason, level, parts = planned
    object_id = tables.next_object
    prepared = ObjectsPrepared(object_id, 1, node_id, node_epoch, Purpose.MERGE, deadline_ms)
    sources: list[MergeSource] = []
    for source_id in sorted(set(parts.column(1))):
        source = image.storage.object(source_id)
        assert source is not None, source_id
        sources.append(MergeSource(source_id, source.index_position, source.index_bytes))
    return Decision([prepared], Merge(object_id, MergeReason(reason), level, sources, parts))


def replace_extents(
    image: Image, node_id: int, node_epoch: int, replacement: ObjectReplacement
) -> Decision[list[ReplaceVerdict]]:
    """Read streams from a new object in place of others: one record; a verdict for each stream.

    Streams of which not everything named is there any more keep what they have; if none is left
    the new object is doomed. Safe to repeat. Raises StaleBrokerEpoch, ObjectDoomed, InvalidRequest.
    """
    check_node(image, node_id, node_epoch)
    object_id = replacement.object_id
    removed, added = replacement.removed, replacement.added
    if set(added.column(1)) - {object_id}:
        raise errors.InvalidRequest(f"a replace of object {object_id} adds ranges of others")
    known = image.storage.object(object_id)
    if known is not None and known.state == COMMITTED and known.node_id == node_id:
        return Decision((), [ReplaceVerdict.TAKEN] * len(set(removed.column(0))))
    if known is None or known.state != PREPARED or known.node_id != node_id:
        raise ObjectDoomed(f"object {object_id} is doomed or was never prepared")
    try:
        judged = image.storage.tables.judge_replace(removed, added)
    except ValueError as error:
        raise errors.InvalidRequest(f"object {object_id}: {error}") from None
    reply = [ReplaceVerdict(code) for _, code in judged]
    taken = {stream for stream, code in judged if code == ReplaceVerdict.TAKEN}
    if not taken:
        return Decision(doom([object_id], DoomReason.REFUSED).records, reply)
    record = ExtentsReplaced(
        removed=only(removed, taken),
        added=only(added, taken),
        objects=Columns(
            [object_id],
            [replacement.size_bytes],
            [replacement.level],
            [replacement.index_position],
            [replacement.index_bytes],
        ),
        cleaned=NOTHING_CLEANED,
    )
    return Decision([record], reply)


def give_up_object(image: Image, node_id: int, object_id: int) -> Decision[None]:
    """A node will not use an id that it has prepared."""
    known = image.storage.object(object_id)
    if known is None or known.state != PREPARED or known.node_id != node_id:
        return Decision((), None)
    return Decision(doom([object_id], DoomReason.REFUSED).records, None)


def is_in_work(image: Image, object_id: int) -> bool:
    """Whether a merge into this object may still be put in place."""
    known = image.storage.object(object_id)
    return known is not None and known.state == PREPARED


def only(rows: Columns, streams: Collection[int]) -> Columns:
    """The rows of some streams; the first column is the stream."""
    columns: Sequence[list[int]] = rows.columns()
    kept = [row for row, stream in enumerate(columns[0]) if stream in streams]
    if len(kept) == len(rows):
        return rows
    return Columns(*([column[row] for row in kept] for column in columns))
