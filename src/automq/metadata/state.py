"""The shell around the image: runs commands, stores their records, releases replies when stored."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from automq.metadata.cluster import Changes, ClusterImage
from automq.metadata.decision import Command, Decision
from automq.metadata.election import Elected
from automq.metadata.housekeeping import Housekeeper
from automq.metadata.image import Image
from automq.metadata.log import ENTRY_BYTES_MAX, DamagedLog, encode_all
from automq.metadata.records.cluster import SnapshotTaken
from automq.metadata.records.registry import METADATA_VERSION, Record, check_version, is_cluster
from automq.metadata.register import SteadyRegister
from automq.metadata.snapshots import encode_parts, write_snapshot
from automq.metadata.writer import Deposed
from automq.world import World
from automq.world.probe import probe

log = logging.getLogger(__name__)

R = TypeVar("R")


class Stopped(Exception):
    """The controller stopped before this was stored. It may be stored all the same: ask again."""


class EntryTooLarge(ValueError):
    """A command decided more than fits one entry. Ask for less at a time."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When entries and snapshots are written.

    `lazy_ms`: how long a command that nobody waits for may wait for company. `probe_ms`: how often
    an idle controller asks whether it was deposed; 0 never (one node, local store). A snapshot is
    due after `snapshot_entries` if they amount to a quarter of the last one, else after 16 times as
    many.
    """

    lazy_ms: int = 200
    probe_ms: int = 5_000
    snapshot_entries: int = 256
    entry_bytes_max: int = ENTRY_BYTES_MAX
    pending_bytes_max: int = 64 << 20


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """What followers hear: an entry of ours that is stored. `records` are of the cluster part."""

    number: int
    epoch: int
    records: tuple[Record, ...]
    changes: Changes


@dataclass(slots=True)
class _Batch:
    """Commands that share one entry."""

    opened_ms: float
    eager: bool = False
    body: bytearray = field(default_factory=bytearray)
    records: list[Record] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class MetadataState:
    """The active controller's state.

    `image` runs ahead of the store: it is for commands alone. `stored` is the cluster part as it is
    stored: it is for brokers; it changes right before the callbacks of `on_stored` are called.
    Invariant: whatever leaves (a reply, a callback, a snapshot) waits until all it saw is stored.
    """

    def __init__(
        self, elected: Elected, register: SteadyRegister, world: World, policy: Policy | None = None
    ) -> None:
        self.image: Image = elected.reader.image
        self.stored = ClusterImage()
        self.stored.apply_all(self.image.cluster.snapshot_records())
        self._writer = elected.writer
        self._register = register
        self._world = world
        self._policy = Policy() if policy is None else policy
        self._callbacks: list[Callable[[StoredEntry], None]] = []
        self._batches: deque[_Batch] = deque()
        self._in_flight: _Batch | None = None
        self._pending_bytes = 0
        self._unsure: list[asyncio.Future[None]] = []
        self._failed: BaseException | None = None
        self._wake = asyncio.Event()
        self._gate = asyncio.Event()
        self._gate.set()
        self._settled = asyncio.Event()
        self._settled.set()
        self._snapshot_due = asyncio.Event()
        snapshots = self.stored.snapshots
        self._since_entries = self.position - (snapshots[-1].position if snapshots else -1)
        self._since_bytes = 0

    @property
    def epoch(self) -> int:
        return self._writer.epoch

    @property
    def position(self) -> int:
        """The number of the last stored entry."""
        return self._writer.position

    def on_stored(self, callback: Callable[[StoredEntry], None]) -> None:
        """Calls back for every entry from here on, in order, before its replies are released."""
        self._callbacks.append(callback)

    async def run(self, command: Command[R]) -> R:
        """Decides now; answers when all that the command saw and decided is stored.

        Raises what the command raises (nothing is stored then), Deposed, Stopped, DamagedLog,
        EntryTooLarge.
        """
        return await self._submit([command], eager=True)  # type: ignore[no-any-return]

    async def run_lazy(self, command: Command[R]) -> R:
        """The same, in no hurry: it does not start an entry for up to `lazy_ms`."""
        return await self._submit([command], eager=False)  # type: ignore[no-any-return]

    async def run_together(self, commands: Sequence[Command[Any]]) -> list[Any]:
        """Each is decided on what those before it decided; all are stored in one entry.

        If a later one refuses, those before it stand, and the refusal is raised once they are
        stored.
        """
        return await self._submit(list(commands), eager=True, together=True)  # type: ignore[no-any-return]

    async def drained(self) -> None:
        """Returns when nothing waits to be stored. Raises like `run`."""
        await self.run(lambda image: Decision((), None))

    async def confirm(self) -> None:
        """Returns once the log has said, asked from now on, that nobody has replaced us.

        So what `image` was found to say before this, was true then: for who found it at odds with
        the store, and may have stood still for an hour. Raises like `run`.
        """
        self._check()
        unsure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unsure.append(unsure)
        self._wake.set()
        await unsure

    async def serve(self) -> None:
        """Stores what is decided until cancelled. Raises Deposed, DamagedLog.

        Once it ends, everything that waits fails, and so does every later command.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._store_for_ever())
                group.create_task(self._keep_house())
        except BaseExceptionGroup as failures:
            self._fail(failures.exceptions[0])
            raise failures.exceptions[0] from None
        finally:
            self._fail(Stopped("the controller stopped"))

    # Commands

    async def _submit(
        self, commands: list[Command[Any]], *, eager: bool, together: bool = False
    ) -> Any:
        await self._wait_for_room()
        self._check()
        # From here to the waiting there is no await: nothing comes between deciding and applying.
        replies: list[Any] = []
        refusal: Exception | None = None
        batch = self._last_batch()
        for command in commands:
            try:
                decision = command(self.image)
            except Exception as why:
                # A refusal is an answer as well: it leaves when what it rests on is stored.
                refusal = why
                if batch is not None:
                    probe("metadata: a refusal waits for what it rests on")
                break
            batch = self._take(decision.records, fresh=not replies) or batch
            replies.append(decision.reply)
        await self._wait_for(batch, eager=eager)
        if refusal is not None:
            raise refusal
        return replies if together else replies[0]

    async def _wait_for_room(self) -> None:
        while True:
            await self._gate.wait()
            if self._pending_bytes <= self._policy.pending_bytes_max:
                return
            probe("metadata: a command waits until others are stored")
            await self._wait_for(self._last_batch(), eager=True)

    def _take(self, records: Sequence[Record], *, fresh: bool) -> _Batch | None:
        """Applies records and puts them into an entry to be; None if there are none."""
        if not records:
            return None
        level = self.image.cluster.features.get(METADATA_VERSION, 1)
        check_version(records, level)
        body = encode_all(records)
        if len(body) > self._policy.entry_bytes_max:
            raise EntryTooLarge(
                f"{len(records)} records of {len(body)} bytes: "
                f"an entry holds {self._policy.entry_bytes_max}"
            )
        batch = self._batches[-1] if self._batches else None
        crowded = batch is not None and len(batch.body) + len(body) > self._policy.entry_bytes_max
        if batch is None or (fresh and crowded):
            batch = _Batch(self._world.clock.monotonic_ms())
            self._batches.append(batch)
        try:
            for record in records:
                self.image.apply(record)
        except BaseException as why:
            # The image is half changed: nothing of it may ever leave.
            self._fail(why)
            raise
        self.image.cluster.take_changes()
        batch.body += body
        batch.records.extend(records)
        self._pending_bytes += len(body)
        self._settled.clear()
        self._wake.set()
        return batch

    def _last_batch(self) -> _Batch | None:
        return self._batches[-1] if self._batches else self._in_flight

    async def _wait_for(self, batch: _Batch | None, *, eager: bool) -> None:
        self._check()
        if batch is None:
            return
        if eager and not batch.eager:
            batch.eager = True
            self._wake.set()
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch.waiters.append(stored)
        await stored

    def _check(self) -> None:
        if self._failed is not None:
            # One exception is raised to many: each gets its own, without the others' tracebacks.
            raise type(self._failed)(*self._failed.args)

    def _fail(self, why: BaseException) -> None:
        if self._failed is not None:
            return
        known = isinstance(why, (Deposed, DamagedLog, Stopped))
        self._failed = why if known else Stopped(f"the controller failed: {why!r}")
        batches = [*([self._in_flight] if self._in_flight else []), *self._batches]
        waiters = [waiter for batch in batches for waiter in batch.waiters]
        for waiter in [*waiters, *self._unsure]:
            if not waiter.done():
                waiter.set_exception(type(self._failed)(*self._failed.args))
                # A waiter that was left behind is no error of its own.
                waiter.exception()
        for event in (self._wake, self._gate, self._settled):
            event.set()

    # Storing

    async def _store_for_ever(self) -> None:
        while True:
            batch = await self._next_batch()
            # Only what begins after they asked answers them.
            unsure = len(self._unsure)
            if batch is None:
                await self._writer.probe()
            else:
                self._in_flight = batch
                number = await self._writer.append(batch.body)
                self._in_flight = None
                self._release(number, batch)
            sure, self._unsure = self._unsure[:unsure], self._unsure[unsure:]
            for waiter in sure:
                if not waiter.done():
                    waiter.set_result(None)

    async def _next_batch(self) -> _Batch | None:
        """The next to be stored; None when it is time to ask whether we were deposed, or when
        somebody wants to know.
        """
        while True:
            self._wake.clear()
            self._check()
            wait_ms = self._wait_ms()
            if wait_ms is not None and wait_ms <= 0:
                return self._batches.popleft()
            if self._unsure:
                return None
            if wait_ms is None and self._policy.probe_ms > 0:
                wait_ms = self._policy.probe_ms
            try:
                async with asyncio.timeout(None if wait_ms is None else wait_ms / 1000):
                    await self._wake.wait()
            except TimeoutError:
                if not self._batches:
                    return None

    def _wait_ms(self) -> float | None:
        """How long the first batch waits for company; None if there is no batch."""
        if not self._batches:
            return None
        first = self._batches[0]
        if len(self._batches) > 1 or first.eager or not self._gate.is_set():
            return 0
        return first.opened_ms + self._policy.lazy_ms - self._world.clock.monotonic_ms()

    def _release(self, number: int, batch: _Batch) -> None:
        records = tuple(record for record in batch.records if is_cluster(record))
        changes = self.stored.apply_all(records)
        entry = StoredEntry(number, self._writer.epoch, records, changes)
        for callback in self._callbacks:
            callback(entry)
        self._pending_bytes -= len(batch.body)
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._since_entries += 1
        self._since_bytes += len(batch.body)
        if self._is_snapshot_due():
            self._snapshot_due.set()
        if not self._batches:
            self._settled.set()

    # Snapshots

    def _is_snapshot_due(self) -> bool:
        snapshots = self.stored.snapshots
        enough = self._since_bytes * 4 >= (snapshots[-1].size_bytes if snapshots else 0)
        entries = self._policy.snapshot_entries * (1 if enough else 16)
        return self._since_entries >= entries

    async def _keep_house(self) -> None:
        keeper = Housekeeper(self._register, self._writer.chunk_entries)
        await keeper.resume(self.stored.snapshots)
        if self._is_snapshot_due():
            self._snapshot_due.set()
        while True:
            await self._snapshot_due.wait()
            await self.snapshot()
            self._snapshot_due.clear()
            await keeper.tidy(self.stored.snapshots)

    async def snapshot(self) -> SnapshotTaken:
        """Writes one of the stored state and has it named by the log.

        Commands wait while the last batches are stored and the image is encoded: only then does it
        equal what is stored.
        """
        self._gate.clear()
        try:
            self._wake.set()
            await self._settled.wait()
            self._check()
            position, checksum = self._writer.position, self._writer.checksum
            parts = encode_parts(self.image.snapshot_records(), position, checksum)
            self._since_entries = self._since_bytes = 0
        finally:
            self._gate.set()
        taken = await write_snapshot(self._register, parts, position, checksum)
        await self.run(lambda image: Decision([taken], None))
        log.info("metadata snapshot after entry %d: %d bytes", position, taken.size_bytes)
        return taken
