"""ApiVersions, and what happens to requests that nobody understands."""

import pytest

from automq.broker.dispatch import load_apis
from automq.protocol import errors
from automq.protocol.codec import encode_request
from automq.protocol.messages.api_versions_request import ApiVersionsRequest
from automq.protocol.messages.api_versions_response import ApiVersionsResponse
from support.messages import fetch
from support.node import Node
from support.raw_client import Closed

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRODUCE, API_VERSIONS = 0, 18


def hello(version: int, body: bytes = b"") -> bytes:
    """An ApiVersions frame of any version, even one that is still to come."""
    head = API_VERSIONS.to_bytes(2, "big") + version.to_bytes(2, "big") + (7).to_bytes(4, "big")
    frame = head + b"\xff\xff" + b"\x00" + body
    return len(frame).to_bytes(4, "big") + frame


@pytest.mark.parametrize("version", range(5))
async def test_what_is_served_is_told_in_every_version(node: Node, version: int) -> None:
    answer = await node.ask(ApiVersionsRequest("test", "1.0"), version)
    assert answer.error_code == 0
    told = {it.api_key: (it.min_version, it.max_version) for it in answer.api_keys}
    served = {api.key: (api.first_version, api.last_version) for api in load_apis().values()}
    served[PRODUCE] = (0, served[PRODUCE][1])
    assert {key: told[key] for key in served} == served


async def test_a_version_to_come_is_answered_in_version_0(node: Node) -> None:
    async with node.client() as client:
        answer = await client.ask_frame(hello(77), ApiVersionsResponse, 0)
        assert errors.by_code(answer.error_code) is errors.UnsupportedVersion
        (row,) = answer.api_keys
        assert (row.api_key, row.min_version, row.max_version) == (API_VERSIONS, 0, 4)
        assert (await client.ask(ApiVersionsRequest("test", "1"))).error_code == 0


@pytest.mark.parametrize(
    ("name", "version"), [("", "1"), ("test", ""), ("te st", "1"), ("-test", "1"), ("test", "1/2")]
)
async def test_a_client_has_a_decent_name(node: Node, name: str, version: str) -> None:
    answer = await node.ask(ApiVersionsRequest(name, version), 3)
    assert errors.by_code(answer.error_code) is errors.InvalidRequest


async def closes(node: Node, frame: bytes) -> bool:
    async with node.client() as client:
        await client.send_frame(frame)
        try:
            await client.receive()
        except Closed:
            return True
    return False


async def test_an_api_that_nobody_knows_closes_the_connection(node: Node) -> None:
    frame = bytearray(encode_request(fetch("t"), 12, 1, "test"))
    frame[4:6] = (9999).to_bytes(2, "big")
    assert await closes(node, bytes(frame))


async def test_a_version_that_nobody_knows_closes_the_connection(node: Node) -> None:
    frame = bytearray(encode_request(fetch("t"), 12, 1, "test"))
    frame[6:8] = (99).to_bytes(2, "big")
    assert await closes(node, bytes(frame))


async def test_a_request_that_is_cut_off_closes_the_connection(node: Node) -> None:
    whole = encode_request(fetch("t"), 12, 1, "test")[4:-3]
    assert await closes(node, len(whole).to_bytes(4, "big") + whole)


@pytest.mark.parametrize("size", [-1, 2**31 - 1, 0])
async def test_an_impossible_size_closes_the_connection(node: Node, size: int) -> None:
    assert await closes(node, size.to_bytes(4, "big", signed=True))
