"""A node's life: start in the safe order, serve until told to stop, stop without losing a thing."""

import asyncio
import gc
import logging
import signal
import sys
from typing import Protocol

from automq.config.node_config import NodeConfig
from automq.metadata.log import DamagedLog
from automq.metadata.records.registry import UnknownRecord
from automq.metadata.register import Unfit, Unsettled
from automq.metadata.writer import Deposed
from automq.node.failure import NodeFailure
from automq.node.lock import locked
from automq.node.metrics import show
from automq.node.parts import NodeParts, assemble
from automq.node.places import Places, real_places
from automq.node.storage import closed_after
from automq.objectstore import BadUri, StoreError
from automq.protocol import errors
from automq.stream.engine import StreamEngine
from automq.stream.wal import Wal, WalError
from automq.world import World, system_world
from automq.world.waiting import called

log = logging.getLogger(__name__)

DRAIN_S = 5.0
GC_THRESHOLDS = (20_000, 20, 50)
SWITCH_INTERVAL_S = 0.0001
STOP_S = 30.0
"""An orchestrator that asked to stop kills after about as long."""


class Ready(Protocol):
    """Told once, when clients can connect: where, and how long the start took."""

    def __call__(self, addresses: str, seconds: float, /) -> None: ...


async def run_node(config: NodeConfig, *, ready: Ready, world: World | None = None) -> None:
    """Run one node until SIGTERM or SIGINT; returns after a clean stop. Raises NodeFailure."""
    world = world or system_world()
    started_ms = world.clock.monotonic_ms()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    with locked(config.data_dir):
        try:
            places = real_places(config, world)
            async with closed_after(places.register):
                await serve(config, world, places, stopping, started_ms=started_ms, ready=ready)
        except BaseExceptionGroup as group:
            raise told(first_of(group)) from None
        except Exception as error:
            raise told(error) from None
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the node: the first that is a failure told for people, or the first."""
    flat: list[BaseException] = []

    def flatten(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                flatten(inner)
        else:
            flat.append(error)

    flatten(group)
    return next((error for error in flat if isinstance(error, NodeFailure)), flat[0])


def told(error: BaseException) -> BaseException:
    """The failure as an operator is told of it; what nobody foresaw keeps its stack in the log."""
    if isinstance(error, NodeFailure):
        return error
    if isinstance(error, Deposed):
        return NodeFailure(f"another controller has taken over: {error}")
    if isinstance(error, errors.StaleBrokerEpoch):
        return NodeFailure(f"this node was fenced: {error}")
    if isinstance(error, (DamagedLog, UnknownRecord)):
        return NodeFailure(f"the metadata log cannot be used: {error}")
    if isinstance(error, Unfit):
        return NodeFailure(str(error), status=2)
    if isinstance(error, (WalError, StoreError, Unsettled, BadUri, OSError)):
        return NodeFailure(str(error))
    if isinstance(error, Exception):
        log.error("the node failed", exc_info=error)
        return NodeFailure(f"unexpected {type(error).__name__}: {error} (stack in the log)")
    return error


async def serve(
    config: NodeConfig,
    world: World,
    places: Places,
    stopping: asyncio.Event,
    *,
    started_ms: float,
    ready: Ready,
) -> None:
    """Start everything, wait for `stopping`, stop everything in order."""
    try:
        async with asyncio.TaskGroup() as tasks:
            assembling = tasks.create_task(assemble(config, world, tasks, places), name="start")
            told_to_stop = tasks.create_task(stopping.wait(), name="signals")
            await asyncio.wait([assembling, told_to_stop], return_when=asyncio.FIRST_COMPLETED)
            if told_to_stop.done():
                # Nothing was served yet, so there is nothing to lose.
                raise Stopped
            parts = assembling.result()
            show(parts, places.metrics)
            settle_memory()
            tasks.create_task(watch_wal(parts.engine.wal), name="watch wal")
            serving = [
                tasks.create_task(door.serve(parts.acceptor), name=str(door))
                for door in places.doors
            ]
            addresses = ", ".join(str(listener) for listener in config.listeners)
            ready(addresses, (world.clock.monotonic_ms() - started_ms) / 1000)
            await stopping.wait()
            log.info("stopping: draining connections and uploading what is left")
            for task in serving:
                task.cancel()
            await stop_in_time(parts)
            raise Stopped
    except* Stopped:
        log.info("stopped")


def settle_memory() -> None:
    """What a start leaves stays: it is not looked at again and again by the garbage collector.

    Requests make few cycles, so young objects may be many before they are looked at (a tenth of the
    time of small requests went there); and a native call that waits for the interpreter gets it
    within 0.1 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


class Stopped(Exception):
    """Everything is stored and closed; what still runs in the background may end."""


async def watch_wal(wal: Wal) -> None:
    """A failed write or sync ends the node: nothing could be acknowledged any more."""
    await called(lambda wake: wal.on_failure(lambda _: wake()))
    raise NodeFailure(f"the write-ahead log failed: {wal.failure}")


async def stop_in_time(parts: NodeParts) -> None:
    """Stop cleanly, or give up after a while: what is not uploaded then is safe in the WAL."""
    try:
        async with asyncio.timeout(STOP_S):
            await stop(parts)
    except TimeoutError:
        raise NodeFailure(
            f"stopped after {STOP_S:.0f} s with {parts.engine.wal.used_bytes} bytes not uploaded; "
            "they are safe in the write-ahead log, and the next start uploads them"
        ) from None


async def stop(parts: NodeParts) -> None:
    """Drain, remember, upload, close, in this order; a kill at any point loses nothing.

    What is not done when it dies is in the WAL, and the next start recovers it. A merge of objects
    that is under way is given up: its id is doomed by the next start.
    """
    parts.compacting.cancel()
    await asyncio.wait([parts.compacting])
    await parts.acceptor.drain(DRAIN_S)
    await parts.broker.stop()
    parts.uploader.stop()
    await parts.uploading
    await close_wal(parts.engine)
    await parts.controller.close_node(wal_id=parts.engine.wal.wal_id, fence=parts.engine.wal.end)
    await parts.home.remove(parts.engine.wal.wal_id)
    await parts.metadata.drained()


async def close_wal(engine: StreamEngine) -> None:
    """Close the WAL in order; on a full disk without its last records, if nobody needs them.

    Invariant: what is only in the WAL is synced first. What the uploader has committed is in the
    store, whether or not the disk had room for it. Raises WalFailed.
    """
    is_in_the_store = engine.cache.unreleased_bytes == 0
    await engine.wal.close(clean=engine.wal.full is None or not is_in_the_store)
