"""Every API answers in every version that it advertises, whatever little it is asked."""

import pytest

from automq.broker.dispatch import load_apis
from automq.protocol.messages.produce_request import ProduceRequest
from support.node import Node

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERY_VERSION = [
    pytest.param(api.request, version, id=f"{api.name}-v{version}")
    for api in sorted(load_apis().values(), key=lambda api: api.key)
    for version in range(api.first_version, api.last_version + 1)
]


@pytest.mark.parametrize(("request_class", "version"), EVERY_VERSION)
async def test_an_empty_request_is_answered(node: Node, request_class: type, version: int) -> None:
    request = ProduceRequest(acks=-1) if request_class is ProduceRequest else request_class()
    before = node.broker.metrics.unexpected_errors
    await node.ask(request, version)
    assert node.broker.metrics.unexpected_errors == before
