"""Commands about objects: prepare, commit, trim, doom, forget. Pure."""

from collections.abc import Sequence

from automq._native import Columns
from automq.controller.nodes import check_node
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.objects import (
    DoomReason,
    ObjectCommitted,
    ObjectsDoomed,
    ObjectsForgotten,
    ObjectsPrepared,
    Purpose,
)
from automq.metadata.records.streams import StreamsTrimmed
from automq.metadata.storage import PREPARED
from automq.protocol import errors
from automq.stream.client import ObjectCommit, ObjectDoomed, Verdict
from automq.world.probe import probe

OBJECTS_AT_ONCE = 1_000


def prepare_objects(
    image: Image, node_id: int, node_epoch: int, count: int, deadline_ms: int
) -> Decision[int]:
    """Ids for uploads of a node, never used again; the first.

    Raises StaleBrokerEpoch, InvalidRequest.
    """
    check_node(image, node_id, node_epoch)
    if not 1 <= count <= OBJECTS_AT_ONCE:
        raise errors.InvalidRequest(f"{count} objects at once; 1 to {OBJECTS_AT_ONCE} are possible")
    first = image.storage.tables.next_object
    prepared = ObjectsPrepared(first, count, node_id, node_epoch, Purpose.UPLOAD, deadline_ms)
    return Decision([prepared], first)


def commit_object(
    image: Image, node_id: int, node_epoch: int, commit: ObjectCommit
) -> Decision[list[Verdict]]:
    """Make an object part of its streams: one record, whole; a verdict for each range.

    Invariants (HAZARDS 2, 4, 16): only the WAL's committer may commit from it; a doomed id is
    refused for ever; the WAL's start moves in the same record; asking again changes nothing and
    answers `ALREADY`. Raises StaleBrokerEpoch, ObjectDoomed, InvalidRequest.
    """
    check_node(image, node_id, node_epoch)
    wal = image.storage.wals.get(commit.wal_id)
    if wal is None or wal.closed or wal.committer != (node_id, node_epoch):
        raise errors.StaleBrokerEpoch(f"WAL {commit.wal_id} is not node {node_id}'s to commit from")
    known = image.storage.object(commit.object_id)
    columns: list[list[int]] = [
        [row[0] for row in commit.ranges],
        list(commit.epochs),
        *([row[number] for row in commit.ranges] for number in range(1, 5)),
    ]
    owner = (wal.node_id, wal.node_epoch)
    try:
        [(verdicts, taken)] = image.storage.tables.judge_commits([(*owner, Columns(*columns))])
    except ValueError as error:
        raise errors.InvalidRequest(f"object {commit.object_id}: {error}") from None
    reply = [Verdict(code) for code in verdicts]
    if known is None or known.state != PREPARED or known.node_id != node_id:
        # A repeat is answered as before, even if the object was merged away and forgotten since.
        if len(taken) or commit.wal_start > wal.start:
            probe("storage: a commit came after its object was doomed")
            raise ObjectDoomed(f"object {commit.object_id} is doomed or was never prepared")
        probe("storage: a commit is repeated")
        if known is None:
            probe("storage: a commit is repeated whose object was forgotten")
        return Decision((), reply)
    if commit.wal_start < wal.start:
        raise errors.InvalidRequest(
            f"WAL {commit.wal_id} starts at {wal.start}, a commit would move it to "
            f"{commit.wal_start}"
        )
    if len(taken) < len(reply):
        probe("storage: a commit has a range that is not taken")
    record = ObjectCommitted(
        object=commit.object_id,
        bytes=commit.size_bytes,
        level=0,
        index_position=commit.index_position,
        index_bytes=commit.index_bytes,
        node_id=node_id,
        wal=commit.wal_id,
        wal_start=commit.wal_start,
        ranges=taken,
    )
    return Decision([record], reply)


def trim_streams(image: Image, starts: Sequence[tuple[int, int]]) -> Decision[None]:
    """Let streams start later, each clamped to its committed end, as far as that frees a range.

    Never refused and never asserted on: what a partition wants is durable with it (HAZARDS 15).
    """
    rows = sorted(starts)
    kept = image.storage.tables.judge_trims([row[0] for row in rows], [row[1] for row in rows])
    return Decision([StreamsTrimmed(kept)] if len(kept) else [], None)


def doom_unreferenced(image: Image, limit: int = OBJECTS_AT_ONCE) -> Decision[list[int]]:
    """Doom committed objects from which nothing is read any more; their ids."""
    found = image.storage.tables.unreferenced(limit)
    return doom(found, DoomReason.NO_EXTENTS)


def doom_orphans(image: Image, now_ms: int, limit: int = OBJECTS_AT_ONCE) -> Decision[list[int]]:
    """Doom ids that were prepared, and not committed by their deadline, or whose node is gone.

    The deadline only says when: what makes it safe is that after this record no commit of these ids
    is accepted (HAZARDS 4).
    """
    late: list[int] = []
    for object_id in image.storage.tables.prepared(limit):
        prepared = image.storage.object(object_id)
        assert prepared is not None, object_id
        node = image.cluster.nodes.get(prepared.node_id)
        owner_is_gone = node is None or node.node_epoch != prepared.node_epoch
        if owner_is_gone or prepared.deadline_ms <= now_ms:
            late.append(object_id)
    return doom(late, DoomReason.ORPHAN)


def doom(object_ids: Sequence[int], reason: DoomReason) -> Decision[list[int]]:
    ids = sorted(object_ids)
    return Decision([ObjectsDoomed(Columns(ids), reason)] if ids else [], ids)


def forget_objects(image: Image, object_ids: Sequence[int]) -> Decision[None]:
    """They were deleted from the store, after they were doomed."""
    return Decision([ObjectsForgotten(Columns(sorted(object_ids)))] if object_ids else [], None)
