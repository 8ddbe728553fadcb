"""Connections: the order of answers, limits, back-pressure, and clients that misbehave."""

import asyncio
import random
from typing import Any

import pytest

from automq.broker.connection import QUEUED_REQUESTS_MAX
from automq.objectstore.simulated import Effect, Fault
from automq.protocol import errors
from automq.protocol.codec import encode_request
from automq.protocol.messages.api_versions_request import ApiVersionsRequest
from automq.protocol.messages.list_offsets_request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from automq.protocol.messages.metadata_request import MetadataRequest
from support.raw_client import Closed
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce
from support.storage import KIB, Machine
from support.virtual_node import virtual_node
from support.virtual_time import virtual

MIB = 1 << 20
LATEST = ListOffsetsRequest(topics=[ListOffsetsTopic("t", [ListOffsetsPartition(0, -1, -1)])])


@virtual
async def test_pipelined_produces_are_answered_in_order_and_share_commits() -> None:
    machine = Machine()
    async with virtual_node(machine) as node:
        await node.create_topic()
        client = node.client()
        before = node.parts.engine.wal.stats().commits
        sent = [client.send(produce(b"%d" % number), PRODUCE_VERSION) for number in range(50)]
        offsets = [only(await answer.wait()).base_offset for answer in sent]
        assert offsets == list(range(50))
        assert node.parts.engine.wal.stats().commits - before <= 2


@virtual
async def test_other_requests_wait_until_everything_before_them_is_answered() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        client = node.client()
        first = client.send(produce(b"a", b"b"), PRODUCE_VERSION)
        latest = client.send(LATEST, 7)
        second = client.send(produce(b"c"), PRODUCE_VERSION)
        third = client.send(LATEST, 7)
        assert only(await first.wait()).base_offset == 0
        assert (await latest.wait()).topics[0].partitions[0].offset == 2
        assert only(await second.wait()).base_offset == 2
        assert (await third.wait()).topics[0].partitions[0].offset == 3


@virtual
async def test_requests_may_come_in_pieces_of_any_size() -> None:
    chance = random.Random(3)
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        client = node.client()
        data = b"".join(
            encode_request(produce(bytes(chance.randint(1, 9000))), PRODUCE_VERSION, number, "me")
            for number in range(30)
        )
        at = 0
        while at < len(data):
            step = chance.choice([1, 3, 100, 5000, 70_000])
            client.send_bytes(data[at : at + step])
            at += step
        numbers = [int.from_bytes((await client.receive())[:4], "big") for _ in range(30)]
        assert numbers == list(range(30))


@pytest.mark.parametrize("size", [-1, 0x7FFFFFFF, 200 * MIB])
def test_a_frame_of_an_impossible_size_closes_the_connection(size: int) -> None:
    @virtual
    async def story() -> None:
        async with virtual_node(Machine()) as node:
            client = node.client()
            client.send_bytes(size.to_bytes(4, "big", signed=True) + bytes(100))
            with pytest.raises(Closed):
                await client.receive()
            assert len(node.parts.acceptor.connections) == 0
            assert (await node.client().ask(ApiVersionsRequest(), 0)).error_code == 0

    story()


@pytest.mark.parametrize(
    "frame",
    [
        bytes(4),
        b"\0\0\0\x02\0\x12",
        b"\0\0\0\x0a\x7f\xff\0\0\0\0\0\1\xff\xff",  # no such API
        b"\0\0\0\x0a\0\3\0\x63\0\0\0\1\xff\xff",  # Metadata of version 99
        b"\0\0\0\x0c\0\3\0\4\0\0\0\1\xff\xff\x7f\xff",  # cut short
    ],
)
def test_what_is_no_request_closes_the_connection_and_harms_no_other(frame: bytes) -> None:
    @virtual
    async def story() -> None:
        async with virtual_node(Machine()) as node:
            client, other = node.client(), node.client()
            client.send_bytes(frame)
            with pytest.raises(Closed):
                await client.receive()
            assert (await other.ask(ApiVersionsRequest(), 0)).error_code == 0
            assert node.parts.acceptor._memory.used_bytes == 0

    story()


@virtual
async def test_an_unknown_version_of_api_versions_is_answered_in_version_0() -> None:
    async with virtual_node(Machine()) as node:
        client = node.client()
        frame = bytearray(encode_request(ApiVersionsRequest(), 3, 7, "me"))
        frame[6:8] = (99).to_bytes(2, "big")
        client.send_bytes(bytes(frame))
        body = await client.receive()
        assert int.from_bytes(body[4:6], "big") == errors.UnsupportedVersion.code


BAD_REQUESTS = [
    b"\0\0\0\x0b\0\0\0\x63\0\0\0\1\xff\xff\0",  # Produce of version 99
    b"\0\0\0\x04\0\0\0\x09",  # a header cut short
    b"\0\0\0\x0d\0\0\0\x09\0\0\0\1\xff\xff\0\1\1",  # a body cut short
]


@pytest.mark.parametrize("bad", BAD_REQUESTS)
def test_what_was_asked_before_a_bad_request_is_still_answered(bad: bytes) -> None:
    @virtual
    async def story() -> None:
        async with virtual_node(Machine()) as node:
            await node.create_topic()
            client = node.client()
            first = client.send(produce(b"a"), PRODUCE_VERSION)
            client.send_bytes(bad)
            assert only(await first.wait()).base_offset == 0
            with pytest.raises(Closed):
                await client.receive()

    story()


# -- acks=0


@virtual
async def test_acks_0_is_not_answered_and_what_follows_is() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        client = node.client()
        for number in range(5):
            client.send(produce(b"%d" % number, acks=0), PRODUCE_VERSION)
        answer = await client.ask(produce(b"acknowledged"), PRODUCE_VERSION)
        assert only(answer).base_offset == 5


@pytest.mark.parametrize("where", [{"topic": "unknown"}, {"partition": 7}])
def test_a_refused_produce_with_acks_0_closes_the_connection(where: dict[str, Any]) -> None:
    @virtual
    async def story() -> None:
        async with virtual_node(Machine()) as node:
            await node.create_topic()
            client = node.client()
            client.send(produce(b"a", acks=0, **where), PRODUCE_VERSION)
            with pytest.raises(Closed):
                await client.receive()

    story()


@virtual
async def test_wrong_acks_are_refused() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        answer = await node.client().ask(produce(b"a", acks=2), PRODUCE_VERSION)
        assert only(answer).error_code == errors.InvalidRequiredAcks.code


# -- limits

SMALL_REQUESTS = ("queued.max.request.bytes=100000", "socket.request.max.bytes=100000")


@virtual
async def test_over_the_budget_of_request_bytes_sockets_are_not_read() -> None:
    async with virtual_node(Machine(), *SMALL_REQUESTS) as node:
        await node.create_topic()
        clients = [node.client() for _ in range(4)]
        sent = [
            client.send(produce(bytes(40 * KIB)), PRODUCE_VERSION)
            for _ in range(10)
            for client in clients
        ]
        memory = node.parts.acceptor._memory
        assert memory.used_bytes <= memory.bytes_max + 4 * 64 * KIB
        assert sum(client.unsent_bytes for client in clients) > 1_000_000
        for answer in sent:
            assert only(await answer.wait()).error_code == 0
        assert memory.used_bytes == 0


@virtual
async def test_a_connection_that_was_held_back_for_two_reasons_is_read_again() -> None:
    """First it does not take its answers, then the budget is used up by others."""
    async with virtual_node(Machine(), *SMALL_REQUESTS) as node:
        await node.create_topic()
        for _ in range(3):
            await node.client().ask(produce(bytes(60 * KIB)), PRODUCE_VERSION)
        slow, other = node.client(), node.client()
        slow.reads = False
        slow.send(fetch(), FETCH_VERSION)
        await asyncio.sleep(1)
        assert slow.transport.is_paused
        memory = node.parts.acceptor._memory
        memory.take(200_000)
        slow.read_again()
        await slow.receive()
        late = slow.send(produce(b"late"), PRODUCE_VERSION)
        assert slow.unsent_bytes > 0
        memory.give_back(200_000)
        assert only(await late.wait()).error_code == 0
        assert not other.transport.is_paused


@virtual
async def test_a_client_that_does_not_read_its_answers_is_not_worked_for() -> None:
    async with virtual_node(Machine()) as node:
        await node.create_topic()
        for _ in range(3):
            await node.client().ask(produce(bytes(900 * KIB)), PRODUCE_VERSION)
        client = node.client()
        client.reads = False
        sent = [client.send(fetch(), FETCH_VERSION) for _ in range(200)]
        await asyncio.sleep(1)
        assert len(client.transport._unread) < 8 * MIB
        assert client.transport.is_paused
        client.read_again()
        for answer in sent:
            assert len(only(await answer.wait()).records) > 900 * KIB


@virtual
async def test_a_connection_has_a_bounded_number_of_requests_in_work() -> None:
    machine = Machine()
    async with virtual_node(machine) as node:
        await node.create_topic()
        client = node.client()
        sent = [client.send(produce(b"a"), PRODUCE_VERSION) for _ in range(1000)]
        assert len(client.connection._slots) <= QUEUED_REQUESTS_MAX
        for answer in sent:
            await answer.wait()


@virtual
async def test_too_many_connections_of_one_host_are_refused_but_for_exceptions() -> None:
    settings = (
        "max.connections.per.ip=2",
        "max.connections.per.ip.overrides=10.0.0.9:3",
    )
    async with virtual_node(Machine(), *settings) as node:
        clients = [node.client("10.0.0.1"), node.client("10.0.0.1"), node.client("10.0.0.2")]
        with pytest.raises(Closed):
            node.client("10.0.0.1")
        assert node.parts.acceptor.refused == 1
        clients[0].close()
        node.client("10.0.0.1")
        for _ in range(3):
            node.client("10.0.0.9")
        with pytest.raises(Closed):
            node.client("10.0.0.9")


@virtual
async def test_idle_connections_are_closed_and_busy_ones_are_not() -> None:
    async with virtual_node(Machine(), "connections.max.idle.ms=60000") as node:
        await node.create_topic()
        idle, asking, waiting, slow = (node.client() for _ in range(4))
        long_fetch = waiting.send(fetch(max_wait_ms=100_000), FETCH_VERSION)
        frame = encode_request(ApiVersionsRequest(), 0, 1, "me")
        slow.send_bytes(frame[:8])
        for number in range(9):
            await asyncio.sleep(10)
            await asking.ask(ApiVersionsRequest(), 0)
            slow.send_bytes(frame[8 + number : 9 + number])
        assert idle.is_closed.is_set()
        assert not any(client.is_closed.is_set() for client in (asking, waiting, slow))
        assert only(await long_fetch.wait()).error_code == 0
        await asyncio.sleep(20)
        assert not waiting.is_closed.is_set(), "its answer has only just left"


@virtual
async def test_a_client_that_reads_nothing_any_more_is_closed_as_idle() -> None:
    async with virtual_node(Machine(), "connections.max.idle.ms=60000") as node:
        await node.create_topic()
        await node.client().ask(produce(bytes(900 * KIB)), PRODUCE_VERSION)
        client = node.client()
        client.reads = False
        client.send(fetch(), FETCH_VERSION)
        await asyncio.sleep(100)
        assert client.transport.closed


# -- back-pressure


@virtual
async def test_back_pressure_parks_produces_and_goes_on_in_their_order() -> None:
    machine = Machine()
    settings = ("automq.log.cache.bytes=4194304", "automq.upload.bytes=1048576")
    async with virtual_node(machine, *settings) as node:
        await node.create_topic()
        machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), key_prefix="data/", times=None))
        client, other = node.client(), node.client()
        fields: dict[str, Any] = {"producer_id": 5, "producer_epoch": 0}
        sent = [
            client.send(produce(bytes(500 * KIB), base_sequence=number, **fields), PRODUCE_VERSION)
            for number in range(20)
        ]
        await asyncio.sleep(60)
        assert node.parts.engine.cache.unreleased_bytes <= 5 * MIB
        assert (await other.ask(MetadataRequest(), 9)).controller_id == node.config.node_id
        machine.store.heal()
        offsets = [only(await answer.wait()).base_offset for answer in sent]
        assert offsets == list(range(20)), "a sequence out of order would have been refused"


@virtual
async def test_a_request_larger_than_the_wal_is_refused_and_does_not_wait_for_ever() -> None:
    settings = (
        "automq.wal.capacity.bytes=67108864",
        "automq.wal.segment.bytes=16777216",
        "automq.upload.bytes=4194304",
    )
    async with virtual_node(Machine(), *settings) as node:
        await node.create_topic(max_message_bytes="1000000")
        client = node.client()
        answer = await client.ask(produce(bytes(40 * MIB)), PRODUCE_VERSION)
        assert only(answer).error_code == errors.RecordListTooLarge.code
        assert only(await client.ask(produce(b"a"), PRODUCE_VERSION)).base_offset == 0


@virtual
async def test_a_client_that_leaves_while_it_is_held_back_leaves_nothing_behind() -> None:
    machine = Machine()
    settings = ("automq.log.cache.bytes=4194304", "automq.upload.bytes=1048576")
    async with virtual_node(machine, *settings) as node:
        await node.create_topic()
        machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), key_prefix="data/", times=None))
        client = node.client()
        for _ in range(20):
            client.send(produce(bytes(500 * KIB)), PRODUCE_VERSION)
        await asyncio.sleep(10)
        client.close()
        machine.store.heal()
        await asyncio.sleep(60)
        assert node.parts.acceptor._memory.used_bytes == 0
        assert len(node.parts.acceptor.connections) == 0
        assert only(await node.client().ask(produce(b"a"), PRODUCE_VERSION)).error_code == 0
