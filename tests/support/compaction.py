"""A compactor beside a storage node, and what its tests look at."""

from collections.abc import Sequence
from typing import Any

from automq.objectstore.retry import Retrying
from automq.stream.client import MergeLimits
from automq.stream.compactor import CompactionLimits, Compactor
from automq.stream.engine import Stream
from support.storage import CLUSTER, KIB, StorageNode

MIB = 1 << 20
MERGES = MergeLimits(4, 4, 8 * MIB, 1_000, 64 * KIB)
UNLIMITED = 1 << 40


def compactor(
    node: StorageNode,
    *,
    merges: MergeLimits = MERGES,
    bytes_per_s: int = UNLIMITED,
    client: Any = None,
    is_pressed: Any = lambda: False,
) -> Compactor:
    return Compactor(
        store=Retrying(node.machine.store, node.machine.world),
        client=client or node.controller,
        cluster_id=CLUSTER,
        clock=node.machine.world.clock,
        limits=CompactionLimits(merges, bytes_per_s),
        is_pressed=is_pressed,
    )


async def merge_all(node: StorageNode, **options: Any) -> Compactor:
    """Merge until there is nothing to merge."""
    working = compactor(node, **options)
    while await working.merge_next():
        pass
    return working


async def write(
    node: StorageNode, streams: Sequence[Stream], uploads: int, *, value_bytes: int = 20
) -> dict[int, list[bytes]]:
    """So many uploads with a record of each stream; what was written, by stream."""
    written: dict[int, list[bytes]] = {stream.stream_id: [] for stream in streams}
    for number in range(uploads):
        for stream in streams:
            value = (b"%d/%d " % (stream.stream_id, number)).ljust(value_bytes, b".")
            await node.append(stream, value, timestamp=number)
            written[stream.stream_id].append(value)
        await node.upload()
    return written


async def held(node: StorageNode, stream: Stream) -> list[tuple[int, int, int]]:
    """(object, start, end) of every range of a stream."""
    found = await node.controller.locate(stream.stream_id, 0, 10_000)
    return [(it.object_id, it.start_offset, it.end_offset) for it in found]


async def sweep_all(node: StorageNode) -> None:
    """What nothing is read from any more is doomed, deleted and forgotten, without a grace."""
    await node.sweeper().sweep()
