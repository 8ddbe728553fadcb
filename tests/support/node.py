"""A whole node inside the test process, so that a test can talk to it and look inside.

With `AUTOMQ_TEST_PEER=HOST:PORT` tests talk to that broker instead, to check them: a fresh Apache
Kafka, started with `SETTINGS`. Those that look inside are skipped then.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from automq.broker.broker import Broker
from automq.config.node_config import NodeConfig
from automq.node.parts import NodeParts, assemble
from automq.node.places import SocketDoor, real_places
from automq.node.storage import closed_after
from automq.protocol.messages.create_topics_request import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from automq.protocol.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from automq.protocol.messages.list_offsets_request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from automq.world import system_world
from support.raw_client import Client, connected
from support.server import free_port

PEER = os.environ.get("AUTOMQ_TEST_PEER", "")
DEADLINE_S, POLL_S = 20.0, 0.02
LATEST = -1
SETTINGS = ("group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=2")


class Node:
    """A running node, or the peer."""

    def __init__(self, host: str, port: int, node_id: int, parts: NodeParts | None) -> None:
        self.host = host
        self.port = port
        self.node_id = node_id
        self._parts = parts

    @property
    def parts(self) -> NodeParts:
        """What it consists of; skips the test where that is out of reach."""
        if self._parts is None:
            pytest.skip("looks inside the node")
        return self._parts

    @property
    def broker(self) -> Broker:
        return self.parts.broker

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with connected(self.host, self.port) as client:
            yield client

    async def ask(self, request: Any, version: int | None = None) -> Any:
        """The answer to a request on a connection of its own."""
        async with self.client() as client:
            return await client.ask(request, version)

    async def ask_until(
        self, good: Callable[[Any], bool], request: Any, version: int | None = None
    ) -> Any:
        """Ask again until the answer is good: what Apache Kafka does step by step behind it."""
        async with asyncio.timeout(DEADLINE_S), self.client() as client:
            while not good(answer := await client.ask(request, version)):  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
            return answer

    async def create_topic(self, name: str, partitions: int = 1, **configs: str) -> bytes:
        """Create a topic; its id. Keys are written with `_` for `.`."""
        rows = [CreatableTopicConfig(key.replace("_", "."), it) for key, it in configs.items()]
        topic = CreatableTopic(name, partitions, 1, configs=rows)
        answer = await self.ask(CreateTopicsRequest([topic]))
        (made,) = answer.topics
        assert made.error_code == 0, made
        asked = MetadataRequest([MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
        await self.ask_until(lambda known: led(known.topics, partitions), asked)
        ends = [ListOffsetsPartition(index, timestamp=LATEST) for index in range(partitions)]
        open_here = ListOffsetsRequest(-1, 0, [ListOffsetsTopic(name, ends)])
        await self.ask_until(lambda known: led(known.topics, partitions), open_here)
        topic_id: bytes = made.topic_id
        return topic_id

    async def delete_topics(self) -> None:
        """Delete what earlier tests have left on a peer."""
        known = await self.ask(MetadataRequest(None))
        doomed = [DeleteTopicState(it.name) for it in known.topics if not it.is_internal]
        await self.ask(DeleteTopicsRequest(doomed, timeout_ms=30_000))
        internal = sum(it.is_internal for it in known.topics)
        await self.ask_until(lambda left: len(left.topics) == internal, MetadataRequest(None))


@asynccontextmanager
async def running_node(directory: Path, *settings: str) -> AsyncIterator[Node]:
    """A node with its data in `directory` for the time of a `with` block; then it dies at once."""
    if PEER:
        host, _, port = PEER.rpartition(":")
        peer = Node(host, int(port), 1, None)
        await peer.delete_topics()
        yield peer
        return
    port_number = free_port()
    config = NodeConfig.load(
        overrides=[
            f"automq.data.dir={directory}",
            f"listeners=PLAINTEXT://127.0.0.1:{port_number}",
            *SETTINGS,
            *settings,
        ]
    )
    started: asyncio.Future[NodeParts] = asyncio.get_running_loop().create_future()
    life = asyncio.get_running_loop().create_task(live(config, started))
    life.add_done_callback(lambda _: started.cancel())
    try:
        parts = await started
    except asyncio.CancelledError:
        await life
        raise
    try:
        yield Node("127.0.0.1", port_number, config.node_id, parts)
    finally:
        failed = life.done()
        life.cancel()
        await asyncio.gather(life, return_exceptions=not failed)


async def live(config: NodeConfig, started: "asyncio.Future[NodeParts]") -> None:
    """Everything in one task, as task groups want it."""
    world = system_world()
    places = real_places(config, world)
    try:
        async with closed_after(places.register), asyncio.TaskGroup() as tasks:
            parts = await assemble(config, world, tasks, places)
            serving = [tasks.create_task(door.serve(parts.acceptor)) for door in places.doors]
            try:
                started.set_result(parts)
                await asyncio.gather(*serving)
            finally:
                parts.acceptor.close_all()
                await parts.engine.wal.close(clean=False)
    finally:
        for door in places.doors:
            assert isinstance(door, SocketDoor)
            door.listening.close()


def led(topics: Any, partitions: int) -> bool:
    (topic,) = topics
    return len(topic.partitions) == partitions and not any(codes(topic.partitions))


def codes(rows: Sequence[Any]) -> list[int]:
    """The error codes of rows."""
    return [row.error_code for row in rows]
