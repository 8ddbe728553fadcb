"""What group commands answer, and what they are asked: plain values in Kafka's words."""

from dataclasses import dataclass

from automq.coordinator.group.classic import GroupState, MemberProtocol
from automq.coordinator.group.records import ZERO_UUID
from automq.protocol.errors import NONE, KafkaError

INVALID_OFFSET = -1
UNKNOWN_LEADER_EPOCH = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroup:
    """A JoinGroup request, and who sent it. An empty `member_id` asks for one."""

    group_id: str
    member_id: str = ""
    group_instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: tuple[MemberProtocol, ...]
    reason: str | None = None
    requires_known_member_id: bool = True
    supports_skipping_assignment: bool = True


@dataclass(frozen=True, slots=True)
class JoinedMember:
    """A member, as the leader sees it."""

    member_id: str
    group_instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The answer to JoinGroup. `error` is only ever MemberIdRequired (which brings the id)."""

    member_id: str
    generation_id: int = -1
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader: str = ""
    skip_assignment: bool = False
    members: tuple[JoinedMember, ...] = ()
    error: KafkaError | None = None


@dataclass(frozen=True, slots=True)
class Synced:
    """The answer to SyncGroup: the member's assignment."""

    protocol_type: str | None
    protocol_name: str | None
    assignment: bytes


@dataclass(frozen=True, slots=True)
class Leaving:
    """A member that leaves; without a member id the instance id alone names it (an admin's way)."""

    member_id: str
    group_instance_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class OffsetToCommit:
    """One partition of an OffsetCommit. A `commit_timestamp_ms` of -1 means now."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int = UNKNOWN_LEADER_EPOCH
    metadata: str | None = None
    topic_id: bytes = ZERO_UUID
    commit_timestamp_ms: int = -1


@dataclass(frozen=True, slots=True)
class FetchTopic:
    """One topic of an OffsetFetch, with the id that its name has now (zeros: unknown)."""

    topic: str
    partitions: tuple[int, ...]
    topic_id: bytes = ZERO_UUID


@dataclass(frozen=True, slots=True)
class FetchedOffset:
    """A committed offset; INVALID_OFFSET when there is none."""

    partition: int
    offset: int = INVALID_OFFSET
    leader_epoch: int = UNKNOWN_LEADER_EPOCH
    metadata: str = ""
    error_code: int = NONE


@dataclass(frozen=True, slots=True)
class FetchedTopic:
    """The committed offsets of one topic."""

    topic: str
    topic_id: bytes
    partitions: tuple[FetchedOffset, ...]


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A line of ListGroups."""

    group_id: str
    protocol_type: str
    state: GroupState
    group_type: str


@dataclass(frozen=True, slots=True)
class DescribedMember:
    """A member, as DescribeGroups shows it; metadata only while the group is stable."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedGroup:
    """A group, as DescribeGroups shows it; one that does not exist is Dead."""

    group_id: str
    state: GroupState = GroupState.DEAD
    protocol_type: str = ""
    protocol_data: str = ""
    members: tuple[DescribedMember, ...] = ()
    error: KafkaError | None = None
