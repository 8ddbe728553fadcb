"""A short life of a node for an operator's job: elected, registered, no clients, stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from automq.config.node_config import NodeConfig
from automq.metadata.log import DamagedLog
from automq.metadata.reader import MetadataReader
from automq.metadata.records.registry import UnknownRecord
from automq.metadata.register import ListedRegister, Unsettled
from automq.metadata.storage import Wal as RegisteredWal
from automq.node.failure import NodeFailure
from automq.node.lock import locked
from automq.node.metadata import control_here
from automq.node.run import Stopped, first_of, told
from automq.node.storage import closed_after, open_at, open_register_at, register_at, wals_at
from automq.node.takeover import Taker, recovery_limits
from automq.objectstore import StoreMetrics
from automq.objectstore.retry import Retrying
from automq.protocol import errors
from automq.stream.wal import WalHome
from automq.world import World


@asynccontextmanager
async def taker_of(
    config: NodeConfig, world: World, *, wal_uri: str | None = None
) -> AsyncIterator[Taker]:
    """This node as a taker of others' WALs, which are reached at `wal_uri` or where they were
    registered.

    Whoever wrote the metadata log before is deposed by it. Raises NodeFailure.
    """
    try:
        with locked(config.data_dir):
            await read_log(config, world)
            register = open_register_at(config, world)
            async with closed_after(register), asyncio.TaskGroup() as tasks:
                taker = await elected(config, world, tasks, register, wal_uri)
                yield taker
                await taker.controller.stop_node()
                raise Stopped
    except* Stopped:
        # The job is done and stored, and what still ran in the background has ended.
        pass
    except* Exception as group:
        error = first_of(group)
        if isinstance(error, errors.InvalidRequest):
            raise NodeFailure(str(error)) from None
        raise told(error) from None


async def elected(
    config: NodeConfig,
    world: World,
    tasks: asyncio.TaskGroup,
    register: ListedRegister,
    wal_uri: str | None,
) -> Taker:
    store = Retrying(open_at(config, world, config.storage_uri), world)
    metadata, controller = await control_here(config, world, tasks, register)
    cluster_id = metadata.stored.cluster_id
    wals = wals_at(config, world, StoreMetrics("wal"), register)

    def homes_of(wal: RegisteredWal) -> list[WalHome]:
        return [wals(wal.uri if wal_uri is None else wal_uri, cluster_id, tasks)]

    return Taker(controller, store, cluster_id, recovery_limits(config), homes_of, world.clock)


async def read_log(config: NodeConfig, world: World) -> MetadataReader:
    """The metadata as it is stored, changing nothing. Raises NodeFailure; where there is no log,
    because an operator's job must not make a cluster.
    """
    async with register_at(config, world) as register:
        reader = MetadataReader(register)
        try:
            await reader.load()
        except BaseExceptionGroup as group:
            raise told(first_of(group)) from None
        except (DamagedLog, UnknownRecord, Unsettled) as error:
            raise told(error) from None
    if reader.position < 0:
        raise NodeFailure(
            f"there is no cluster at {config.metadata_uri}; give the automq.storage.uri (and "
            "automq.metadata.uri) of the nodes",
            status=2,
        )
    return reader
