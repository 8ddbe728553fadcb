"""Winning the metadata log on this node's register."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.controller.local import LocalController
from automq.metadata.election import Lost, elect
from automq.metadata.log import CHUNK_ENTRIES, Author
from automq.metadata.reader import MetadataReader
from automq.metadata.records.cluster import ClusterCreated, Endpoint
from automq.metadata.records.registry import Record
from automq.metadata.register import Register, SteadyRegister
from automq.metadata.state import MetadataState, Policy
from automq.world import World

log = logging.getLogger(__name__)

IS_LOCAL = "file://"


async def nothing() -> None:
    """What is done before a cluster is made, where nobody asks for more."""


async def control_here(
    config: NodeConfig,
    world: World,
    tasks: asyncio.TaskGroup,
    register: Register,
    before_new: Callable[[], Awaitable[None]] = nothing,
) -> tuple[MetadataState, LocalController]:
    """This node as the active controller, serving, and registered as a new incarnation.

    In this order: the log is won first, so older incarnations' commits are refused from then on.
    `before_new` is called before a cluster is made on an empty store.
    """
    incarnation = world.new_uuid()
    metadata = await elect_here(config, world, register, incarnation, before_new=before_new)
    tasks.create_task(metadata.serve(), name="metadata")
    controller = LocalController(metadata, config.node_id, world.clock)
    await controller.register(config, incarnation)
    return metadata, controller


async def elect_here(
    config: NodeConfig,
    world: World,
    register: Register,
    incarnation: bytes,
    *,
    before_new: Callable[[], Awaitable[None]] = nothing,
) -> MetadataState:
    """This node as the active controller; an empty store becomes a new cluster.

    A node that loses follows nobody yet (one controller role a cluster): it stands again, and
    whoever was the writer before finds its number taken and ends.
    """
    steady = SteadyRegister(register, world)
    reader = MetadataReader(steady)
    await reader.load()
    if reader.position < 0:
        await before_new()
    genesis: list[Record] = [ClusterCreated(world.new_uuid(), world.clock.now_ms(), CHUNK_ENTRIES)]
    endpoints = [Endpoint(it.name, it.host, it.port) for it in config.advertised_listeners]
    author = Author(config.node_id, incarnation)
    replayed: MetadataReader | None = reader
    while True:
        result = await elect(
            steady, world, author, genesis=genesis, endpoints=endpoints, reader=replayed
        )
        replayed = None
        if not isinstance(result, Lost):
            break
        log.warning("node %d won the metadata log first; trying again", result.winner.node_id)
        await asyncio.sleep(world.chance.uniform(0.05, 0.5))
    probe_ms = config.get(keys.automq.METADATA_POLL_INTERVAL_MS)
    if config.metadata_uri.startswith(IS_LOCAL):
        # One machine, one lock: nobody else can have written, and a laptop sleeps better.
        probe_ms = 0
    policy = Policy(
        probe_ms=probe_ms,
        snapshot_entries=config.get(keys.automq.METADATA_SNAPSHOT_ENTRIES),
    )
    return MetadataState(result, steady, world, policy)
