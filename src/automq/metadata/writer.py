"""Writing the metadata log: one entry in flight, fixed bytes, repeated until there is a verdict."""

from dataclasses import dataclass
from enum import Enum, auto

from automq.metadata.log import (
    Author,
    DamagedLog,
    Entry,
    chunk_of,
    decode_entry,
    encode_entry,
    entry_key,
)
from automq.metadata.reader import is_closed
from automq.metadata.records.cluster import ControllerElected
from automq.metadata.register import SteadyRegister
from automq.world import World
from automq.world.probe import probe


class Deposed(Exception):
    """Somebody else is the active controller: step down. Nothing that was not answered is stored,
    or can ever be."""


class Outcome(Enum):
    WON = auto()
    VOID = auto()
    """The chunk was closed: the win does not count."""


async def claim(
    register: SteadyRegister, data: bytes, *, number: int, nonce: bytes, chunk_entries: int
) -> Outcome | Entry:
    """Tries to win a number for these bytes; answers the entry that is there when another did.

    Invariant: a win is believed only when `closed` of its chunk was asked after it.
    """
    key, chunk = entry_key(number, chunk_entries), chunk_of(number, chunk_entries)
    attempt = 0
    while True:
        if not await register.create(key, data):
            probe("metadata: a number is there already")
            stored = await register.read(key)
            if stored is None:
                # Created by somebody, yet absent: deleted with its chunk, or no verdict yet.
                probe("metadata: a number was taken, and is absent when read")
                if await is_closed(register, chunk):
                    return Outcome.VOID
                await register.pause(attempt)
                attempt += 1
                continue
            if stored != data:
                entry = decode_entry(stored, number)
                assert entry.nonce != nonce, f"two entries with the nonce {nonce.hex()}"
                return entry
            probe("metadata: a create whose answer was lost had taken effect")
        if await is_closed(register, chunk):
            probe("metadata: a number was won in a closed chunk")
            return Outcome.VOID
        return Outcome.WON


@dataclass(slots=True)
class MetadataWriter:
    """The active controller's pen: appends behind `position`, in its epoch."""

    register: SteadyRegister
    world: World
    author: Author
    epoch: int
    position: int
    checksum: bytes
    chunk_entries: int

    async def append(self, body: bytes | bytearray) -> int:
        """Stores encoded records as one entry; answers its number. Raises Deposed, DamagedLog.

        Cancelled, it leaves the entry's fate unknown: this writer must not be used again.
        """
        passed = 0
        while True:
            number = self.position + 1
            nonce = self.world.new_uuid()
            data = encode_entry(
                body,
                number=number,
                epoch=self.epoch,
                author=self.author,
                nonce=nonce,
                previous=self.checksum,
                written_ms=self.world.clock.now_ms(),
            )
            outcome = await claim(
                self.register,
                data,
                number=number,
                nonce=nonce,
                chunk_entries=self.chunk_entries,
            )
            if outcome is Outcome.WON:
                self.position, self.checksum = number, data[-len(self.checksum) :]
                return number
            if isinstance(outcome, Entry):
                await self._pass(outcome)
                passed += 1
                probe("metadata: the writer passed a stale entry")
                if passed > 1:
                    probe("metadata: stale entries at consecutive numbers")
            else:
                raise Deposed(f"chunk of entry {number} was closed by another controller")

    async def probe(self) -> None:
        """Asks for the next number, to learn without writing of a newer leader. Raises Deposed."""
        while True:
            number = self.position + 1
            stored = await self.register.read(entry_key(number, self.chunk_entries))
            if stored is None:
                break
            probe("metadata: an idle controller finds another's entry")
            await self._pass(decode_entry(stored, number))
        if await is_closed(self.register, chunk_of(number, self.chunk_entries)):
            raise Deposed(f"chunk of entry {number} was closed by another controller")

    async def _pass(self, entry: Entry) -> None:
        """Goes on behind a stale entry; only a newer leader record deposes."""
        if await is_closed(self.register, chunk_of(entry.number, self.chunk_entries)):
            raise Deposed(f"chunk of entry {entry.number} was closed by another controller")
        if entry.previous != self.checksum:
            raise DamagedLog(
                f"metadata entry {entry.number} of node {entry.author.node_id} follows another "
                f"entry {self.position} than the one that was stored"
            )
        for record in entry.records:
            if isinstance(record, ControllerElected) and record.epoch > self.epoch:
                raise Deposed(f"node {record.node_id} was elected, epoch {record.epoch}")
        if entry.epoch >= self.epoch:
            raise DamagedLog(
                f"metadata entry {entry.number} is of epoch {entry.epoch} and not ours, "
                f"though nobody was elected after epoch {self.epoch}"
            )
        self.position, self.checksum = entry.number, entry.checksum
