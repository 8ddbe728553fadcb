"""A node's whole life in virtual time: what ends it, how it stops, and what the next one finds."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from automq.broker.listener import Acceptor
from automq.config.node_config import NodeConfig
from automq.metadata.register import ObjectStoreRegister
from automq.node.failure import NodeFailure
from automq.node.places import Places
from automq.node.run import STOP_S, first_of, serve, told
from automq.objectstore.simulated import Effect, Fault
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce
from support.storage import Machine
from support.virtual_node import VirtualClient
from support.virtual_time import virtual

CONFIG = NodeConfig.load(overrides=["automq.data.dir=/nowhere"])


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A start settles the memory of its process; this process goes on with other tests."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@dataclass
class Door:
    """Lets in whom a test sends."""

    opened: "asyncio.Future[Acceptor]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def serve(self, acceptor: Acceptor) -> None:
        self.opened.set_result(acceptor)
        await asyncio.Event().wait()


@dataclass
class Life:
    """A node that runs, or has run."""

    machine: Machine
    door: Door
    stopping: asyncio.Event
    task: "asyncio.Task[None]"

    async def client(self) -> VirtualClient:
        return VirtualClient(await self.door.opened, CONFIG.listeners[0])

    async def stop(self) -> None:
        """Tell it to stop, and wait for its end. Raises what it ends with."""
        self.stopping.set()
        await self.end()

    async def end(self) -> None:
        try:
            await self.task
        except BaseExceptionGroup as group:
            raise told(first_of(group)) from None


def begin(machine: Machine) -> Life:
    door, stopping = Door(), asyncio.Event()
    register = ObjectStoreRegister(machine.store)
    places = Places(machine.store, register, lambda *_: machine.disk, [door])
    life = serve(
        CONFIG, machine.world, places, stopping, started_ms=0.0, ready=lambda where, after: None
    )
    return Life(machine, door, stopping, asyncio.get_running_loop().create_task(life))


@asynccontextmanager
async def serving(machine: Machine) -> AsyncIterator[tuple[Life, VirtualClient]]:
    """A node that serves, with topic `t`; the test ends it."""
    life = begin(machine)
    client = await life.client()
    wanted = MetadataRequest([MetadataRequestTopic(name="t")])
    while (await client.ask(wanted, 9)).topics[0].error_code != 0:  # noqa: ASYNC110 (virtual)
        await asyncio.sleep(0.1)
    yield life, client
    assert life.task.done()


async def say(client: VirtualClient, *values: bytes) -> int:
    row = only(await client.ask(produce(*values), PRODUCE_VERSION))
    assert row.error_code == 0, row
    return int(row.base_offset)


async def high_watermark(client: VirtualClient) -> int:
    return int(only(await client.ask(fetch(0), FETCH_VERSION)).high_watermark)


@virtual
async def test_a_clean_stop_leaves_no_wal_and_the_next_life_goes_on() -> None:
    machine = Machine()
    async with serving(machine) as (life, client):
        assert await say(client, b"a", b"b") == 0
        await life.stop()
        assert client.is_closed.is_set()
    assert machine.disk.ids == []
    async with serving(machine) as (life, client):
        assert await say(client, b"c") == 2
        await life.stop()


@virtual
async def test_a_failed_sync_ends_the_node_and_loses_nothing_acknowledged() -> None:
    machine = Machine()
    async with serving(machine) as (life, client):
        assert await say(client, b"kept") == 0
        machine.disk.failing = True
        client.send(produce(b"never acknowledged"), PRODUCE_VERSION)
        with pytest.raises(NodeFailure, match=r"the write-ahead log failed: .*fdatasync"):
            await life.end()
        assert not client._frames
    machine.disk.failing = False
    async with serving(machine) as (life, client):
        assert await high_watermark(client) in (1, 2)
        await life.stop()


@virtual
async def test_a_stop_answers_what_was_asked_and_lets_waiting_fetches_go() -> None:
    machine = Machine()
    async with serving(machine) as (life, client):
        reader = await life.client()
        reader.send(fetch(max_wait_ms=3_600_000), FETCH_VERSION)
        answer = client.send(produce(b"asked before"), PRODUCE_VERSION)
        began = asyncio.get_running_loop().time()
        stopping = asyncio.create_task(life.stop())
        assert only(await answer.wait()).error_code == 0
        await stopping
        assert asyncio.get_running_loop().time() - began < 2


@virtual
async def test_a_stop_without_a_store_gives_up_in_time_and_loses_nothing() -> None:
    machine = Machine()
    async with serving(machine) as (life, client):
        await say(client, b"a")
        machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), key_prefix="data/", times=None))
        began = asyncio.get_running_loop().time()
        with pytest.raises(NodeFailure, match="safe in the write-ahead log"):
            await life.stop()
        assert asyncio.get_running_loop().time() - began < STOP_S + 10
        machine.store.heal()
        [wal_id] = machine.disk.ids
        machine.disk.crash(wal_id)
    async with serving(machine) as (life, client):
        assert await high_watermark(client) == 1
        await life.stop()


@virtual
async def test_a_node_can_be_stopped_while_its_store_does_not_answer() -> None:
    machine = Machine()
    machine.store.inject(Fault(Effect.FAIL, times=None))
    life = begin(machine)
    await asyncio.sleep(100)
    await life.stop()
    assert not life.door.opened.done()
    assert machine.disk.ids == []


@virtual
async def test_of_two_nodes_on_one_disk_neither_goes_on_over_the_other() -> None:
    """The second has won the log, and finds the WAL of the first in use; both end."""
    machine = Machine()
    async with serving(machine) as (life, client):
        await say(client, b"acknowledged")
        with pytest.raises(NodeFailure, match="is in use"):
            await begin(machine).end()
        client.send(MetadataRequest([MetadataRequestTopic(name="another")]), 9)
        with pytest.raises(NodeFailure, match="another controller has taken over"):
            await life.end()
        machine.disk.crash(0)
    async with serving(machine) as (life, client):
        assert await high_watermark(client) == 1
        await life.stop()
