"""Our own mistakes: a handler that fails, an answer that cannot be written. Nobody waits for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from automq.broker.dispatch import REGISTRY
from automq.protocol import errors
from automq.protocol.messages.api_versions_request import ApiVersionsRequest
from automq.protocol.messages.describe_cluster_request import DescribeClusterRequest
from automq.protocol.messages.describe_cluster_response import DescribeClusterResponse
from support.node import Node
from support.raw_client import Closed

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = DescribeClusterRequest.API_KEY


@contextmanager
def handled_by(handler: Callable[[Any], Any]) -> Iterator[None]:
    """For a while, DescribeCluster is handled by something else."""
    api = REGISTRY[KEY]
    REGISTRY[KEY] = replace(api, handler=handler)
    try:
        yield
    finally:
        REGISTRY[KEY] = api


async def test_a_handler_that_fails_is_an_unknown_server_error(node: Node) -> None:
    async def failing(call: Any) -> Any:
        raise ZeroDivisionError

    before = node.broker.metrics.unexpected_errors
    with handled_by(failing):
        answer = await node.ask(DescribeClusterRequest())
    assert errors.by_code(answer.error_code) is errors.UnknownServerError
    assert node.broker.metrics.unexpected_errors == before + 1


async def test_an_answer_that_cannot_be_written_closes_the_connection(node: Node) -> None:
    async def unwritable(call: Any) -> Any:
        answer: Any = DescribeClusterResponse()
        answer.cluster_id = None
        return answer

    before = node.broker.metrics.unexpected_errors
    with handled_by(unwritable), pytest.raises(Closed):
        await node.ask(DescribeClusterRequest())
    assert node.broker.metrics.unexpected_errors == before + 1
    assert (await node.ask(ApiVersionsRequest("test", "1"))).error_code == 0
