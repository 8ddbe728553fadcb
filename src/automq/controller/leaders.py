"""Commands about who leads: opening partitions at a node, and their state streams."""

from collections.abc import Sequence
from dataclasses import dataclass

from automq._native import Columns
from automq.controller.nodes import check_node
from automq.controller.takeovers import unfinished_wals
from automq.metadata.cluster import Partition
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import NewStream, StreamKind, StreamsCreated, StreamsOpened
from automq.metadata.records.topics import (
    PartitionReason,
    PartitionSet,
    PartitionState,
    StateStreamSet,
)
from automq.metadata.storage import Stream
from automq.protocol import errors


@dataclass(frozen=True, slots=True)
class StreamAt:
    """A stream as it is opened: offsets `[start_offset, end_offset)` are committed."""

    stream_id: int
    epoch: int
    start_offset: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class PartitionAt:
    """A partition as its leader gets it. `opens` are (epoch, start offset), oldest first."""

    topic_id: bytes
    index: int
    data: StreamAt
    state: StreamAt | None
    opens: Sequence[tuple[int, int]]


def lead_at(image: Image, node_id: int, node_epoch: int) -> Decision[int]:
    """A node has (re)started: it leads again what it led, and what nobody can lead any more, at new
    epochs; how many partitions those are.

    Invariant: a stream is opened at its committed end, so this is decided only after every WAL of
    the node's earlier incarnations is closed, and of others' partitions only those are taken whose
    streams are closed. Raises StaleBrokerEpoch, InvalidRequest.
    """
    check_node(image, node_id, node_epoch)
    unfinished = unfinished_wals(image, node_id)
    if unfinished:
        raise errors.InvalidRequest(f"WAL {unfinished[0].wal} still holds a tail of node {node_id}")
    records: list[Record] = []
    opened: list[tuple[int, int, int]] = []
    own = image.cluster.partitions.led_by(node_id)
    led = [*own, *orphans(image, node_id)]
    for topic_id, index in led:
        partition = image.cluster.partition(topic_id, index)
        assert partition is not None
        epoch = partition.leader_epoch + 1
        records.append(
            PartitionSet(
                topic_id,
                index,
                placed_at(partition, node_id),
                tuple(partition.adding),
                tuple(partition.removing),
                leader=node_id,
                leader_epoch=epoch,
                partition_epoch=partition.partition_epoch + 1,
                state=PartitionState.OPEN,
                moving_to=-1,
                reason=PartitionReason.OPENED,
            )
        )
        for stream_id, stream in streams_of(image, partition):
            opened.append((stream_id, epoch, stream.end))
    if opened:
        columns = Columns(*(list(column) for column in zip(*sorted(opened), strict=True)))
        records.append(StreamsOpened(node_id, node_epoch, columns))
    return Decision(records, len(led))


def orphans(image: Image, survivor: int) -> list[tuple[bytes, int]]:
    """(topic id, partition) of those that a survivor may lead: their leader has stopped or was
    declared dead, its WAL was taken over, and no other node of their list lives.

    An open stream is the mark of a WAL that may hold more of it, so it is left alone.
    """
    nodes = image.cluster.nodes
    live = {node_id for node_id, node in nodes.items() if node.is_live}
    found = []
    for leader in [-1, *sorted(set(nodes) - live - {survivor})]:
        for topic_id, index in image.cluster.partitions.led_by(leader):
            partition = image.cluster.partition(topic_id, index)
            assert partition is not None
            others = live.intersection(partition.replicas) - {survivor}
            if not others and not any(it.open for _, it in streams_of(image, partition)):
                found.append((topic_id, index))
    return found


def placed_at(partition: Partition, leader: int) -> tuple[int, ...]:
    """The placement list with a leader in it: it replaces the first entry if it is not (HAZARDS
    19), so that tools never see a leader outside the list, and its length stays what was asked.
    """
    replicas = partition.replicas
    return tuple(replicas) if leader in replicas else (leader, *replicas[1:])


def streams_of(image: Image, partition: Partition) -> list[tuple[int, Stream]]:
    """Data and state stream, as far as there are any."""
    found = []
    for stream_id in (partition.data_stream, partition.state_stream):
        if stream_id >= 0:
            stream = image.storage.stream(stream_id)
            assert stream is not None, stream_id
            found.append((stream_id, stream))
    return found


def create_state_stream(image: Image, topic_id: bytes, index: int) -> Decision[StreamAt]:
    """Give a partition a state stream, open where its data stream is; the one it has, if any.

    Raises UnknownTopicId, NotLeaderOrFollower (nobody leads it).
    """
    partition = image.cluster.partition(topic_id, index)
    if partition is None:
        raise errors.UnknownTopicId("the topic was deleted")
    epoch = partition.leader_epoch
    if partition.state_stream >= 0:
        return Decision((), stream_at(image, partition.state_stream))
    if partition.leader < 0:
        raise errors.NotLeaderOrFollower(f"partition {index} of the topic has no leader")
    stream_id = image.storage.tables.next_stream
    node = image.cluster.nodes[partition.leader]
    records: list[Record] = [
        StreamsCreated(stream_id, (NewStream(topic_id, index, StreamKind.STATE),)),
        StateStreamSet(topic_id, index, stream_id),
        StreamsOpened(node.node_id, node.node_epoch, Columns([stream_id], [epoch], [0])),
    ]
    return Decision(records, StreamAt(stream_id, epoch, 0, 0))


def stream_at(image: Image, stream_id: int) -> StreamAt:
    stream = image.storage.stream(stream_id)
    assert stream is not None, stream_id
    return StreamAt(stream_id, stream.epoch, stream.start, stream.end)


def partition_at(image: Image, topic_id: bytes, index: int) -> PartitionAt | None:
    """What the leader of a partition needs to open it; None if it is deleted."""
    partition = image.cluster.partition(topic_id, index)
    if partition is None:
        return None
    state = partition.state_stream
    return PartitionAt(
        topic_id,
        index,
        stream_at(image, partition.data_stream),
        stream_at(image, state) if state >= 0 else None,
        image.storage.opens(partition.data_stream),
    )
