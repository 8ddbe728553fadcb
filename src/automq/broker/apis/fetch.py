"""Fetch (key 1): read batches. KIP-74 (sizes), KIP-98 (isolation), KIP-227 (sessions), KIP-320
(epochs), KIP-516 (topic ids).
"""

from automq.broker.dispatch import Call, handles
from automq.broker.fetch_sessions import FetchedPartition, Key
from automq.broker.fetching import Fetching
from automq.broker.requests import answer
from automq.protocol import errors
from automq.protocol.messages.fetch_request import FetchRequest
from automq.protocol.messages.fetch_response import FetchResponse

FIRST_TOPIC_ID_VERSION = 13
FIRST_SESSION_VERSION = 7


@handles(FetchRequest, FetchResponse, hot=True)
def fetch(call: Call[FetchRequest]) -> bool:
    """Answer when `min_bytes` are there, or `max_wait_ms` are over. Errors are per partition."""
    broker, request = call.broker, call.request
    uses_topic_ids = call.version >= FIRST_TOPIC_ID_VERSION
    asked, forgotten = what_is_asked(call, uses_topic_ids=uses_topic_ids)
    if must_wait(call, asked):
        return False
    try:
        context = broker.fetch_sessions.context(
            session_id=request.session_id,
            epoch=request.session_epoch if call.version >= FIRST_SESSION_VERSION else -1,
            uses_topic_ids=uses_topic_ids,
            asked=asked,
            forgotten=forgotten,
            now_ms=broker.world.clock.monotonic_ms(),
            new_id=broker.world.chance.randrange(1, 2**31 - 1),
        )
    except errors.KafkaError as error:
        answer(call, error_answer_of(error))
        return True
    Fetching(call, context).attempt()
    return True


def must_wait(call: Call[FetchRequest], asked: dict[Key, FetchedPartition]) -> bool:
    """Whether a partition of the request or its session is opening: offer it again after that."""
    broker = call.broker
    if not broker.partitions.opening:
        return False
    for wanted in (*asked.values(), *broker.fetch_sessions.known_to(call.request.session_id)):
        partition = broker.partitions.find(wanted.topic_id, wanted.topic, wanted.partition)
        if partition is not None and partition.is_opening:
            partition.on_ready.append(call.slot.connection.resume)
            return True
    return False


def error_answer_of(error: errors.KafkaError) -> FetchResponse:
    return FetchResponse(error_code=error.code)


def what_is_asked(
    call: Call[FetchRequest], *, uses_topic_ids: bool
) -> tuple[dict[Key, FetchedPartition], list[Key]]:
    """The partitions that a request names, and those that it drops from its session."""
    asked: dict[Key, FetchedPartition] = {}
    topics = call.broker.cluster.topics
    for topic in call.request.topics:
        name, topic_id = topic.topic, topic.topic_id
        if uses_topic_ids:
            known = topics.get(topic_id)
            name = "" if known is None else known.name
        key = topic_id if uses_topic_ids else name
        for wanted in topic.partitions:
            asked[key, wanted.partition] = FetchedPartition(
                topic=name,
                topic_id=topic_id,
                partition=wanted.partition,
                fetch_offset=wanted.fetch_offset,
                partition_max_bytes=wanted.partition_max_bytes,
                current_leader_epoch=wanted.current_leader_epoch,
                last_fetched_epoch=wanted.last_fetched_epoch,
            )
    forgotten = [
        (gone.topic_id if uses_topic_ids else gone.topic, partition)
        for gone in call.request.forgotten_topics_data
        for partition in gone.partitions
    ]
    return asked, forgotten
