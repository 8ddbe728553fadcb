<<<<<<< HEAD
"""Commands about nodes and their WALs: register, take over, close. Pure."""
=======
"""Commands about nodes, their write-ahead logs, and reserved ids."""
>>>>>>> 56d05a2 (controller: commands about nodes, streams and objects, and the sweeper)

from collections.abc import Sequence
from dataclasses import dataclass

<<<<<<< HEAD
from automq._native import Columns
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.cluster import IdKind, ProducerIdsReserved
from automq.metadata.records.nodes import (
=======
from automq.controller.refusals import (
    DuplicateNode,
    InvalidCommand,
    NodeFenced,
    TakeoverRefused,
    WalOver,
)
from automq.metadata.decision import Command, Decision
from automq.metadata.image import Image
from automq.metadata.records.cluster import IdKind, IdsReserved, ProducerIdsReserved
from automq.metadata.records.nodes import (
    FeatureRange,
>>>>>>> 56d05a2 (controller: commands about nodes, streams and objects, and the sweeper)
    NodeListener,
    NodeRegistered,
    NodeState,
    NodeStateSet,
    StateReason,
<<<<<<< HEAD
)
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import StreamsClosed
from automq.metadata.records.wals import WalClosed, WalKind, WalRegistered, WalTakeover
from automq.metadata.storage import Wal
from automq.protocol import errors

PRODUCER_IDS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class NodeWish:
    """A node that (re)starts, as it describes itself."""
=======
    Tag,
)
from automq.metadata.records.registry import Record
from automq.metadata.records.wals import (
    WalClosed,
    WalForgotten,
    WalKind,
    WalRegistered,
    WalTakeover,
)
from automq.metadata.storage import Wal

PRODUCER_IDS = 1_000
"""A block of producer ids, as Apache Kafka hands them out (KIP-730)."""


@dataclass(frozen=True, slots=True)
class NodeRef:
    """One incarnation of a node."""

    node_id: int
    node_epoch: int


@dataclass(frozen=True, slots=True)
class Registration:
    """What a node says of itself when it starts."""
>>>>>>> 56d05a2 (controller: commands about nodes, streams and objects, and the sweeper)

    node_id: int
    incarnation: bytes
    roles: int
    rack: str | None
    host: str
<<<<<<< HEAD
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
    cordoned = image.cluster.nodes[node_id].cordoned
    active = NodeStateSet(node_id, node_epoch, NodeState.ACTIVE, cordoned, StateReason.NONE)
    return Decision([active], None)


def check_node(image: Image, node_id: int, node_epoch: int) -> None:
    """Raises StaleBrokerEpoch unless this is the node's newest incarnation, and not fenced."""
    node = image.cluster.nodes.get(node_id)
    if node is None or node.node_epoch != node_epoch:
        raise errors.StaleBrokerEpoch(f"node {node_id} has registered again after {node_epoch}")
    if not node.is_live:
        raise errors.StaleBrokerEpoch(f"node {node_id} is {node.state.name.lower()}")


def register_wal(image: Image, node_id: int, node_epoch: int, uri: str) -> Decision[int]:
    """A WAL id for this incarnation, never used before. Raises StaleBrokerEpoch."""
    check_node(image, node_id, node_epoch)
    wal_id = image.storage.next_wal
    return Decision([WalRegistered(wal_id, node_id, node_epoch, uri, WalKind.FILE, 0)], wal_id)


def unfinished_wals(image: Image, node_id: int, node_epoch: int) -> list[Wal]:
    """WALs of older incarnations of a node that are not closed, oldest first."""
    return [
        wal
        for _, wal in sorted(image.storage.wals.items())
        if wal.node_id == node_id and wal.node_epoch < node_epoch and not wal.closed
    ]


def take_over(image: Image, wal_id: int, taker: int, taker_epoch: int) -> Decision[int]:
    """Give a WAL to a taker; the position from which on it has to be read.

    Invariant: its owner is fenced: a newer incarnation is registered, or the node is declared dead.
    From this record on only the taker's commits are accepted, so the start cannot move under it.
    Raises StaleBrokerEpoch, InvalidRequest.
    """
    check_node(image, taker, taker_epoch)
    wal = image.storage.wals.get(wal_id)
    if wal is None or wal.closed:
        raise errors.InvalidRequest(f"WAL {wal_id} is closed already")
    owner = image.cluster.nodes.get(wal.node_id)
    if owner is not None and owner.node_epoch == wal.node_epoch and owner.is_live:
        raise errors.InvalidRequest(f"WAL {wal_id} belongs to node {wal.node_id}, which is alive")
    takeover = WalTakeover(wal_id, wal.start, taker, taker_epoch, wal.attempt + 1)
    return Decision([takeover], wal.start)


def close_wal(
    image: Image, wal_id: int, committer: tuple[int, int], fence: int, *, clean: bool
) -> Decision[None]:
    """All of a WAL is committed; nothing of it counts from here on. Raises InvalidRequest."""
    wal = image.storage.wals.get(wal_id)
    if wal is None or wal.closed or wal.committer != committer:
        raise errors.InvalidRequest(f"WAL {wal_id} is not this node's to close")
    return Decision([WalClosed(wal_id, fence, clean)], None)


def close_node(
    image: Image, node_id: int, node_epoch: int, wal_id: int, fence: int
) -> Decision[None]:
    """A clean stop: everything is uploaded, streams and WAL are closed, in one entry.

    Raises StaleBrokerEpoch, InvalidRequest.
    """
    check_node(image, node_id, node_epoch)
    closed = close_wal(image, wal_id, (node_id, node_epoch), fence, clean=True)
    records: list[Record] = []
    rows = [
        (stream_id, stream.epoch, stream.end)
        for stream_id in image.storage.tables.streams_of_node(node_id)
        if (stream := image.storage.stream(stream_id)) is not None and stream.open
    ]
    if rows:
        columns = [list(column) for column in zip(*sorted(rows), strict=True)]
        records.append(StreamsClosed(Columns(*columns)))
    records += closed.records
    cordoned = image.cluster.nodes[node_id].cordoned
    records.append(
        NodeStateSet(node_id, node_epoch, NodeState.STOPPED, cordoned, StateReason.SHUTDOWN)
    )
    return Decision(records, None)


def reserve_producer_ids(image: Image, node_id: int, node_epoch: int) -> Decision[range]:
    """A block of producer ids that nobody else gets (KIP-730). Raises StaleBrokerEpoch."""
    check_node(image, node_id, node_epoch)
    first = image.cluster.next_producer_id
    end = first + PRODUCER_IDS_AT_ONCE
    return Decision([ProducerIdsReserved(node_id, node_epoch, end)], range(first, end))
=======
    listeners: tuple[NodeListener, ...]
    features: tuple[FeatureRange, ...]
    software: str
    tags: tuple[Tag, ...] = ()


def require_live(image: Image, node: NodeRef) -> None:
    """Raises NodeFenced unless this incarnation is registered and neither fenced nor stopped."""
    found = image.cluster.nodes.get(node.node_id)
    if found is None or found.node_epoch != node.node_epoch or not found.is_live:
        now = "not registered" if found is None else f"{found.state.name}, epoch {found.node_epoch}"
        raise NodeFenced(f"node {node.node_id} epoch {node.node_epoch}: it is {now}")


def register_node(registration: Registration, *, before_is_alive: bool) -> Command[NodeRef]:
    """A node starts: it gets a new epoch, and its earlier incarnations are over.

    `before_is_alive`: heartbeats of another incarnation arrived within its session. The same
    incarnation asking again gets the epoch it has. Raises DuplicateNode.
    """

    def command(image: Image) -> Decision[NodeRef]:
        node_id = registration.node_id
        before = image.cluster.nodes.get(node_id)
        if before is not None:
            if before.registered.incarnation == registration.incarnation:
                return Decision((), NodeRef(node_id, before.node_epoch))
            if before_is_alive and before.is_live:
                raise DuplicateNode(f"node {node_id} is alive at {before.registered.host}")
        epoch = image.cluster.next_ids[IdKind.NODE_EPOCH]
        registered = NodeRegistered(
            node_id=node_id,
            node_epoch=epoch,
            incarnation=registration.incarnation,
            roles=registration.roles,
            rack=registration.rack,
            host=registration.host,
            listeners=registration.listeners,
            features=registration.features,
            software=registration.software,
            tags=registration.tags,
        )
        return Decision([registered], NodeRef(node_id, epoch))

    return command


def set_node_state(
    node: NodeRef,
    state: NodeState,
    *,
    reason: StateReason = StateReason.NONE,
    cordoned: bool | None = None,
) -> Command[None]:
    """Sets the state of this incarnation; `cordoned` None leaves it. Raises NodeFenced.

    Invariant: FENCED is stored before anybody touches the node's WALs.
    """

    def command(image: Image) -> Decision[None]:
        found = image.cluster.nodes.get(node.node_id)
        if found is None or found.node_epoch != node.node_epoch:
            raise NodeFenced(f"node {node.node_id} has no epoch {node.node_epoch} any more")
        if not found.is_live and state != found.state:
            raise NodeFenced(f"node {node.node_id} is {found.state.name}: it must register again")
        wanted = found.cordoned if cordoned is None else cordoned
        if (found.state, found.cordoned) == (state, wanted):
            return Decision((), None)
        return Decision([NodeStateSet(node.node_id, node.node_epoch, state, wanted, reason)], None)

    return command


def reserve_node_id() -> Command[int]:
    """A node id that nobody has or ever had."""

    def command(image: Image) -> Decision[int]:
        node_id = image.cluster.next_ids[IdKind.NODE]
        return Decision([IdsReserved(IdKind.NODE, node_id + 1)], node_id)

    return command


def reserve_producer_ids(node: NodeRef, *, count: int = PRODUCER_IDS) -> Command[range]:
    """A block of producer ids that is this node's alone. Raises NodeFenced."""

    def command(image: Image) -> Decision[range]:
        require_live(image, node)
        first = image.cluster.next_producer_id
        ids = range(first, first + count)
        return Decision([ProducerIdsReserved(node.node_id, node.node_epoch, ids.stop)], ids)

    return command


# Write-ahead logs


def require_committer(image: Image, node: NodeRef, wal_id: int) -> Wal:
    """The WAL, if this node commits from it. Raises NodeFenced, WalOver."""
    require_live(image, node)
    wal = image.storage.wals.get(wal_id)
    if wal is None:
        raise WalOver(f"WAL {wal_id} is not registered")
    if wal.closed:
        raise WalOver(f"WAL {wal_id} was closed at {wal.fence}")
    if wal.committer != (node.node_id, node.node_epoch):
        raise WalOver(f"WAL {wal_id} is committed by node {wal.committer[0]}")
    return wal


def register_wal(node: NodeRef, *, uri: str, kind: WalKind, start: int = 0) -> Command[int]:
    """A new WAL of this incarnation; answers its id, never used before. Raises NodeFenced.

    The same node asking again for the same URI gets the one that it has.
    """

    def command(image: Image) -> Decision[int]:
        require_live(image, node)
        for wal in image.storage.open_wals(node.node_id, node.node_epoch):
            if wal.uri == uri:
                return Decision((), wal.wal)
        wal_id = image.storage.next_wal
        registered = WalRegistered(wal_id, node.node_id, node.node_epoch, uri, kind, start)
        return Decision([registered], wal_id)

    return command


def take_over_wals(owner_node_id: int, taker: NodeRef) -> Command[list[Wal]]:
    """Gives the taker every WAL that dead incarnations of a node left open (its own, at a restart).

    The order is DESIGN's: the owner is fenced by a stored record first, this is stored next with
    the start as it is then, and only then does the taker touch the WAL.
    Raises NodeFenced (the taker), TakeoverRefused.
    """

    def command(image: Image) -> Decision[list[Wal]]:
        require_live(image, taker)
        records: list[Record] = []
        taken: list[Wal] = []
        for wal in image.storage.wals.values():
            if wal.node_id != owner_node_id or wal.closed:
                continue
            if wal.committer == (taker.node_id, taker.node_epoch):
                if wal.attempt > 0:
                    taken.append(wal)
                continue
            _require_over(image, wal)
            records.append(
                WalTakeover(
                    wal=wal.wal,
                    start=wal.start,
                    taker=taker.node_id,
                    taker_epoch=taker.node_epoch,
                    attempt=wal.attempt + 1,
                )
            )
            taken.append(wal)
        return Decision(records, taken)

    return command


def _require_over(image: Image, wal: Wal) -> None:
    holder = NodeRef(*wal.committer)
    try:
        require_live(image, holder)
    except NodeFenced:
        return
    raise TakeoverRefused(f"WAL {wal.wal} is in use by node {holder.node_id}: fence it first")


def close_wal(node: NodeRef, wal_id: int, *, fence: int, clean: bool) -> Command[None]:
    """All of the WAL up to `fence` is committed; nothing behind it counts, ever.

    `clean`: its owner ends it, with no stream left open. Raises NodeFenced, WalOver,
    InvalidCommand.
    """

    def command(image: Image) -> Decision[None]:
        wal = require_committer(image, node, wal_id)
        if fence < wal.start:
            raise InvalidCommand(f"WAL {wal_id}: closed at {fence}, its start is {wal.start}")
        if clean and wal.attempt == 0:
            _require_no_open_streams(image, wal)
        return Decision([WalClosed(wal_id, fence, clean)], None)

    return command


def _require_no_open_streams(image: Image, wal: Wal) -> None:
    for stream_id in image.storage.tables.streams_of_node(wal.node_id):
        stream = image.storage.stream(stream_id)
        if stream is not None and stream.node_epoch == wal.node_epoch:
            raise InvalidCommand(f"WAL {wal.wal}: stream {stream_id} is open, close it first")


def forget_wals(wal_ids: Sequence[int]) -> Command[None]:
    """Their data is deleted. Raises InvalidCommand for one that is not closed."""

    def command(image: Image) -> Decision[None]:
        wals = [image.storage.wals[wal_id] for wal_id in wal_ids if wal_id in image.storage.wals]
        for wal in wals:
            if not wal.closed:
                raise InvalidCommand(f"WAL {wal.wal} is not closed")
        return Decision([WalForgotten(wal.wal) for wal in wals], None)

    return command
>>>>>>> 56d05a2 (controller: commands about nodes, streams and objects, and the sweeper)
