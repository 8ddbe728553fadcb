"""Commands about nodes and their WALs: register, activate, close. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from automq._native import Columns
from automq.metadata.cluster import Node
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.cluster import IdKind, ProducerIdsReserved
from automq.metadata.records.nodes import (
    NodeListener,
    NodeRegistered,
    NodeState,
    NodeStateSet,
    StateReason,
)
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import StreamsClosed
from automq.metadata.records.wals import WalClosed, WalForgotten, WalKind, WalRegistered
from automq.protocol import errors

PRODUCER_IDS_AT_ONCE = 1_000
CLOSED_WALS_KEPT = 8
"""Of each node, for who looks at what its last lives came to."""


@dataclass(frozen=True, slots=True)
class NodeWish:
    """A node that (re)starts, as it describes itself."""

    node_id: int
    incarnation: bytes
    roles: int
    rack: str | None
    host: str
    listeners: Sequence[NodeListener]
    software: str


def register_node(image: Image, wish: NodeWish) -> Decision[int]:
    """Register an incarnation of a node; its node epoch. Everything of older ones ends here."""
    node_epoch = image.cluster.next_ids[IdKind.NODE_EPOCH]
    registered = NodeRegistered(
        node_id=wish.node_id,
        node_epoch=node_epoch,
        incarnation=wish.incarnation,
        roles=wish.roles,
        rack=wish.rack,
        host=wish.host,
        listeners=tuple(wish.listeners),
        features=(),
        software=wish.software,
        tags=(),
    )
    return Decision([registered], node_epoch)


def activate_node(image: Image, node_id: int, node_epoch: int) -> Decision[None]:
    """The node serves. Raises StaleBrokerEpoch."""
    check_node(image, node_id, node_epoch)
    active = in_state(image.cluster.nodes[node_id], NodeState.ACTIVE, StateReason.NONE)
    return Decision([active], None)


def in_state(node: Node, state: NodeState, reason: StateReason) -> NodeStateSet:
    """The record that puts this incarnation of a node into a state; the rest stays as it is."""
    return NodeStateSet(node.node_id, node.node_epoch, state, node.cordoned, reason)


def check_node(image: Image, node_id: int, node_epoch: int) -> None:
    """Raises StaleBrokerEpoch unless this is the node's newest incarnation, and not fenced."""
    node = image.cluster.nodes.get(node_id)
    if node is None or node.node_epoch != node_epoch:
        raise errors.StaleBrokerEpoch(f"node {node_id} has registered again after {node_epoch}")
    if not node.is_live:
        raise errors.StaleBrokerEpoch(f"node {node_id} is {node.state.name.lower()}")


def register_wal(
    image: Image, node_id: int, node_epoch: int, uri: str, kind: WalKind = WalKind.FILE
) -> Decision[int]:
    """A WAL id for this incarnation, never used before. Raises StaleBrokerEpoch.

    A node that starts for years leaves a WAL each time: the oldest that are closed are forgotten.
    Invariant: an id below `next_wal` that is not known is closed: nothing is committed from it, and
    what is left of it is removed wherever it is found.
    """
    check_node(image, node_id, node_epoch)
    wal_id = image.storage.next_wal
    wals = sorted(image.storage.wals.items())
    closed = [old for old, wal in wals if wal.node_id == node_id and wal.closed]
    return Decision(
        [
            WalRegistered(wal_id, node_id, node_epoch, uri, kind, 0),
            *map(WalForgotten, closed[:-CLOSED_WALS_KEPT]),
        ],
        wal_id,
    )


def has_led(image: Image, node_id: int, node_epoch: int) -> bool:
    """Whether this incarnation may have appended: it has opened a stream that still is one."""
    for stream_id in image.storage.tables.streams_of_node(node_id):
        stream = image.storage.stream(stream_id)
        if stream is not None and stream.node_epoch == node_epoch:
            return True
    return False


def close_wal(
    image: Image, wal_id: int, committer: tuple[int, int], fence: int, *, clean: bool
) -> Decision[None]:
    """All of a WAL is committed; nothing of it counts from here on. Raises InvalidRequest."""
    wal = image.storage.wals.get(wal_id)
    if wal is None or wal.closed or wal.committer != committer:
        raise errors.InvalidRequest(f"WAL {wal_id} is not this node's to close")
    if fence < wal.start:
        raise errors.InvalidRequest(f"WAL {wal_id} starts at {wal.start}, it cannot end at {fence}")
    return Decision([WalClosed(wal_id, fence, clean)], None)


def close_streams(image: Image, streams: Iterable[int]) -> list[Record]:
    """Records that close those of `streams` that are open, each at its committed end.

    Invariant: decided with, or after, the last commit of every WAL that may hold a tail of them.
    """
    rows = [
        (stream_id, stream.epoch, stream.end)
        for stream_id in streams
        if (stream := image.storage.stream(stream_id)) is not None and stream.open
    ]
    if not rows:
        return []
    columns = [list(column) for column in zip(*sorted(rows), strict=True)]
    return [StreamsClosed(Columns(*columns))]


def close_node(
    image: Image, node_id: int, node_epoch: int, wal_id: int, fence: int
) -> Decision[None]:
    """A clean stop: everything is uploaded, streams and WAL are closed, in one entry.

    Raises StaleBrokerEpoch, InvalidRequest.
    """
    check_node(image, node_id, node_epoch)
    closed = close_wal(image, wal_id, (node_id, node_epoch), fence, clean=True)
    records = close_streams(image, image.storage.tables.streams_of_node(node_id))
    records += closed.records
    node = image.cluster.nodes[node_id]
    records.append(in_state(node, NodeState.STOPPED, StateReason.SHUTDOWN))
    return Decision(records, None)


def reserve_producer_ids(image: Image, node_id: int, node_epoch: int) -> Decision[range]:
    """A block of producer ids that nobody else gets (KIP-730). Raises StaleBrokerEpoch."""
    check_node(image, node_id, node_epoch)
    first = image.cluster.next_producer_id
    end = first + PRODUCER_IDS_AT_ONCE
    return Decision([ProducerIdsReserved(node_id, node_epoch, end)], range(first, end))
