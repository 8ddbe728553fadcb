"""Mistakes put in on purpose, each a small patch of the real code: the simulation finds each.

They are what somebody could write in good faith: an `await` too few, a wait forgotten, a lost
answer taken for a verdict. The table in `docs/internals/proof.md` says after how many seeds.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from automq._native import Columns, DamagedObject, Run, WalObject, WalRecord
from automq.broker import fetching
from automq.broker.partitions import Partitions
from automq.controller.local import LocalController
from automq.controller.sweeping import Sweeper
from automq.coordinator.shard import Shard
from automq.metadata.decision import Decision
from automq.metadata.register import ObjectStoreRegister, Unsettled
from automq.metadata.state import MetadataState
from automq.objectstore.retry import Retrying
from automq.objectstore.store import Pieces
from automq.partition import Partition, remembering
from automq.partition.producers import ProducerStates
from automq.protocol import errors
from automq.stream.client import FoundRange, Merge, ObjectReplacement, ReplaceVerdict
from automq.stream.compactor import Compactor
from automq.stream.engine import MissingData, Stream, StreamEngine
from automq.stream.keys import data_key
from automq.stream.reader import ObjectReader
from automq.stream.recovery import WalRecovery
from automq.stream.uploader import Uploader
from automq.stream.wal import ObjectWal, ObjectWals, WalFailed
from automq.stream.wal.object_home import ObjectRecovery
from automq.stream.wal.object_keys import wal_prefix
from automq.stream.wal.object_marks import Broken, WalObjects

Bug = Callable[[], Any]
BUGS: dict[str, Bug] = {}


def bug(function: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
    """Register a bug under its name, as a sentence."""
    BUGS[function.__name__.replace("_", " ")] = contextmanager(function)
    return function


@bug
def acknowledges_before_the_sync() -> Iterator[None]:
    real, real_run = StreamEngine.append, StreamEngine.appended

    def append(self: StreamEngine, stream: Stream, batch: Any, done: Callable[[], None]) -> int:
        base_offset = real(self, stream, batch, lambda: None)
        stream.advance_durable(stream.end_offset)
        asyncio.get_running_loop().call_soon(done)
        return base_offset

    def appended(self: StreamEngine, run: Run, done: Callable[[], None]) -> None:
        real_run(self, run, lambda: None)
        asyncio.get_running_loop().call_soon(done)

    with (
        patch.object(StreamEngine, "append", append),
        patch.object(StreamEngine, "appended", appended),
    ):
        yield


@bug
def shows_what_is_not_durable() -> Iterator[None]:
    with patch.object(Partition, "end_for", lambda self, isolation: self.log_end_offset):
        yield


@bug
def acknowledges_a_duplicate_before_its_original() -> Iterator[None]:
    real = Partition.append_produced

    def append_produced(self: Partition, *args: Any, **options: Any) -> None:
        with patch.object(StreamEngine, "when_all_is_durable", lambda _, done: done()):
            real(self, *args, **options)

    with patch.object(Partition, "append_produced", append_produced):
        yield


@bug
def commits_without_the_upload() -> Iterator[None]:
    async def put(self: Retrying, key: str, data: Pieces) -> None:
        await asyncio.sleep(0.01)

    with patch.object(Retrying, "put", put):
        yield


@bug
def trims_the_wal_before_the_commit_is_stored() -> Iterator[None]:
    real = Uploader._commit

    async def commit(self: Uploader, job: Any, object_id: int, built: Any, wal_start: int) -> None:
        self._engine.trim_wal(wal_start)
        await real(self, job, object_id, built, wal_start)

    with patch.object(Uploader, "_commit", commit):
        yield


@bug
def commits_out_of_order() -> Iterator[None]:
    real = Uploader._seal

    def seal(self: Uploader) -> Any:
        job = real(self)
        if job is not None:
            job.before = None
        return job

    with patch.object(Uploader, "_seal", seal):
        yield


@bug
def forgets_the_producers_at_opening() -> Iterator[None]:
    real = Partition.become_ready

    def become_ready(self: Partition) -> None:
        self.producers = ProducerStates()
        real(self)

    with patch.object(Partition, "become_ready", become_ready):
        yield


@bug
def recovery_leaves_out_the_last_record() -> Iterator[None]:
    real = WalRecovery.run

    async def run(self: WalRecovery, chunks: Any) -> Any:
        async def fewer() -> Any:
            before: Sequence[WalRecord] = []
            async for chunk in chunks:
                yield before
                before = chunk
            yield before[:-1]

        return await real(self, fewer())

    with patch.object(WalRecovery, "run", run):
        yield


@bug
def takes_a_lost_answer_for_success() -> Iterator[None]:
    real = ObjectStoreRegister.create

    async def create(self: ObjectStoreRegister, key: str, data: bytes) -> bool:
        try:
            return await real(self, key, data)
        except Unsettled:
            return True

    with patch.object(ObjectStoreRegister, "create", create):
        yield


@bug
def takes_a_lost_answer_for_a_lost_race() -> Iterator[None]:
    """The entry is written again with another nonce, so one's own first attempt is another's."""
    from automq.metadata.writer import MetadataWriter

    real = MetadataWriter.append

    async def append(self: MetadataWriter, body: Any) -> int:
        steady = self.register

        async def create(key: str, data: bytes) -> bool:
            return await steady._register.create(key, data)

        while True:
            with patch.object(steady, "create", create):
                try:
                    return await real(self, body)
                except Unsettled:
                    await asyncio.sleep(0.05)

    with patch.object(MetadataWriter, "append", append):
        yield


@bug
def answers_before_the_metadata_is_stored() -> Iterator[None]:
    real = MetadataState._wait_for
    behind: list[asyncio.Future[None]] = []

    async def wait_for(self: MetadataState, batch: Any, *, eager: bool) -> None:
        behind.append(asyncio.ensure_future(real(self, batch, eager=True)))
        await asyncio.sleep(0)

    with patch.object(MetadataState, "_wait_for", wait_for):
        yield


@bug
def answers_a_commit_of_offsets_before_it_is_stored() -> Iterator[None]:
    real = Shard._enact

    def enact(self: Shard[Any], decision: Any) -> Any:
        real(self, decision)

    with patch.object(Shard, "_enact", enact):
        yield


@bug
def deletes_records_before_that_is_durable() -> Iterator[None]:
    real = Partitions.delete_records

    async def delete_records(self: Partitions, partition: Partition, before_offset: int) -> int:
        if partition.log_start_offset < before_offset <= partition.high_watermark:
            self._background.spawn("delete", real(self, partition, before_offset))
            return before_offset
        return await real(self, partition, before_offset)

    with patch.object(Partitions, "delete_records", delete_records):
        yield


@bug
def says_out_of_range_for_a_missing_object() -> Iterator[None]:
    real = fetching.fail

    def fail(data: Any, error: errors.KafkaError) -> None:
        if isinstance(error, errors.KafkaStorageError):
            error = errors.OffsetOutOfRange("it is not there")
        real(data, error)

    with patch.object(fetching, "fail", fail):
        yield


@bug
def reads_on_where_an_object_is_missing() -> Iterator[None]:
    real = StreamEngine.read

    async def read(
        self: StreamEngine, stream: Stream, start: int, end: int, *rest: Any, **options: Any
    ) -> Any:
        while True:
            try:
                return await real(self, stream, start, end, *rest, **options)
            except (MissingData, DamagedObject):
                start += 1
                if start >= end:
                    raise

    with patch.object(StreamEngine, "read", read):
        yield


@bug
def deletes_objects_that_are_still_read() -> Iterator[None]:
    real = Sweeper._delete_due

    async def delete_due(self: Sweeper) -> None:
        await real(self)
        oldest = self._metadata.image.storage.tables.next_object - 40
        cluster_id = self._metadata.stored.cluster_id
        if oldest >= 0:
            await self._deleter.delete([data_key(cluster_id, oldest)])

    with patch.object(Sweeper, "_delete_due", delete_due):
        yield


@bug
def takes_an_older_wal_id_again() -> Iterator[None]:
    from automq.controller import nodes

    real = nodes.register_wal

    def register_wal(image: Any, *args: Any) -> Any:
        decision = real(image, *args)
        return Decision(decision.records, max(decision.reply - 1, 0))

    with patch.object(nodes, "register_wal", register_wal):
        yield


# -- what it found by itself, put back


@bug
def refuses_before_what_that_rests_on_is_stored() -> Iterator[None]:
    real = MetadataState._submit

    async def submit(self: MetadataState, commands: list[Any], **options: Any) -> Any:
        await self._wait_for_room()
        commands[0](self.image)  # raises at once what it refuses with
        return await real(self, commands, **options)

    with patch.object(MetadataState, "_submit", submit):
        yield


@bug
def never_opens_again_what_it_could_not_open() -> Iterator[None]:
    async def load(self: Partitions, partition: Partition) -> None:
        await self._load_once(partition)

    with patch.object(Partitions, "_load", load):
        yield


@bug
def answers_with_an_unknown_error_when_the_wal_has_failed() -> Iterator[None]:
    real = StreamEngine.append

    def append(self: StreamEngine, *args: Any) -> int:
        if self.wal.failure is not None:
            raise WalFailed("the WAL has failed")
        return real(self, *args)

    with patch.object(StreamEngine, "append", append):
        yield


@bug
def never_lets_go_of_a_wal_full_of_deleted_records() -> Iterator[None]:
    with patch.object(Uploader, "_holds_dead_records", False):
        yield


@bug
def lets_the_start_of_a_partition_go_back() -> Iterator[None]:
    with patch.object(remembering, "max", lambda wanted, _: wanted, create=True):
        yield


# -- merging objects


@bug
def deletes_what_was_merged_before_the_replace_is_stored() -> Iterator[None]:
    real = Compactor._merge

    async def merge(self: Compactor, merge: Merge) -> None:
        send = self._client.replace_extents

        async def delete_first(replacement: ObjectReplacement) -> Sequence[ReplaceVerdict]:
            keys = [data_key(self._cluster_id, source.object_id) for source in merge.sources]
            await self._store.delete_many(keys)
            return await send(replacement)

        with patch.object(self._client, "replace_extents", delete_first):
            await real(self, merge)

    with patch.object(Compactor, "_merge", merge):
        yield


@bug
def takes_out_a_range_that_was_not_merged() -> Iterator[None]:
    """A stream's last range is named, and covered on paper, but its batches are not there."""
    real = Compactor._merge

    def is_last(rows: list[list[int]], row: int) -> bool:
        streams = rows[0]
        before = row > 0 and streams[row - 1] == streams[row]
        return before and (row + 1 == len(streams) or streams[row + 1] != streams[row])

    async def merge(self: Compactor, merge: Merge) -> None:
        send = self._client.replace_extents
        rows = merge.parts.columns()
        kept = [row for row in range(len(rows[0])) if not is_last(rows, row)]
        fewer = Columns(*([column[row] for row in kept] for column in rows))
        ends = dict(zip(rows[0], rows[3], strict=True))

        async def named_all(replacement: ObjectReplacement) -> Sequence[ReplaceVerdict]:
            added = replacement.added.columns()
            added[3] = [ends[stream] for stream in added[0]]
            named = replace(replacement, removed=Columns(*rows[:4]), added=Columns(*added))
            return await send(named)

        with patch.object(self._client, "replace_extents", named_all):
            await real(self, replace(merge, parts=fewer))

    with patch.object(Compactor, "_merge", merge):
        yield


@bug
def forgets_the_producers_of_what_was_merged() -> Iterator[None]:
    """As if objects that were made of others had no digests."""
    real_replace, real_digest = LocalController.replace_extents, ObjectReader.digest
    merged: set[int] = set()

    async def replace_extents(
        self: LocalController, replacement: ObjectReplacement
    ) -> Sequence[ReplaceVerdict]:
        merged.add(replacement.object_id)
        return await real_replace(self, replacement)

    async def digest(self: ObjectReader, found: FoundRange, stream_id: int) -> Any:
        known = await real_digest(self, found, stream_id)
        return None if found.object_id in merged else known

    with (
        patch.object(LocalController, "replace_extents", replace_extents),
        patch.object(ObjectReader, "digest", digest),
    ):
        yield


# -- the WAL in an object store


@bug
def acknowledges_a_batch_of_the_log_before_those_below_it() -> Iterator[None]:
    real = ObjectWal._acknowledge

    def acknowledge(self: ObjectWal) -> None:
        for sent in list(self._sent):
            if not sent.is_stored and self._sent[-1].is_stored:
                # A later one is there: those before it will be.
                sent.is_stored = True
        real(self)

    with patch.object(ObjectWal, "_acknowledge", acknowledge):
        yield


@bug
def takes_a_number_of_the_log_that_is_taken_for_its_own() -> Iterator[None]:
    """`exists` is read as: an earlier attempt of ours."""
    real = WalObjects.create

    async def create(self: WalObjects, *args: Any) -> WalObject | Broken | None:
        lost = await real(self, *args)
        is_mark = isinstance(lost, WalObject) and lost.kind in ("fence", "end")
        return None if is_mark else lost

    with patch.object(WalObjects, "create", create):
        yield


@bug
def reads_a_log_in_the_store_without_fencing_it() -> Iterator[None]:
    async def fence(self: ObjectRecovery) -> tuple[int, bool]:
        number, mark = await self._first_free(self._start >> 24)
        return number, mark is not None

    with patch.object(ObjectRecovery, "fence", fence):
        yield


@bug
def deletes_the_fence_with_the_log() -> Iterator[None]:
    """HAZARDS 1."""
    real = ObjectWals.remove

    async def remove(self: ObjectWals, wal_id: int) -> bool:
        is_there = await real(self, wal_id)
        prefix = wal_prefix(self._cluster_id, wal_id)
        await self._store.delete_many([it.key async for it in self._store.list(prefix)])
        return is_there

    with patch.object(ObjectWals, "remove", remove):
        yield
