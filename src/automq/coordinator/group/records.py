"""The records of `__consumer_offsets`, in the exact format of Apache Kafka 4.3.

A key starts with an int16 that names its type (0 and 1: a committed offset, 2: a group), a value
with the version of its schema. Values are written in the versions that Kafka 4.3 writes: groups in
3; offsets in 4, or in 1 when they carry an expiry of their own (OffsetCommit versions 2 to 4).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from automq.protocol import errors
from automq.protocol.codec import MalformedMessage, decode, encode
from automq.protocol.messages.group_metadata_key import GroupMetadataKey
from automq.protocol.messages.group_metadata_value import GroupMetadataValue, MemberMetadata
from automq.protocol.messages.offset_commit_key import OffsetCommitKey
from automq.protocol.messages.offset_commit_value import OffsetCommitValue

if TYPE_CHECKING:
    from automq.coordinator.group.machine import Groups

LEGACY_OFFSET_KEY, OFFSET_KEY, GROUP_KEY = 0, 1, 2
GROUP_VALUE_VERSION = 3
OFFSET_VALUE_VERSION = 4
EXPIRING_OFFSET_VALUE_VERSION = 1
ZERO_UUID = bytes(16)

_INT16 = struct.Struct(">h")
_KEY_PREFIX = {kind: _INT16.pack(kind) for kind in (OFFSET_KEY, GROUP_KEY)}


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """Where a group goes on reading. `expire_timestamp_ms` is None unless a client asked for it."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int | None = None
    topic_id: bytes = ZERO_UUID


@dataclass(frozen=True, slots=True)
class OffsetCommitted:
    """A group's position in one partition of a topic."""

    group_id: str
    topic: str
    partition: int
    committed: CommittedOffset

    def apply(self, groups: Groups) -> None:
        topics = groups.offsets.setdefault(self.group_id, {})
        topics.setdefault(self.topic, {})[self.partition] = self.committed

    def key_value(self) -> tuple[bytes, bytes | None]:
        committed = self.committed
        expires_ms = committed.expire_timestamp_ms
        version = OFFSET_VALUE_VERSION if expires_ms is None else EXPIRING_OFFSET_VALUE_VERSION
        value = OffsetCommitValue(
            offset=committed.offset,
            leader_epoch=committed.leader_epoch,
            metadata=committed.metadata,
            commit_timestamp=committed.commit_timestamp_ms,
            expire_timestamp=-1 if expires_ms is None else expires_ms,
            topic_id=committed.topic_id,
        )
        key = _offset_key(self.group_id, self.topic, self.partition)
        return key, _INT16.pack(version) + encode(value, version)


@dataclass(frozen=True, slots=True)
class OffsetForgotten:
    """A group has no position in this partition any more."""

    group_id: str
    topic: str
    partition: int

    def apply(self, groups: Groups) -> None:
        topics = groups.offsets.get(self.group_id, {})
        partitions = topics.get(self.topic, {})
        partitions.pop(self.partition, None)
        if not partitions:
            topics.pop(self.topic, None)
        if not topics:
            groups.offsets.pop(self.group_id, None)

    def key_value(self) -> tuple[bytes, bytes | None]:
        return _offset_key(self.group_id, self.topic, self.partition), None


@dataclass(frozen=True, slots=True)
class StoredMember:
    """What survives of a member."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class GroupStored:
    """A generation of a group, with its assignment; without members: the group is empty now."""

    group_id: str
    protocol_type: str
    generation_id: int
    protocol_name: str | None
    leader_id: str | None
    state_timestamp_ms: int
    members: tuple[StoredMember, ...] = ()

    def apply(self, groups: Groups) -> None:
        groups.stored[self.group_id] = self

    def key_value(self) -> tuple[bytes, bytes | None]:
        value = GroupMetadataValue(
            protocol_type=self.protocol_type,
            generation=self.generation_id,
            protocol=self.protocol_name,
            leader=self.leader_id,
            current_state_timestamp=self.state_timestamp_ms,
            members=[
                MemberMetadata(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout=member.rebalance_timeout_ms,
                    session_timeout=member.session_timeout_ms,
                    subscription=member.subscription,
                    assignment=member.assignment,
                )
                for member in self.members
            ],
        )
        body = encode(value, GROUP_VALUE_VERSION)
        return _group_key(self.group_id), _INT16.pack(GROUP_VALUE_VERSION) + body


@dataclass(frozen=True, slots=True)
class GroupForgotten:
    """The group is gone. Its offsets are forgotten by records of their own."""

    group_id: str

    def apply(self, groups: Groups) -> None:
        groups.stored.pop(self.group_id, None)

    def key_value(self) -> tuple[bytes, bytes | None]:
        return _group_key(self.group_id), None


GroupRecord: TypeAlias = OffsetCommitted | OffsetForgotten | GroupStored | GroupForgotten


def parse_record(key: bytes, value: bytes | None) -> GroupRecord | None:
    """The record of these bytes; None for a type that is not ours (a newer Kafka's).

    Raises CorruptMessage when bytes of a known type cannot be read.
    """
    try:
        (kind,) = _INT16.unpack_from(key)
        if kind in (LEGACY_OFFSET_KEY, OFFSET_KEY):
            return _parse_offset(decode(OffsetCommitKey, key, 0, at=2), value)
        if kind == GROUP_KEY:
            return _parse_group(decode(GroupMetadataKey, key, 0, at=2).group, value)
    except (MalformedMessage, struct.error) as error:
        raise errors.CorruptMessage(f"the record with key {key.hex()}: {error}") from error
    return None


def _parse_offset(key: OffsetCommitKey, value: bytes | None) -> GroupRecord:
    if value is None:
        return OffsetForgotten(key.group, key.topic, key.partition)
    (version,) = _INT16.unpack_from(value)
    message = decode(OffsetCommitValue, value, version, at=2)
    committed = CommittedOffset(
        offset=message.offset,
        leader_epoch=message.leader_epoch,
        metadata=message.metadata,
        commit_timestamp_ms=message.commit_timestamp,
        expire_timestamp_ms=None if message.expire_timestamp == -1 else message.expire_timestamp,
        topic_id=message.topic_id,
    )
    return OffsetCommitted(key.group, key.topic, key.partition, committed)


def _parse_group(group_id: str, value: bytes | None) -> GroupRecord:
    if value is None:
        return GroupForgotten(group_id)
    (version,) = _INT16.unpack_from(value)
    message = decode(GroupMetadataValue, value, version, at=2)
    members = tuple(
        StoredMember(
            member_id=member.member_id,
            group_instance_id=member.group_instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            # Version 0 had one time-out for both.
            rebalance_timeout_ms=(
                member.session_timeout
                if member.rebalance_timeout == -1
                else member.rebalance_timeout
            ),
            session_timeout_ms=member.session_timeout,
            subscription=member.subscription,
            assignment=member.assignment,
        )
        for member in message.members
    )
    return GroupStored(
        group_id=group_id,
        protocol_type=message.protocol_type,
        generation_id=message.generation,
        protocol_name=message.protocol,
        leader_id=message.leader,
        state_timestamp_ms=message.current_state_timestamp,
        members=members,
    )


def _offset_key(group_id: str, topic: str, partition: int) -> bytes:
    message = OffsetCommitKey(group=group_id, topic=topic, partition=partition)
    return _KEY_PREFIX[OFFSET_KEY] + encode(message, 0)


def _group_key(group_id: str) -> bytes:
    return _KEY_PREFIX[GROUP_KEY] + encode(GroupMetadataKey(group=group_id), 0)
