"""More mistakes put in on purpose: in the metadata log, in sweeping, in the write-ahead log's disk.

Most are those that `docs/hazards.md` warns of; `BUGS` has them and those of `sim.bugs`.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from automq.controller import objects, takeovers
from automq.controller.local import LocalController
from automq.controller.sweeping import Sweeper
from automq.metadata import election, reader, snapshots, writer
from automq.metadata.decision import Decision
from automq.metadata.log import DamagedLog, decode_entry, entry_key
from automq.metadata.register import SteadyRegister, Unsettled
from automq.metadata.state import MetadataState
from automq.metadata.writer import Deposed, MetadataWriter
from automq.stream.wal import SimulatedWal, WalDamaged
from automq.stream.wal.simulated import SimulatedRecovery
from sim.bugs import BUGS, bug

__all__ = ["BUGS"]


@bug
def reads_on_without_asking_whether_the_log_was_closed() -> Iterator[None]:
    async def never(register: Any, chunk: int) -> bool:
        return False

    with patch.object(reader, "is_closed", never):
        yield


@bug
def believes_a_win_in_a_closed_chunk() -> Iterator[None]:
    async def never(register: Any, chunk: int) -> bool:
        return False

    with patch.object(writer, "is_closed", never), patch.object(election, "is_closed", never):
        yield


@bug
def names_a_snapshot_that_was_not_read_back() -> Iterator[None]:
    """It may be on its way, or never come: then a chunk is closed with it."""
    unfinished: list[asyncio.Future[Any]] = []

    async def write_part(
        register: SteadyRegister, index: int, data: bytes, position: int, checksum: bytes
    ) -> str:
        key = f"meta/snapshots/{position:014d}-{checksum.hex()}/0-{index}"
        unfinished.append(asyncio.ensure_future(register.create(key, data)))
        await asyncio.sleep(0)
        return key

    with patch.object(snapshots, "_write_part", write_part):
        yield


@bug
def puts_what_is_not_stored_into_a_snapshot() -> Iterator[None]:
    async def snapshot(self: MetadataState) -> Any:
        position, checksum = self._writer.position, self._writer.checksum
        parts = snapshots.encode_parts(self.image.snapshot_records(), position, checksum)
        self._since_entries = self._since_bytes = 0
        taken = await snapshots.write_snapshot(self._register, parts, position, checksum)
        await self.run(lambda image: Decision([taken], None))
        return taken

    with patch.object(MetadataState, "snapshot", snapshot):
        yield


@bug
def tells_its_own_entries_by_their_writer() -> Iterator[None]:
    """An entry is written again with another nonce; one of the same node is taken for it."""
    real = MetadataWriter.append

    async def append(self: MetadataWriter, body: Any) -> int:
        steady = self.register

        async def create(key: str, data: bytes) -> bool:
            if not key.rpartition("/")[2].isdigit():
                return await SteadyRegister.create(steady, key, data)  # no entry: as it is
            return await steady._register.create(key, data)

        while True:
            before = self.position
            with patch.object(steady, "create", create):
                try:
                    return await real(self, body)
                except Unsettled:
                    await asyncio.sleep(0.05)
                except (DamagedLog, Deposed):
                    number = before + 1
                    stored = await steady.read(entry_key(number, self.chunk_entries))
                    if stored is None:
                        raise
                    entry = decode_entry(stored, number)
                    if entry.author.node_id != self.author.node_id:
                        raise
                    self.position, self.checksum = number, entry.checksum
                    return number

    with patch.object(MetadataWriter, "append", append):
        yield


@bug
def deletes_objects_before_it_is_stored_that_they_are_doomed() -> Iterator[None]:
    unsaved: list[asyncio.Future[Any]] = []

    async def doom(self: Sweeper) -> None:
        unsaved.append(asyncio.ensure_future(self._metadata.run_lazy(objects.doom_unreferenced)))
        await asyncio.sleep(0)

    async def learn(self: Sweeper) -> None:
        ids = self._metadata.image.storage.tables.doomed(objects.OBJECTS_AT_ONCE)
        self._due_ms = dict.fromkeys(ids, 0.0)

    with patch.object(Sweeper, "_doom", doom), patch.object(Sweeper, "_learn", learn):
        yield


@bug
def cuts_a_commit_in_two() -> Iterator[None]:
    real = LocalController.commit_object

    async def commit_object(self: LocalController, commit: Any, *, urgent: bool) -> Any:
        middle = len(commit.ranges) // 2
        if middle == 0:
            return await real(self, commit, urgent=urgent)
        first = replace(commit, ranges=commit.ranges[:middle], epochs=commit.epochs[:middle])
        second = replace(commit, ranges=commit.ranges[middle:], epochs=commit.epochs[middle:])
        verdicts = list(await real(self, first, urgent=urgent))
        return verdicts + list(await real(self, second, urgent=urgent))

    with patch.object(LocalController, "commit_object", commit_object):
        yield


@bug
def reads_a_write_ahead_log_before_the_takeover_is_stored() -> Iterator[None]:
    """Its owner, where it still runs, may go on to commit, and to let go of what is read."""

    def take_over_all(image: Any, taker: Any, node_id: int) -> Any:
        return Decision((), takeovers.unfinished_wals(image, node_id))

    with patch.object(takeovers, "take_over_all", take_over_all):
        yield


@bug
def takes_a_torn_tail_for_damage() -> Iterator[None]:
    real = SimulatedRecovery.__aiter__

    async def records(self: SimulatedRecovery) -> Any:
        platter = self._disk.platter(self._wal_id, None)
        if not all(entry.good for entry in platter.entries):
            raise WalDamaged(f"simulated WAL {self._wal_id} ends in the middle of a record")
        async for chunk in real(self):
            yield chunk

    with patch.object(SimulatedRecovery, "__aiter__", records):
        yield


@bug
def syncs_again_after_a_sync_has_failed() -> Iterator[None]:
    """The second one succeeds, and what the first one should have written is gone."""
    real = SimulatedWal._synced

    def synced(self: SimulatedWal, end: int, count: int, took_us: int) -> None:
        if self._disk.failing:
            self._platter.lose_unsynced(self._disk.chance)
            with patch.object(self._disk, "failing", False):
                real(self, end, count, took_us)
        else:
            real(self, end, count, took_us)

    with patch.object(SimulatedWal, "_synced", synced):
        yield
