"""DeleteTopics (key 20): KIP-4, KIP-516 (by id, v6)."""

import asyncio
from collections import Counter
from collections.abc import Iterator

from automq.broker.deadlines import answered_within
from automq.broker.dispatch import Call, handles
from automq.config import keys
from automq.protocol import errors
from automq.protocol.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from automq.protocol.messages.delete_topics_response import (
    DeletableTopicResult,
    DeleteTopicsResponse,
)

NO_ID = bytes(16)
STATES_SINCE = 6
DISABLED_SINCE = 3


@handles(DeleteTopicsRequest, DeleteTopicsResponse)
async def delete_topics(call: Call[DeleteTopicsRequest]) -> DeleteTopicsResponse:
    """Answer when it is stored that the topics are gone; their data goes later.

    Errors, per topic: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INVALID_REQUEST (named twice,
    or by name and id), TOPIC_DELETION_DISABLED (INVALID_REQUEST before v3), REQUEST_TIMED_OUT.
    """
    asked = call.request.topics
    if call.version < STATES_SINCE:
        asked = [DeleteTopicState(name) for name in call.request.topic_names]
    if not call.broker.configs.broker.get(keys.kafka.DELETE_TOPIC_ENABLE):
        return DeleteTopicsResponse(responses=[refused(it, disabled(call)) for it in asked])
    rows = list(malformed(asked))
    wanted = [it for it in asked if (it.name is None) != (it.topic_id == NO_ID)]
    counts = Counter((it.name, it.topic_id) for it in wanted)
    for (name, topic_id), count in counts.items():
        if count > 1:
            what = "id" if name is None else "name"
            why = errors.InvalidRequest(f"Duplicate topic {what}.")
            rows.append(refused(DeleteTopicState(name, topic_id), why))
    once = [it for it in wanted if counts[it.name, it.topic_id] == 1]
    rows += await delete_each(call, once, {it.topic_id for it in wanted})
    return DeleteTopicsResponse(responses=rows)


def disabled(call: Call[DeleteTopicsRequest]) -> errors.KafkaError:
    if call.version < DISABLED_SINCE:
        return errors.InvalidRequest("Topic deletion is disabled.")
    return errors.TopicDeletionDisabled("Topic deletion is disabled.")


def refused(asked: DeleteTopicState, error: errors.KafkaError) -> DeletableTopicResult:
    return DeletableTopicResult(asked.name, asked.topic_id, error.code, error.message)


def malformed(asked: list[DeleteTopicState]) -> Iterator[DeletableTopicResult]:
    """A topic is named by its name or by its id, never both, never neither."""
    for it in asked:
        if it.name is None and it.topic_id == NO_ID:
            why = "Neither topic name nor id were specified."
        elif it.name is not None and it.topic_id != NO_ID:
            why = "You may not specify both topic name and topic id."
        else:
            continue
        yield refused(it, errors.InvalidRequest(why))


async def delete_each(
    call: Call[DeleteTopicsRequest], asked: list[DeleteTopicState], asked_ids: set[bytes]
) -> list[DeletableTopicResult]:
    """Delete each; a name whose id was asked for as well is refused, together with that id."""
    cluster = call.broker.cluster
    rows: list[DeletableTopicResult] = []
    doomed: dict[bytes, tuple[str, DeleteTopicState]] = {}
    for it in asked:
        known = cluster.topics.get(it.topic_id) if it.name is None else cluster.topic(it.name)
        if known is None:
            rows.append(refused(it, unknown(it)))
        elif it.name is not None and known.topic_id in asked_ids:
            why = "The provided topic name maps to an ID that was already supplied."
            both = DeleteTopicState(it.name, known.topic_id)
            rows.append(refused(both, errors.InvalidRequest(why)))
        else:
            doomed[known.topic_id] = (known.name, it)
    for row in rows:
        doomed.pop(row.topic_id, None)
    rows += await asyncio.gather(*(delete(call, topic_id, *it) for topic_id, it in doomed.items()))
    return rows


def unknown(asked: DeleteTopicState) -> errors.KafkaError:
    if asked.name is None:
        return errors.UnknownTopicId("This server does not host this topic ID.")
    return errors.UnknownTopicOrPartition("This server does not host this topic-partition.")


async def delete(
    call: Call[DeleteTopicsRequest], topic_id: bytes, name: str, asked: DeleteTopicState
) -> DeletableTopicResult:
    try:
        async with answered_within(call.request.timeout_ms):
            await call.broker.controller.delete_topic(topic_id)
    except errors.UnknownTopicId:
        # Somebody else's deletion came first.
        return refused(asked, unknown(asked))
    except errors.KafkaError as error:
        return DeletableTopicResult(name, topic_id, error.code, error.message)
    return DeletableTopicResult(name, topic_id)
