"""Becoming the active controller: replay, win the next number, ask `closed`, serve."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from automq.metadata.log import Author, Entry, chunk_of, decode_entry, encode_all, encode_entry
from automq.metadata.reader import MetadataReader, is_closed
from automq.metadata.records.cluster import ClusterCreated, ControllerElected, Endpoint
from automq.metadata.records.registry import Record
from automq.metadata.register import SteadyRegister
from automq.metadata.writer import MetadataWriter, Outcome, claim
from automq.world import World
from automq.world.probe import probe

log = logging.getLogger(__name__)

HIGHEST_KNOWN_VERSION = 1


@dataclass(frozen=True, slots=True)
class Elected:
    """The reader's image is the stored state; only this writer may append behind it."""

    reader: MetadataReader
    writer: MetadataWriter


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else won: follow it."""

    winner: ControllerElected


async def elect(
    register: SteadyRegister,
    world: World,
    author: Author,
    *,
    genesis: Sequence[Record],
    endpoints: Sequence[Endpoint] = (),
    reader: MetadataReader | None = None,
) -> Elected | Lost:
    """One candidacy. `genesis` (ClusterCreated first) is written if the log is empty.

    `reader`: one that follows the log already. When to stand, and when again after a loss, is the
    caller's: it must not before it has failed to reach the winner for a random time.
    Raises DamagedLog, UnknownRecord.
    """
    if reader is None:
        reader = MetadataReader(register)
        await reader.load()
    while True:
        candidacy = _Candidacy(reader, world, author, tuple(genesis), tuple(endpoints))
        result = await candidacy.run()
        if result is not None:
            return result
        await reader.load()


@dataclass(slots=True)
class _Candidacy:
    reader: MetadataReader
    world: World
    author: Author
    genesis: tuple[Record, ...]
    endpoints: tuple[Endpoint, ...]

    async def run(self) -> Elected | Lost | None:
        """None: what was replayed is void; load again."""
        reader = self.reader
        while True:
            number, nonce = reader.position + 1, self.world.new_uuid()
            data = self._entry(number, nonce)
            outcome = await claim(
                reader.register,
                data,
                number=number,
                nonce=nonce,
                chunk_entries=reader.chunk_entries,
            )
            # Not only of the number that was won: of the first that it stands on.
            if await is_closed(reader.register, chunk_of(reader.began, reader.chunk_entries)):
                probe("metadata: a candidate stalled between replay and win")
                return None
            if outcome is Outcome.WON:
                return self._won(decode_entry(data, number))
            if not isinstance(outcome, Entry):
                return None
            probe("metadata: a candidate lost the number it stood for")
            took_effect = reader.accept(outcome)
            winner = _leader_record(outcome)
            if took_effect and winner is not None:
                return Lost(winner)

    def _entry(self, number: int, nonce: bytes) -> bytes:
        reader = self.reader
        elected = ControllerElected(
            epoch=reader.epoch + 1,
            node_id=self.author.node_id,
            incarnation=self.author.incarnation,
            endpoints=self.endpoints,
            highest_known_version=HIGHEST_KNOWN_VERSION,
        )
        is_first = number == 0
        assert not is_first or isinstance(self.genesis[0], ClusterCreated), self.genesis
        records = (*self.genesis, elected) if is_first else (elected,)
        return encode_entry(
            encode_all(records),
            number=number,
            epoch=elected.epoch,
            author=self.author,
            nonce=nonce,
            previous=reader.checksum,
            written_ms=self.world.clock.now_ms(),
        )

    def _won(self, entry: Entry) -> Elected:
        reader = self.reader
        reader.accept(entry)
        reader.began = reader.position + 1
        reader.image.cluster.take_changes()
        log.info("elected as controller, epoch %d, at entry %d", entry.epoch, entry.number)
        writer = MetadataWriter(
            register=reader.register,
            world=self.world,
            author=self.author,
            epoch=entry.epoch,
            position=reader.position,
            checksum=reader.checksum,
            chunk_entries=reader.chunk_entries,
        )
        return Elected(reader, writer)


def _leader_record(entry: Entry) -> ControllerElected | None:
    elected = [record for record in entry.records if isinstance(record, ControllerElected)]
    return elected[-1] if elected else None
