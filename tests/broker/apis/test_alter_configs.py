"""IncrementalAlterConfigs and AlterConfigs: what they change, what they refuse, and races."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from automq.config.alter import OpType
from automq.metadata.records.configs import ConfigResource
from automq.protocol import errors
from automq.protocol.messages import alter_configs_request as whole
from automq.protocol.messages import incremental_alter_configs_request as incremental
from automq.protocol.messages.alter_configs_request import AlterConfigsRequest
from automq.protocol.messages.describe_configs_request import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
)
from automq.protocol.messages.incremental_alter_configs_request import (
    IncrementalAlterConfigsRequest,
)
from support.node import Node, codes

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOPIC, BROKER, LOGGERS, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = OpType
Change = tuple[str, int, str | None]


def change(
    kind: int, name: str, *changes: Change, validate_only: bool = False
) -> IncrementalAlterConfigsRequest:
    rows = [incremental.AlterableConfig(*it) for it in changes]
    resource = incremental.AlterConfigsResource(kind, name, rows)
    return IncrementalAlterConfigsRequest([resource], validate_only)


def replace(
    kind: int, name: str, *settings: tuple[str, str | None], validate_only: bool = False
) -> AlterConfigsRequest:
    rows = [whole.AlterableConfig(*it) for it in settings]
    return AlterConfigsRequest([whole.AlterConfigsResource(kind, name, rows)], validate_only)


async def apply(node: Node, request: Any, version: int | None = None) -> None:
    answer = await node.ask(request, version)
    (row,) = answer.responses
    asked = request.resources[0]
    assert (row.error_code, row.error_message) == (0, None)
    assert (row.resource_type, row.resource_name) == (asked.resource_type, asked.resource_name)


async def refusal(node: Node, request: Any) -> tuple[type[errors.KafkaError], str]:
    answer = await node.ask(request)
    (row,) = answer.responses
    assert row.error_code != 0
    return errors.by_code(row.error_code), row.error_message


async def values(node: Node, kind: int, name: str, *keys: str) -> list[str | None]:
    """The values in force, as soon as they are (Apache Kafka takes a moment)."""
    asked = DescribeConfigsRequest([DescribeConfigsResource(kind, name, list(keys))])
    answer = await node.ask(asked)
    rows = {row.name: row.value for row in answer.results[0].configs}
    return [rows.get(key) for key in keys]


async def expect(node: Node, kind: int, name: str, key: str, value: str | None) -> None:
    async with asyncio.timeout(10):
        while await values(node, kind, name, key) != [value]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("version", [0, 1])
async def test_settings_are_set_and_unset(node: Node, version: int) -> None:
    name = f"changed{version}"
    await node.create_topic(name)
    await apply(node, change(TOPIC, name, ("retention.ms", SET, "5000")), version)
    await expect(node, TOPIC, name, "retention.ms", "5000")
    await apply(node, change(TOPIC, name, ("retention.ms", DELETE, None)), version)
    await expect(node, TOPIC, name, "retention.ms", "604800000")


async def test_a_change_is_in_force_when_it_is_answered(node: Node) -> None:
    await node.create_topic("at-once", partitions=2)
    await apply(node, change(TOPIC, "at-once", ("max.message.bytes", SET, "100")))
    sizes = {p.config.max_message_bytes for p in node.broker.partitions if p.topic == "at-once"}
    assert sizes == {100}


async def test_lists_grow_and_shrink(node: Node) -> None:
    await node.create_topic("lists")
    await apply(node, change(TOPIC, "lists", ("cleanup.policy", APPEND, "compact")))
    await expect(node, TOPIC, "lists", "cleanup.policy", "delete,compact")
    await apply(node, change(TOPIC, "lists", ("cleanup.policy", SUBTRACT, "delete")))
    await expect(node, TOPIC, "lists", "cleanup.policy", "compact")


async def test_what_is_not_a_list_does_not_grow(node: Node) -> None:
    await node.create_topic("no-list")
    why, _ = await refusal(node, change(TOPIC, "no-list", ("retention.ms", APPEND, "1")))
    assert why is errors.InvalidConfig


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_all_settings_are_replaced(node: Node, version: int) -> None:
    name = f"replaced{version}"
    await node.create_topic(name, retention_ms="5000")
    await apply(node, replace(TOPIC, name, ("segment.ms", "7000")), version)
    await expect(node, TOPIC, name, "segment.ms", "7000")
    assert await values(node, TOPIC, name, "retention.ms") == ["604800000"]


@pytest.mark.parametrize(
    "request_of",
    [
        lambda name: change(TOPIC, name, ("retention.ms", SET, "1"), validate_only=True),
        lambda name: replace(TOPIC, name, ("retention.ms", "1"), validate_only=True),
    ],
    ids=["incremental", "whole"],
)
async def test_validating_changes_nothing(node: Node, request_of: Any) -> None:
    name = f"dry-{type(request_of('')).__name__}"
    await node.create_topic(name, retention_ms="5000")
    await apply(node, request_of(name))
    assert await values(node, TOPIC, name, "retention.ms") == ["5000"]


INVALID: Sequence[tuple[Change, type[errors.KafkaError], str]] = [
    (("nonsense", SET, "1"), errors.InvalidConfig, "Unknown topic config name: nonsense"),
    (
        ("retention.ms", SET, "soon"),
        errors.InvalidConfig,
        "Invalid value soon for configuration retention.ms: Not a number of type LONG",
    ),
    (
        ("retention.ms", SET, None),
        errors.InvalidRequest,
        "Null value not supported for : retention.ms",
    ),
]


@pytest.mark.parametrize(("wanted", "why", "message"), INVALID)
async def test_what_a_topic_cannot_have_is_refused(
    node: Node, wanted: Change, why: type[errors.KafkaError], message: str
) -> None:
    if wanted[0] == "nonsense":
        await node.create_topic("strict")
    assert await refusal(node, change(TOPIC, "strict", wanted)) == (why, message)
    assert await refusal(node, replace(TOPIC, "strict", (wanted[0], wanted[2]))) == (why, message)


async def test_an_unknown_operation_is_refused(node: Node) -> None:
    assert node.parts, "Apache Kafka calls it an unknown server error"
    await node.create_topic("operations")
    answer = await node.ask(change(TOPIC, "operations", ("retention.ms", 77, "1")))
    assert codes(answer.responses) == [errors.InvalidRequest.code]


async def test_a_topic_that_does_not_exist_is_not_configured(node: Node) -> None:
    for request in (
        change(TOPIC, "nowhere", ("retention.ms", SET, "1")),
        replace(TOPIC, "nowhere", ("retention.ms", "1")),
    ):
        why, message = await refusal(node, request)
        assert why is errors.UnknownTopicOrPartition
        assert message == "The topic 'nowhere' does not exist."


async def test_there_are_no_defaults_of_all_topics_and_groups(node: Node) -> None:
    why, _ = await refusal(node, change(TOPIC, "", ("retention.ms", SET, "1")))
    assert why is errors.InvalidRequest
    why, _ = await refusal(node, change(GROUP, "", ("consumer.session.timeout.ms", SET, "50000")))
    assert why is errors.InvalidRequest


async def test_a_resource_named_twice_is_refused(node: Node) -> None:
    await node.create_topic("double")
    request = change(TOPIC, "double", ("retention.ms", SET, "1"))
    request.resources *= 2
    answer = await node.ask(request)
    assert codes(answer.responses) == [errors.InvalidRequest.code] * 2
    assert answer.responses[0].error_message == "Each resource must appear at most once."
    assert node.parts, "Apache Kafka does not answer the next one"
    old = replace(TOPIC, "double", ("retention.ms", "1"))
    old.resources *= 2
    assert codes((await node.ask(old)).responses) == [errors.InvalidRequest.code] * 2


async def test_a_key_named_twice_is_refused(node: Node) -> None:
    await node.create_topic("double-key")
    twice = [("retention.ms", SET, "1"), ("retention.ms", DELETE, None)]
    why, message = await refusal(node, change(TOPIC, "double-key", *twice))
    assert (why, message) == (errors.InvalidRequest, "Error due to duplicate config keys")


async def test_one_refusal_leaves_the_other_resources_alone(node: Node) -> None:
    await node.create_topic("good")
    request = change(TOPIC, "good", ("retention.ms", SET, "5000"))
    request.resources += change(TOPIC, "bad", ("retention.ms", SET, "5000")).resources
    answer = await node.ask(request)
    unknown = errors.UnknownTopicOrPartition.code
    assert [(it.resource_name, it.error_code) for it in answer.responses] == [
        ("good", 0),
        ("bad", unknown),
    ]
    await expect(node, TOPIC, "good", "retention.ms", "5000")


async def test_a_broker_changes_itself_and_the_defaults_of_all(node: Node) -> None:
    me, key = str(node.node_id), "log.retention.ms"
    await apply(node, change(BROKER, "", (key, SET, "8000")))
    await expect(node, BROKER, me, key, "8000")
    await apply(node, change(BROKER, me, (key, SET, "9000")))
    await expect(node, BROKER, me, key, "9000")
    await apply(node, replace(BROKER, me))
    await expect(node, BROKER, me, key, "8000")
    await apply(node, change(BROKER, "", (key, DELETE, None)))
    await expect(node, BROKER, me, key, None)


@pytest.mark.parametrize("name", ["77", "one"])
async def test_a_broker_does_not_change_others(node: Node, name: str) -> None:
    key = "log.retention.ms"
    assert (await refusal(node, change(BROKER, name, (key, SET, "1"))))[0] is errors.InvalidRequest
    assert (await refusal(node, replace(BROKER, name, (key, "1"))))[0] is errors.InvalidRequest


async def test_what_is_fixed_while_a_broker_runs_is_refused(node: Node) -> None:
    why, message = await refusal(node, change(BROKER, "", ("num.partitions", SET, "7")))
    assert why is errors.InvalidRequest
    assert "Cannot update these configs dynamically" in message


async def test_passwords_are_marked_as_secret(node: Node) -> None:
    me, key = str(node.node_id), "listener.name.internal.ssl.keystore.password"
    await apply(node, change(BROKER, me, (key, SET, "hush")))
    stored = node.broker.cluster.config(ConfigResource.BROKER, me)
    assert stored[key].secret
    assert await values(node, BROKER, me, key) == [None]
    await apply(node, change(BROKER, me, (key, DELETE, None)))


async def test_groups_are_configured(node: Node) -> None:
    key = "consumer.session.timeout.ms"
    await apply(node, change(GROUP, "g", (key, SET, "50000")))
    await expect(node, GROUP, "g", key, "50000")
    why, _ = await refusal(node, change(GROUP, "g", (key, SET, "1")))
    assert why is errors.InvalidConfig
    await apply(node, replace(GROUP, "g"))
    await expect(node, GROUP, "g", key, "45000")


async def test_subscriptions_to_metrics_are_stored(node: Node) -> None:
    await apply(node, change(CLIENT_METRICS, "sub", ("interval.ms", SET, "5000")))
    await expect(node, CLIENT_METRICS, "sub", "interval.ms", "5000")
    why, _ = await refusal(node, change(CLIENT_METRICS, "sub", ("interval.ms", SET, "1")))
    assert why is errors.InvalidRequest
    await apply(node, replace(CLIENT_METRICS, "sub"))
    await expect(node, CLIENT_METRICS, "sub", "interval.ms", "300000")


async def test_an_unknown_type_is_refused(node: Node) -> None:
    assert (await refusal(node, change(77, "x")))[0] is errors.InvalidRequest
    why, _ = await refusal(node, replace(LOGGERS, str(node.node_id), ("root", "INFO")))
    assert why is errors.InvalidRequest


async def test_log_levels_are_changed_while_the_node_runs(node: Node) -> None:
    assert node.parts
    me, name = str(node.node_id), "automq.broker.listener"
    await apply(node, change(LOGGERS, me, (name, SET, "DEBUG"), validate_only=True))
    assert logging.getLogger(name).level == logging.NOTSET
    await apply(node, change(LOGGERS, me, (name, SET, "ERROR")))
    assert logging.getLogger(name).level == logging.ERROR
    await apply(node, change(LOGGERS, me, (name, DELETE, None)))
    assert logging.getLogger(name).level == logging.NOTSET


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (("no.such.logger", SET, "INFO"), errors.InvalidConfig),
        (("root", SET, "LOUD"), errors.InvalidConfig),
        (("root", DELETE, None), errors.InvalidRequest),
        (("root", APPEND, "INFO"), errors.InvalidRequest),
    ],
)
async def test_impossible_log_levels_are_refused(
    node: Node, wanted: Change, why: type[errors.KafkaError]
) -> None:
    refused, _ = await refusal(node, change(LOGGERS, str(node.node_id), wanted))
    assert refused is why


async def test_changes_that_come_together_do_not_undo_each_other(node: Node) -> None:
    await node.create_topic("raced")
    names = [f"{number}:1" for number in range(8)]
    key = "leader.replication.throttled.replicas"
    await asyncio.gather(
        *(apply(node, change(TOPIC, "raced", (key, APPEND, name))) for name in names)
    )
    (value,) = await values(node, TOPIC, "raced", key)
    assert value is not None
    assert sorted(value.split(",")) == names
