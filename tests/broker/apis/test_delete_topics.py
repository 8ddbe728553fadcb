"""DeleteTopics: by name and by id, and what cannot be deleted."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from support.node import Node, codes, running_node

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_ID = bytes(16)


def by_name(*names: str) -> DeleteTopicsRequest:
    return DeleteTopicsRequest([DeleteTopicState(name) for name in names], timeout_ms=30_000)


def by_id(*ids: bytes) -> DeleteTopicsRequest:
    return DeleteTopicsRequest([DeleteTopicState(None, it) for it in ids], timeout_ms=30_000)


async def is_gone(node: Node, name: str) -> bool:
    asked = MetadataRequest([MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
    gone = [errors.UnknownTopicOrPartition.code]
    return bool(await node.ask_until(lambda answer: codes(answer.topics) == gone, asked))


def told(answer: Any) -> list[tuple[str | None, bytes, int]]:
    return sorted(
        ((row.name, row.topic_id, row.error_code) for row in answer.responses),
        key=lambda row: (row[0] or "", row[1]),
    )


@pytest.mark.parametrize("version", range(1, 7))
async def test_a_topic_is_deleted_in_every_version(node: Node, version: int) -> None:
    await node.create_topic("doomed")
    asked = by_name("doomed")
    if version < 6:
        asked = DeleteTopicsRequest(topic_names=["doomed"], timeout_ms=30_000)
    answer = await node.ask(asked, version)
    assert [(row.name, row.error_code) for row in answer.responses] == [("doomed", 0)]
    assert await is_gone(node, "doomed")


async def test_a_topic_is_deleted_by_its_id(node: Node) -> None:
    topic_id = await node.create_topic("doomed-by-id")
    assert told(await node.ask(by_id(topic_id))) == [("doomed-by-id", topic_id, 0)]
    assert await is_gone(node, "doomed-by-id")


async def test_what_does_not_exist_cannot_be_deleted(node: Node) -> None:
    unknown = errors.UnknownTopicOrPartition
    assert told(await node.ask(by_name("nothing"))) == [("nothing", NO_ID, unknown.code)]
    answer = await node.ask(by_id(b"?" * 16))
    assert told(answer) == [(None, b"?" * 16, errors.UnknownTopicId.code)]


async def test_what_is_named_twice_is_not_deleted(node: Node) -> None:
    topic_id = await node.create_topic("kept")
    for asked in (by_name("kept", "kept"), by_id(topic_id, topic_id)):
        answer = await node.ask(asked)
        assert codes(answer.responses) == [errors.InvalidRequest.code]
    both = DeleteTopicsRequest([DeleteTopicState("kept"), DeleteTopicState(None, topic_id)])
    both.timeout_ms = 30_000
    assert codes((await node.ask(both)).responses) == [errors.InvalidRequest.code]
    assert told(await node.ask(by_name("kept"))) == [("kept", topic_id, 0)]


async def test_a_topic_is_named_by_name_or_by_id(node: Node) -> None:
    topic_id = await node.create_topic("either-or")
    rows = [DeleteTopicState("either-or", topic_id), DeleteTopicState(None)]
    answer = await node.ask(DeleteTopicsRequest(rows, timeout_ms=30_000))
    invalid = errors.InvalidRequest.code
    assert told(answer) == [(None, NO_ID, invalid), ("either-or", topic_id, invalid)]


async def test_topics_are_kept_where_deletion_is_switched_off(tmp_path: Path) -> None:
    async with running_node(tmp_path, "delete.topic.enable=false") as keeping:
        assert keeping.parts
        await keeping.create_topic("kept")
        answer = await keeping.ask(by_name("kept"))
        assert codes(answer.responses) == [errors.TopicDeletionDisabled.code]
        old = DeleteTopicsRequest(topic_names=["kept"], timeout_ms=30_000)
        assert codes((await keeping.ask(old, 2)).responses) == [errors.InvalidRequest.code]
        assert keeping.broker.cluster.topic("kept") is not None


async def test_a_deleted_topic_takes_its_configs_along(node: Node) -> None:
    await node.create_topic("reborn", retention_ms="77")
    await node.ask(by_name("reborn"))
    await node.create_topic("reborn")
    assert node.broker.configs.of("reborn").retention_ms != 77


async def test_of_two_deletions_at_once_the_later_is_told_that_the_name_is_unknown(
    node: Node,
) -> None:
    await node.create_topic("twice")
    answers = await asyncio.gather(*(node.ask(by_name("twice"), 6) for _ in range(2)))
    found = sorted(row.error_code for answer in answers for row in answer.responses)
    assert found == [0, errors.UnknownTopicOrPartition.code]
