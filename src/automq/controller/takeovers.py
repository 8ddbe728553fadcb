"""Commands about WALs whose owner is gone: fence the node, take them over, finish them. Pure.

The order is the safety (HAZARDS 1, 2): a stored record says that the owner is fenced and whose the
WAL is from now on, so its start cannot move under the taker; then the taker fences the WAL by its
kind's means, reads it, uploads, commits; the last commit shares its entry with the records that
close the streams and the WAL. A taker that dies is replaced by the next attempt, which does all of
it again and is told `ALREADY` where the first one got.
"""

from dataclasses import dataclass

from automq.controller.nodes import check_node, close_streams, close_wal, in_state
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.nodes import NodeState, StateReason
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import StreamKind
from automq.metadata.records.wals import WalTakeover
from automq.metadata.storage import Wal
from automq.protocol import errors
from automq.world.probe import probe

Incarnation = tuple[int, int]
"""A node id and its node epoch."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream that a WAL may hold more of: behind `end` nothing is committed."""

    topic_id: bytes
    partition: int
    stream_id: int
    is_data: bool
    end: int


def unfinished_wals(image: Image, node_id: int) -> list[Wal]:
    """The WALs of a node that are not closed and not its newest incarnation's own, oldest first.

    All of them, if the newest incarnation is fenced or has stopped.
    """
    node = image.cluster.nodes.get(node_id)
    live_epoch = node.node_epoch if node is not None and node.is_live else None
    return [
        wal
        for _, wal in sorted(image.storage.wals.items())
        if wal.node_id == node_id and not wal.closed and wal.node_epoch != live_epoch
    ]


def fence_node(image: Image, taker: Incarnation, node_id: int) -> Decision[None]:
    """Declare a node dead: from this record on its commits are refused, until it registers again.

    Nothing is decided for one that is fenced or has stopped already. Raises StaleBrokerEpoch,
    InvalidRequest.
    """
    check_node(image, *taker)
    node = image.cluster.nodes.get(node_id)
    if node is None:
        known = ", ".join(str(it) for it in sorted(image.cluster.nodes))
        raise errors.InvalidRequest(f"node {node_id} is not known; known are {known}")
    if node_id == taker[0]:
        raise errors.InvalidRequest(f"node {node_id} cannot declare itself dead")
    if not node.is_live:
        return Decision((), None)
    return Decision([in_state(node, NodeState.FENCED, StateReason.OPERATOR)], None)


def take_over(image: Image, wal_id: int, taker: Incarnation) -> Decision[Wal]:
    """Give a WAL to a taker; the WAL, whose start is final now.

    Invariant: its owner is fenced: a newer incarnation is registered, or the node is declared dead.
    From this record on only the taker's commits are accepted, so the start cannot move under it.
    Raises StaleBrokerEpoch, InvalidRequest.
    """
    check_node(image, *taker)
    wal = image.storage.wals.get(wal_id)
    if wal is None or wal.closed:
        raise errors.InvalidRequest(f"WAL {wal_id} is closed already")
    owner = image.cluster.nodes.get(wal.node_id)
    if owner is not None and owner.node_epoch == wal.node_epoch and owner.is_live:
        raise errors.InvalidRequest(f"WAL {wal_id} belongs to node {wal.node_id}, which is alive")
    attempt = wal.attempt + 1
    if attempt > 1:
        probe("storage: a taker died between fence and commit")
    return Decision([WalTakeover(wal_id, wal.start, *taker, attempt)], wal)


def take_over_all(image: Image, taker: Incarnation, node_id: int) -> Decision[list[Wal]]:
    """`take_over` for every WAL that a node left, in one entry. Raises StaleBrokerEpoch."""
    check_node(image, *taker)
    wals = unfinished_wals(image, node_id)
    records: list[Record] = []
    for wal in wals:
        records += take_over(image, wal.wal, taker).records
    return Decision(records, wals)


def finish_wal(image: Image, wal_id: int, taker: Incarnation, fence: int) -> Decision[int]:
    """All that counts of a WAL is committed: close it, and its owner's streams; how many.

    Invariant: an incarnation has one WAL, so with its last commit its streams have their true ends
    and whoever opens them next needs no WAL. Raises StaleBrokerEpoch, InvalidRequest.
    """
    check_node(image, *taker)
    closed = close_wal(image, wal_id, taker, fence, clean=False)
    streams = open_streams(image, image.storage.wals[wal_id])
    records = close_streams(image, [it.stream_id for it in streams])
    return Decision([*records, *closed.records], len(streams))


def open_streams(image: Image, wal: Wal) -> list[OpenStream]:
    """The streams that the owner of a WAL had open with it, by topic and partition."""
    found = []
    for stream_id in image.storage.tables.streams_of_node(wal.node_id):
        stream = image.storage.stream(stream_id)
        if stream is not None and stream.open and stream.node_epoch == wal.node_epoch:
            is_data = stream.kind is StreamKind.DATA
            found.append(
                OpenStream(stream.topic_id, stream.partition, stream_id, is_data, stream.end)
            )
    return sorted(found, key=lambda it: (it.topic_id, it.partition, it.stream_id))


def stop_node(image: Image, node: Incarnation) -> Decision[None]:
    """A node that had nothing open says that it has stopped. Raises StaleBrokerEpoch."""
    check_node(image, *node)
    known = image.cluster.nodes[node[0]]
    return Decision([in_state(known, NodeState.STOPPED, StateReason.SHUTDOWN)], None)
