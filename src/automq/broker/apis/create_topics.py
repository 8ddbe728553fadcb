"""CreateTopics (key 19): KIP-4, KIP-464 (defaults, v4), KIP-525 (the configs in force, v5)."""

import asyncio
from collections import Counter

from automq.broker.deadlines import answered_within
from automq.broker.dispatch import Call, handles
from automq.broker.internal_topics import METADATA_TOPIC, is_internal
from automq.config.alter import new_topic
from automq.config.describe import describe_topic
from automq.controller.topics import (
    PARTITIONS_PER_COMMAND_MAX,
    TopicWish,
    check_topic_name,
)
from automq.protocol import errors
from automq.protocol.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from automq.protocol.messages.create_topics_response import (
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsResponse,
)


@handles(CreateTopicsRequest, CreateTopicsResponse)
async def create_topics(call: Call[CreateTopicsRequest]) -> CreateTopicsResponse:
    """Answer when the topics are stored and open, or say what `validate_only` would have made.

    Errors, per topic: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_CONFIG,
    INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST,
    POLICY_VIOLATION (too many at once), REQUEST_TIMED_OUT (it may still be created).
    """
    if partitions_of(call.request) > PARTITIONS_PER_COMMAND_MAX:
        why = errors.PolicyViolation("Excessively large number of partitions per request.")
        return CreateTopicsResponse(topics=[refused(it.name, why) for it in call.request.topics])
    counts = Counter(topic.name for topic in call.request.topics)
    once = [topic for topic in call.request.topics if counts[topic.name] == 1]
    rows = list(await asyncio.gather(*(create(call, topic) for topic in once)))
    rows += [
        refused(name, errors.InvalidRequest("Duplicate topic name."))
        for name, count in counts.items()
        if count > 1
    ]
    return CreateTopicsResponse(topics=rows)


def partitions_of(request: CreateTopicsRequest) -> int:
    """How many partitions a request asks for, as far as it says so."""
    return sum(max(it.num_partitions, len(it.assignments), 1) for it in request.topics)


def refused(name: str, error: errors.KafkaError) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=error.code, error_message=error.message)


async def create(call: Call[CreateTopicsRequest], topic: CreatableTopic) -> CreatableTopicResult:
    request = call.request
    try:
        wish = wish_of(call, topic)
        async with answered_within(request.timeout_ms):
            made = await call.broker.controller.create_topic(
                wish, validate_only=request.validate_only
            )
    except errors.KafkaError as error:
        return refused(topic.name, error)
    entries = describe_topic(call.broker.configs.broker, wish.configs)
    return CreatableTopicResult(
        name=topic.name,
        topic_id=made.topic_id,
        error_message=None,
        num_partitions=made.partitions,
        replication_factor=made.replication_factor,
        configs=[
            CreatableTopicConfigs(it.name, it.value, it.read_only, it.source, it.is_sensitive)
            for it in sorted(entries, key=lambda entry: entry.name)
        ],
    )


def wish_of(call: Call[CreateTopicsRequest], topic: CreatableTopic) -> TopicWish:
    """What is asked for, as far as this broker can check it. What is wrong first is told first."""
    broker = call.broker
    if topic.name == METADATA_TOPIC:
        raise errors.InvalidRequest(f"Creation of internal topic {METADATA_TOPIC} is prohibited.")
    check_topic_name(topic.name)
    if topic.name in broker.cluster.topic_ids:
        raise errors.TopicAlreadyExists(f"Topic '{topic.name}' already exists.")
    configs = new_topic(
        broker.configs.broker,
        [(it.name, it.value) for it in topic.configs],
        batch_bytes_max=broker.config.budgets.batch_bytes_max,
    )
    return TopicWish(
        name=topic.name,
        topic_id=broker.world.new_uuid(),
        partitions=topic.num_partitions,
        replication_factor=topic.replication_factor,
        assignments=assignments_of(topic),
        configs=configs,
        internal=is_internal(topic.name),
    )


def assignments_of(topic: CreatableTopic) -> dict[int, list[int]]:
    """Manual assignments by partition. Raises InvalidReplicaAssignment for one given twice."""
    assignments: dict[int, list[int]] = {}
    for it in topic.assignments:
        if it.partition_index in assignments:
            raise errors.InvalidReplicaAssignment(
                f"Found multiple manual partition assignments for partition {it.partition_index}"
            )
        assignments[it.partition_index] = it.broker_ids
    return assignments
