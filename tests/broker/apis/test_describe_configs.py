"""DescribeConfigs: topics, brokers, groups, loggers; what is asked for, what cannot be."""

import logging
from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.describe_configs_request import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
)
from support.node import Node

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOPIC, BROKER, LOGGERS, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
TOPIC_SOURCE, DEFAULT_SOURCE, LOGGER_SOURCE = 1, 5, 6


def ask_for(kind: int, name: str, *keys: str, **fields: Any) -> DescribeConfigsRequest:
    wanted = list(keys) if keys else None
    return DescribeConfigsRequest([DescribeConfigsResource(kind, name, wanted)], **fields)


async def described(node: Node, kind: int, name: str, *keys: str, **fields: Any) -> dict[str, Any]:
    answer = await node.ask(ask_for(kind, name, *keys, **fields))
    (result,) = answer.results
    assert (result.error_code, result.resource_type, result.resource_name) == (0, kind, name)
    return {row.name: row for row in result.configs}


async def refusal(node: Node, kind: int, name: str) -> type[errors.KafkaError]:
    answer = await node.ask(ask_for(kind, name))
    (result,) = answer.results
    assert (result.resource_type, result.resource_name, result.configs) == (kind, name, [])
    return errors.by_code(result.error_code)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
async def test_a_topic_is_described_in_every_version(node: Node, version: int) -> None:
    if version == 1:
        await node.create_topic("described", retention_ms="5000")
    answer = await node.ask(ask_for(TOPIC, "described"), version)
    rows = {row.name: row for row in answer.results[0].configs}
    assert len(rows) > 30
    assert (rows["retention.ms"].value, rows["retention.ms"].config_source) == ("5000", 1)
    assert rows["segment.ms"].config_source == DEFAULT_SOURCE
    assert rows["retention.ms"].synonyms == []


async def test_only_the_keys_that_are_asked_for_are_told(node: Node) -> None:
    await node.create_topic("some-keys")
    rows = await described(node, TOPIC, "some-keys", "segment.ms", "no.such.key")
    assert list(rows) == ["segment.ms"]


async def test_an_empty_list_of_keys_asks_for_all(node: Node) -> None:
    await node.create_topic("all-keys")
    request = DescribeConfigsRequest([DescribeConfigsResource(TOPIC, "all-keys", [])])
    assert len((await node.ask(request)).results[0].configs) > 30


async def test_synonyms_and_documentation_are_told_to_those_who_ask(node: Node) -> None:
    await node.create_topic("explained", retention_ms="5000")
    plain = await described(node, TOPIC, "explained", "retention.ms")
    assert plain["retention.ms"].documentation is None
    rows = await described(
        node,
        TOPIC,
        "explained",
        "retention.ms",
        include_synonyms=True,
        include_documentation=True,
    )
    row = rows["retention.ms"]
    first = row.synonyms[0]
    assert (first.name, first.value, first.source) == ("retention.ms", "5000", TOPIC_SOURCE)
    assert row.documentation
    assert row.config_type == 5


async def test_a_topic_that_does_not_exist_has_no_configs(node: Node) -> None:
    assert await refusal(node, TOPIC, "nowhere") is errors.UnknownTopicOrPartition
    assert await refusal(node, TOPIC, "no/where") is errors.InvalidTopicException


async def test_a_broker_tells_of_itself_and_of_the_defaults_of_all(node: Node) -> None:
    rows = await described(node, BROKER, str(node.node_id))
    assert rows["auto.create.topics.enable"].value == "true"
    assert rows["auto.create.topics.enable"].read_only
    assert rows["ssl.keystore.password"].value is None
    assert rows["ssl.keystore.password"].is_sensitive
    assert set(await described(node, BROKER, "")) <= {"min.insync.replicas"}


@pytest.mark.parametrize("kind", [BROKER, LOGGERS])
@pytest.mark.parametrize("name", ["77", "one"])
async def test_a_broker_does_not_tell_of_others(node: Node, kind: int, name: str) -> None:
    assert await refusal(node, kind, name) is errors.InvalidRequest


async def test_loggers_are_told_with_their_levels(node: Node) -> None:
    rows = await described(node, LOGGERS, str(node.node_id))
    assert rows["root"].config_source == LOGGER_SOURCE
    assert node.parts
    assert "automq.broker.requests" in rows
    logging.getLogger("automq.broker.requests").setLevel(logging.WARNING)
    rows = await described(node, LOGGERS, str(node.node_id), "automq.broker.requests")
    assert [(row.name, row.value) for row in rows.values()] == [("automq.broker.requests", "WARN")]


async def test_a_group_has_configs_before_it_exists(node: Node) -> None:
    rows = await described(node, GROUP, "some-group")
    assert rows["consumer.session.timeout.ms"].value == "45000"


@pytest.mark.parametrize("kind", [LOGGERS, CLIENT_METRICS, GROUP])
async def test_these_resources_have_names(node: Node, kind: int) -> None:
    assert await refusal(node, kind, "") is errors.InvalidRequest


async def test_a_subscription_that_was_never_made_has_defaults(node: Node) -> None:
    rows = await described(node, CLIENT_METRICS, "nothing")
    assert (rows["interval.ms"].value, rows["interval.ms"].config_source) == ("300000", 5)


async def test_an_unknown_type_is_refused(node: Node) -> None:
    assert await refusal(node, 77, "x") is errors.InvalidRequest
