"""Writing down what a partition must not forget: where it starts, its producers, its segments."""

import asyncio
from typing import TYPE_CHECKING

from automq.partition.state import VERSION, Snapshot, encode_snapshot
from automq.protocol import errors
from automq.stream.wal import WalBusy
from automq.world.probe import probe
from automq.world.waiting import called, settle

if TYPE_CHECKING:
    from automq.partition.partition import Partition


def snapshot_of(partition: "Partition", log_start_offset: int) -> Snapshot:
    """The state as of the log's end, with the start that is wanted now."""
    return Snapshot(
        version=VERSION,
        at_offset=partition.log_end_offset,
        log_start_offset=log_start_offset,
        producers=partition.producers.snapshot(),
        segments=partition.segments.rows,
    )


async def remember(partition: "Partition", log_start_offset: int) -> None:
    """Store a snapshot in the state stream; it is durable when this returns.

    Only then may the new start be believed (HAZARDS 15): it is durable here before anyone is told,
    and the controller's trim, which may come much later, takes nothing away that is still wanted.
    """
    state, engine = partition.state, partition.engine
    assert state is not None, partition
    # Whoever was remembered meanwhile may have wanted more: the start never goes back.
    log_start_offset = max(log_start_offset, partition.log_start_offset)
    snapshot = snapshot_of(partition, log_start_offset)
    batch = encode_snapshot(snapshot)
    stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    while True:
        while not engine.has_room(batch.size_bytes):
            await called(engine.when_there_is_room)
        if not state.is_open:
            raise errors.NotLeaderOrFollower(f"{partition} has moved")
        try:
            base_offset = engine.append(state, batch, lambda: settle(stored))
        except WalBusy:
            probe("partition: a snapshot has no room in the write-ahead log")
            continue  # there is no room now, until something moves
        break
    await stored
    # The newest snapshot is all that is needed; what is before it can be trimmed.
    state.start_offset = base_offset
    partition.remembered_end = snapshot.at_offset
    if log_start_offset > partition.log_start_offset:
        partition.log_start_offset = log_start_offset
        partition.producers.trim(log_start_offset)
        partition.segments.trim(log_start_offset)
        partition.epochs.trim(log_start_offset)
