"""Merging objects in a whole node: begun by uploads, ended by a stop, idle without writes."""

import asyncio
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from automq.node.run import stop
from automq.objectstore.simulated import Effect, Fault
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce
from support.storage import Machine, values_of
from support.virtual_node import VirtualClient, VirtualNode, virtual_node
from support.virtual_time import run_virtual

SETTINGS = ("automq.upload.interval.ms=1000", "automq.object.retention.grace.ms=0")


@pytest.fixture(autouse=True)
def few_uploads() -> Iterator[None]:
    """Four uploads are merged in place of 32."""
    with patch("automq.node.parts.UPLOADS_MAX", 4):
        yield


async def say(client: VirtualClient, *values: bytes) -> None:
    row = only(await client.ask(produce(*values), PRODUCE_VERSION))
    assert row.error_code == 0, row


async def read_all(client: VirtualClient, count: int) -> list[bytes]:
    """The values from offset 0 on; an answer may end where an object does."""
    values: list[bytes] = []
    while len(values) < count:
        row = only(await client.ask(fetch(len(values)), FETCH_VERSION))
        assert row.error_code == 0, row
        values += values_of([row.records])
    return values


async def written(node: VirtualNode, client: VirtualClient, uploads: int) -> list[bytes]:
    """So many records, each in an upload of its own."""
    values = [b"%d" % number for number in range(uploads)]
    for value in values:
        await say(client, value)
        await asyncio.sleep(3)
    return values


def data_calls(machine: Machine) -> list[tuple[str, str]]:
    """But for the listings of who looks through the store once a day."""
    calls = [call for call in machine.store.calls if call[0] != "list"]
    return [call for call in calls if call[1].startswith("data/")]


def test_a_node_merges_what_it_uploads_and_rests_when_nothing_is_written() -> None:
    async def story() -> None:
        machine = Machine()
        async with virtual_node(machine, *SETTINGS) as node:
            await node.create_topic()
            client = node.client()
            values = await written(node, client, 12)
            await asyncio.sleep(120)
            assert node.parts.compactor.metrics.merges >= 2
            assert len(machine.object_keys()) < 12
            assert await read_all(client, 12) == values
            entries, calls = node.parts.metadata.position, len(data_calls(machine))
            await asyncio.sleep(1800)
            assert (node.parts.metadata.position, len(data_calls(machine))) == (entries, calls)
        async with virtual_node(machine, *SETTINGS) as node:
            assert await read_all(node.client(), 12) == values

    run_virtual(story())


def test_a_stop_does_not_wait_for_a_merge_and_the_next_life_forgets_it() -> None:
    async def story() -> None:
        machine = Machine()
        async with virtual_node(machine, *SETTINGS) as node:
            await node.create_topic()
            values = await written(node, node.client(), 3)
            await asyncio.sleep(15)
            slow = Fault(Effect.DELAY, frozenset({"get"}), key_prefix="data/", wait_ms=(9e6, 9e6))
            machine.store.inject(slow)
            await say(node.client(), b"3")
            await asyncio.sleep(15)
            merging = list(node.parts.controller._merging)
            assert merging, "a merge is under way"
            began_s = asyncio.get_running_loop().time()
            await stop(node.parts)
            assert asyncio.get_running_loop().time() - began_s < 2
        machine.store.heal()
        async with virtual_node(machine, *SETTINGS) as node:
            await asyncio.sleep(120)
            assert node.parts.metadata.image.storage.object(merging[0]) is None
            assert await read_all(node.client(), 4) == [*values, b"3"]

    run_virtual(story())
