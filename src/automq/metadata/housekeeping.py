"""Keeping the metadata log short: hints, closing chunks, deleting what a snapshot covers.

The order is the safety: a snapshot is verified, then named by the log, then a chunk is closed with
it, and only then the entries are deleted. The snapshot of the newest closed chunk stays until
a newer chunk is closed; besides it the two newest stay. Chunks are closed up to the older of those
two, so that one damaged snapshot loses nothing.
"""

import asyncio
import logging

from automq.metadata.log import (
    DamagedLog,
    Pointer,
    PointerKind,
    chunk_of,
    closed_key,
    decode_pointer,
    encode_pointer,
    entry_key,
    hint_key,
)
from automq.metadata.reader import newest_closed
from automq.metadata.records.cluster import SnapshotTaken
from automq.metadata.register import SteadyRegister
from automq.metadata.snapshots import delete_snapshot
from automq.world.probe import probe

log = logging.getLogger(__name__)

DELETES_AT_ONCE = 16


class Housekeeper:
    """What the active controller does to the log after a snapshot was named in it.

    Every step may be repeated by anybody, so a stop in the middle only leaves work.
    """

    def __init__(self, register: SteadyRegister, chunk_entries: int) -> None:
        self._register = register
        self._chunk_entries = chunk_entries
        self._next_hint = (0, 0)
        """A chunk, and the index of its next hint: all hints below are there."""

    async def resume(self, snapshots: tuple[SnapshotTaken, ...]) -> None:
        """Finishes what a controller before us may have left half done."""
        closed = await newest_closed(self._register)
        if closed is not None:
            # Entries go from the last to the first: the first tells whether all are gone.
            first = closed.chunk * self._chunk_entries
            if await self._register.read(entry_key(first, self._chunk_entries)) is not None:
                probe("metadata: a chunk was closed and not emptied by another controller")
                await self._empty(closed.chunk)
            await self._let_go_of_older(closed)
        await self._drop_all_but_kept(snapshots, closed)

    async def tidy(self, snapshots: tuple[SnapshotTaken, ...]) -> None:
        """After the last of `snapshots` was stored in the log: everything that follows from it.

        Invariant: closes only what a snapshot covers that is verified and named in the stored log.
        """
        await self._hint(snapshots[-1])
        closed = await newest_closed(self._register)
        if len(snapshots) > 1:
            closed = await self._close_up_to(snapshots[-2], closed)
        await self._drop_all_but_kept(snapshots, closed)

    async def _close_up_to(self, snapshot: SnapshotTaken, closed: Pointer | None) -> Pointer | None:
        first = 0 if closed is None else closed.chunk + 1
        for chunk in range(first, chunk_of(snapshot.position + 1, self._chunk_entries)):
            pointer = Pointer(PointerKind.CLOSED, chunk, snapshot)
            await self._register.create(closed_key(chunk), encode_pointer(pointer))
            log.info("metadata chunk %d closed, snapshot %d", chunk, snapshot.position)
            await self._empty(chunk)
            closed = pointer
            await self._let_go_of_older(closed)
        return closed

    async def _empty(self, chunk: int) -> None:
        index = 0
        while await self._register.read(hint_key(chunk, index)) is not None:
            index += 1
        for hint in reversed(range(index)):
            await self._register.delete(hint_key(chunk, hint))
        first = chunk * self._chunk_entries
        for end in range(first + self._chunk_entries, first, -DELETES_AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for number in range(max(end - DELETES_AT_ONCE, first + 1), end):
                    key = entry_key(number, self._chunk_entries)
                    group.create_task(self._register.delete(key))
        await self._register.delete(entry_key(first, self._chunk_entries))

    async def _let_go_of_older(self, closed: Pointer) -> None:
        """The snapshot of the chunk closed before may go, if it is another."""
        if closed.chunk == 0:
            return
        key = closed_key(closed.chunk - 1)
        data = await self._register.read(key)
        if data is None:
            raise DamagedLog(f"{key} is missing though the next chunk is closed")
        before = decode_pointer(data, key).snapshot
        if before.position < closed.snapshot.position:
            await delete_snapshot(self._register, before)

    async def _drop_all_but_kept(
        self, snapshots: tuple[SnapshotTaken, ...], closed: Pointer | None
    ) -> None:
        kept = {snapshot.position for snapshot in snapshots[-2:]}
        if closed is not None:
            kept.add(closed.snapshot.position)
        for snapshot in snapshots:
            if snapshot.position not in kept:
                await delete_snapshot(self._register, snapshot)

    async def _hint(self, snapshot: SnapshotTaken) -> None:
        """Name it where readers look, who read the hints of a chunk one after the other.

        Only the first hint of a controller in a chunk looks for the place behind the others.
        """
        chunk = chunk_of(snapshot.position + 1, self._chunk_entries)
        index = self._next_hint[1] if self._next_hint[0] == chunk else 0
        data = encode_pointer(Pointer(PointerKind.HINT, chunk, snapshot))
        while True:
            key = hint_key(chunk, index)
            if await self._register.create(key, data) or await self._register.read(key) == data:
                self._next_hint = chunk, index + 1
                return
            index += 1
