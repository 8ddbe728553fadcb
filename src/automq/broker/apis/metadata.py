"""Metadata (key 3): nodes, topics, leaders. KIP-4 (v1: null is all), KIP-430 (authorized
operations, v8), KIP-516 (topic ids, v10 and v12), KIP-1102 (v13).
"""

import asyncio

from automq.broker.authorized import CLUSTER_OPERATIONS, TOPIC_OPERATIONS
from automq.broker.dispatch import Call, handles
from automq.broker.internal_topics import is_internal
from automq.broker.topology import Placement, Topology, cluster_id_text, why_missing
from automq.config import keys
from automq.metadata.records.topics import TopicCreated
from automq.protocol import errors
from automq.protocol.messages.metadata_request import MetadataRequest
from automq.protocol.messages.metadata_response import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

NO_ID = bytes(16)
NULL_IS_ALL_SINCE = 1
LISTENER_NOT_FOUND_SINCE = 6
CLUSTER_OPERATIONS_UNTIL = 10
IDS_SINCE = 12
PARTITIONS_AT_ONCE = 5_000


@handles(MetadataRequest, MetadataResponse)
async def metadata(call: Call[MetadataRequest]) -> MetadataResponse:
    """Errors, per topic: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INVALID_TOPIC_EXCEPTION,
    INVALID_REQUEST (ids before v12), LEADER_NOT_AVAILABLE (it is being created) and what creating
    it was refused with. Per partition: LEADER_NOT_AVAILABLE, LISTENER_NOT_FOUND,
    REPLICA_NOT_AVAILABLE (v0).
    """
    request, cluster = call.request, call.broker.cluster
    if is_malformed(call):
        rows = [
            refused(topic.name or "", errors.InvalidRequest.code) for topic in request.topics or []
        ]
    elif is_for_all(call):
        rows = await describe(call, sorted(cluster.topic_ids))
    elif ids := [it.topic_id for it in request.topics or [] if it.topic_id != NO_ID]:
        rows = await describe_ids(call, list(dict.fromkeys(ids)))
    else:
        names = [it.name or "" for it in request.topics or []]
        rows = await describe(call, list(dict.fromkeys(names)), may_create=may_create(call))
    topology = Topology(cluster, call.listener.name)
    answer = MetadataResponse(
        brokers=[
            MetadataResponseBroker(it.node_id, it.host, it.port, it.rack)
            for it in topology.endpoints.values()
        ],
        cluster_id=cluster_id_text(cluster.cluster_id),
        controller_id=topology.controller_id,
        topics=rows,
    )
    if request.include_cluster_authorized_operations and call.version <= CLUSTER_OPERATIONS_UNTIL:
        answer.cluster_authorized_operations = CLUSTER_OPERATIONS
    if request.include_topic_authorized_operations:
        for row in rows:
            row.topic_authorized_operations = TOPIC_OPERATIONS
    return answer


def is_for_all(call: Call[MetadataRequest]) -> bool:
    """Null asks for all topics, and before v1, which has no null, an empty list does."""
    topics = call.request.topics
    return topics is None or (not topics and call.version < NULL_IS_ALL_SINCE)


def is_malformed(call: Call[MetadataRequest]) -> bool:
    """Versions 10 and 11 have a place for ids, and no meaning for them (KAFKA-10774)."""
    topics = call.request.topics or []
    if call.version >= IDS_SINCE:
        return any(it.name is None and it.topic_id == NO_ID for it in topics)
    return any(it.name is None or it.topic_id != NO_ID for it in topics)


def may_create(call: Call[MetadataRequest]) -> bool:
    enabled = call.broker.configs.broker.get(keys.kafka.AUTO_CREATE_TOPICS_ENABLE)
    return enabled and call.request.allow_auto_topic_creation


async def describe_ids(
    call: Call[MetadataRequest], topic_ids: list[bytes]
) -> list[MetadataResponseTopic]:
    topics = call.broker.cluster.topics
    unknown = [
        MetadataResponseTopic(errors.UnknownTopicId.code, None, topic_id)
        for topic_id in topic_ids
        if topic_id not in topics
    ]
    return unknown + await describe(call, [topics[it].name for it in topic_ids if it in topics])


async def describe(
    call: Call[MetadataRequest], names: list[str], *, may_create: bool = False
) -> list[MetadataResponseTopic]:
    """The rows of topics by name; those that do not exist are created first if they may be."""
    cluster = call.broker.cluster
    refusals: dict[str, errors.KafkaError] = {}
    if may_create:
        missing = [name for name in names if name not in cluster.topic_ids]
        refusals = await call.broker.auto_topics.create(missing)
    rows: list[MetadataResponseTopic] = []
    partitions = 0
    topology = Topology(cluster, call.listener.name)
    for name in names:
        topic = cluster.topic(name)
        if topic is None:
            rows.append(refused(name, (refusals.get(name) or why_missing(name)).code))
            continue
        row = describe_topic(call.version, topology, topic)
        rows.append(row)
        partitions += len(row.partitions)
        if partitions >= PARTITIONS_AT_ONCE:
            # An answer for a hundred thousand partitions must not hold up everybody else.
            partitions = 0
            await asyncio.sleep(0)
    return rows


def refused(name: str, code: int) -> MetadataResponseTopic:
    return MetadataResponseTopic(code, name, NO_ID, is_internal(name))


def describe_topic(version: int, topology: Topology, topic: TopicCreated) -> MetadataResponseTopic:
    rows = topology.cluster.topic_partitions(topic.topic_id)
    return MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=is_internal(topic.name),
        partitions=[
            describe_partition(version, index, row.leader_epoch, topology.place(row))
            for index, row in enumerate(rows)
        ],
    )


def describe_partition(
    version: int, index: int, leader_epoch: int, placed: Placement
) -> MetadataResponsePartition:
    row = MetadataResponsePartition(
        error_code=placed.error_code,
        partition_index=index,
        leader_id=placed.leader_id,
        leader_epoch=leader_epoch,
        replica_nodes=placed.replicas,
        isr_nodes=placed.in_sync,
        offline_replicas=placed.offline,
    )
    if row.error_code == errors.ListenerNotFound.code and version < LISTENER_NOT_FOUND_SINCE:
        row.error_code = errors.LeaderNotAvailable.code
    if version == 0 and placed.offline:
        # The first version names no node that it does not list, and calls that an error.
        row.replica_nodes = [it for it in placed.replicas if it not in placed.offline]
        row.isr_nodes = [it for it in placed.in_sync if it not in placed.offline]
        row.error_code = row.error_code or errors.ReplicaNotAvailable.code
    return row
