"""Reading the metadata log: from the newest snapshot to the tail, and on from there.

A 404 is the tail only after `closed` was asked: had the chunk of the first number read been closed
meanwhile, what was read there could be what a stalled writer left, and the reading starts again.
"""

import asyncio
import logging

from automq.metadata.image import Image
from automq.metadata.log import (
    CHUNK_ENTRIES,
    NO_CHECKSUM,
    DamagedLog,
    Entry,
    Pointer,
    chunk_of,
    closed_key,
    decode_entry,
    decode_pointer,
    entry_key,
    hint_key,
)
from automq.metadata.records.cluster import ControllerElected, SnapshotTaken
from automq.metadata.records.registry import Record
from automq.metadata.register import SteadyRegister
from automq.metadata.snapshots import read_snapshot
from automq.world.probe import probe

log = logging.getLogger(__name__)

READ_AHEAD = 32
"""Entries asked for at once while there is much to read."""


async def is_closed(register: SteadyRegister, chunk: int) -> bool:
    """Whether the chunk is closed. Once it is, it stays so."""
    return await register.read(closed_key(chunk)) is not None


async def newest_closed(register: SteadyRegister) -> Pointer | None:
    """The pointer of the newest closed chunk: doubling, then bisection, for there is no list.

    Chunks are closed one after the other and `closed` is never deleted, so they have no gap.
    """
    known: bytes | None = None
    below, above = -1, 0
    while (data := await register.read(closed_key(above))) is not None:
        known, below, above = data, above, above * 2 + 1
    while above - below > 1:
        middle = (below + above) // 2
        data = await register.read(closed_key(middle))
        if data is None:
            above = middle
        else:
            known, below = data, middle
    return None if known is None else decode_pointer(known, closed_key(below))


class MetadataReader:
    """An image that follows the stored log.

    `position` is the number of the last entry read, `checksum` its checksum; `began` the first
    number that was read and is not yet proven by a `closed` asked after it.
    """

    def __init__(self, register: SteadyRegister, *, read_ahead: int = READ_AHEAD) -> None:
        self.register = register
        self._read_ahead = read_ahead
        self.closed: Pointer | None = None
        self._reset()

    def _reset(self) -> None:
        self.image = Image()
        self.position = -1
        self.checksum = NO_CHECKSUM
        self.began = 0

    @property
    def epoch(self) -> int:
        """Of the newest leader record."""
        return self.image.cluster.controller_epoch

    @property
    def chunk_entries(self) -> int:
        """The log's own measure; any will do before the first entry, which is in chunk 0."""
        created = self.image.cluster.created
        return CHUNK_ENTRIES if created is None else created.chunk_entries

    async def load(self) -> None:
        """Starts again from the newest snapshot and reads to the tail.

        Raises DamagedLog, UnknownRecord.
        """
        while True:
            self._reset()
            await self._load_base()
            if await self._read_to_tail([]):
                return
            probe("metadata: the log was closed while it was read")
            log.info("the metadata log was closed while it was read: reading it again")

    async def poll(self) -> list[Entry] | None:
        """Reads on to the tail; answers what is new there, stale entries included.

        None: the log was closed under the reader, which started again with another image.
        """
        entries: list[Entry] = []
        if await self._read_to_tail(entries):
            return entries
        await self.load()
        return None

    def accept(self, entry: Entry) -> bool:
        """Applies the entry after `position`; False if it is stale, and so has no effect.

        Raises DamagedLog if it does not continue what was read.
        """
        broken = self._contradiction(entry)
        if broken is not None:
            raise DamagedLog(broken)
        return self._apply(entry)

    async def _read_to_tail(self, entries: list[Entry]) -> bool:
        """False: what was read since `began` may be void. Then nothing of it must be used."""
        broken = await self._read_entries(entries)
        # Asked after the 404, and of the first number that was read: see the module.
        if await is_closed(self.register, chunk_of(self.began, self.chunk_entries)):
            return False
        if broken is not None:
            raise DamagedLog(broken)
        self.began = self.position + 1
        return True

    async def _read_entries(self, entries: list[Entry]) -> str | None:
        """Up to the first number that is absent (None), or that contradicts those before it."""
        ahead = 1
        while True:
            found = await self._read_numbers(ahead)
            for data in found:
                if data is None:
                    return None
                entry = decode_entry(data, self.position + 1)
                broken = self._contradiction(entry)
                if broken is not None:
                    return broken
                self._apply(entry)
                entries.append(entry)
            ahead = min(ahead * 2, self._read_ahead)

    async def _read_numbers(self, count: int) -> list[bytes | None]:
        first, chunk_entries = self.position + 1, self.chunk_entries
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.register.read(entry_key(number, chunk_entries)))
                for number in range(first, first + count)
            ]
        return [task.result() for task in tasks]

    def _contradiction(self, entry: Entry) -> str | None:
        what = f"metadata entry {entry.number}"
        if entry.number != self.position + 1:
            return f"{what} does not follow entry {self.position}"
        if entry.previous != self.checksum:
            return f"{what} follows another entry {self.position} than the one that is stored"
        if entry.epoch > self.epoch and not _elects(entry):
            return f"{what} is of epoch {entry.epoch}, which nobody was elected to"
        return None

    def _apply(self, entry: Entry) -> bool:
        self.position, self.checksum = entry.number, entry.checksum
        if entry.epoch < self.epoch or (entry.epoch == self.epoch and _elects(entry)):
            probe("metadata: the reader met a stale entry")
            return False
        for record in entry.records:
            self.image.apply(record)
        return True

    async def _load_base(self) -> None:
        missing: Pointer | None = None
        while True:
            self.closed = await newest_closed(self.register)
            for snapshot in await self._candidates():
                parts = await read_snapshot(self.register, snapshot)
                if parts is not None:
                    self._start_from(snapshot, parts)
                    return
            if self.closed is None:
                return
            # It went with its chunk's: there is a newer closed chunk, or it is lost.
            if self.closed == missing:
                raise DamagedLog(
                    f"the snapshot after entry {self.closed.snapshot.position}, which chunk "
                    f"{self.closed.chunk} is closed with, is missing"
                )
            probe("metadata: a snapshot went while it was looked for")
            missing = self.closed

    async def _candidates(self) -> list[SnapshotTaken]:
        """Snapshots to start from, the newest first. The hints save reading, nothing else."""
        chunk = 0 if self.closed is None else self.closed.chunk + 1
        found: list[SnapshotTaken] = [] if self.closed is None else [self.closed.snapshot]
        index = 0
        while True:
            key = hint_key(chunk, index)
            data = await self.register.read(key)
            if data is not None:
                found.append(decode_pointer(data, key).snapshot)
                index += 1
            elif index > 0:
                chunk, index = chunk + 1, 0
            else:
                return found[::-1]

    def _start_from(self, snapshot: SnapshotTaken, parts: list[tuple[Record, ...]]) -> None:
        self._reset()
        for part in parts:
            for record in part:
                self.image.apply(record)
        self.image.cluster.take_changes()
        self.position, self.checksum = snapshot.position, snapshot.checksum
        self.began = self.position + 1


def _elects(entry: Entry) -> bool:
    return any(isinstance(record, ControllerElected) for record in entry.records)
