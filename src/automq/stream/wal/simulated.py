"""A WAL on a disk in memory: the twin of the file WAL for simulated nodes.

The disk outlives the node: after `crash` it holds what was synced, and of the rest whatever the
seed let through, in any order, as a power cut does. Time is the event loop's, so it may be virtual.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from automq._native import (
    WAL_SYNC_BOUNDS_US,
    Buf,
    WalClosed,
    WalDamaged,
    WalEnd,
    WalFailed,
    WalFailure,
    WalFull,
    WalLocked,
    WalMissing,
    WalRecord,
    WalUsed,
)
from automq.stream.wal.wal import WalOptions, WalOwner, WalStats, WalTaker, check_budgets

RECORD_HEADER_BYTES = 64
FULL_RETRY_S = 0.02
EIO = 5
ENOSPC = 28


@dataclass(slots=True)
class _Entry:
    record: WalRecord
    synced: int
    """The position known synced when this was written."""
    durable: bool = False
    good: bool = True


@dataclass(slots=True)
class _Platter:
    """What the disk holds of one WAL."""

    entries: list[_Entry] = field(default_factory=list)
    start: int = 0
    written_by: WalOwner | None = None
    used: bool = False
    clean: bool = False
    owner: "SimulatedWal | None" = None
    taker: WalTaker | None = None
    """What its owner block says, where there is one; None: its writer's own."""

    def lose_unsynced(self, chance: random.Random) -> None:
        """A power cut: each write that was not synced is there, or is not, in any order."""
        for entry in self.entries:
            entry.good = entry.good and (entry.durable or chance.random() < 0.5)


class SimulatedDisk:
    """A home of WALs in memory. Survives the nodes; every draw comes from `chance`."""

    def __init__(
        self,
        chance: random.Random,
        *,
        sync_ms_min: float = 0.2,
        sync_ms_max: float = 5.0,
        shared: bool = False,
    ) -> None:
        self.chance = chance
        self.is_shared = shared
        """Whether WALs have owner blocks, so that they are taken over from writers that live."""
        self.sync_ms_min = sync_ms_min
        self.sync_ms_max = sync_ms_max
        self.full = False
        """No room: writes wait until this is false again."""
        self.failing = False
        """The next sync fails, and its WAL with it."""
        self._platters: dict[int, _Platter] = {}

    async def open(
        self, *, wal_id: int, node_id: int, cluster_id: bytes, options: WalOptions
    ) -> "SimulatedWal":
        if wal_id < 0:
            raise ValueError(f"WAL id {wal_id} is negative")
        platter = self._platters.setdefault(wal_id, _Platter())
        self._check_free(wal_id, platter)
        if platter.used:
            raise WalUsed(f"simulated WAL {wal_id} was used before, take a new id")
        wal = SimulatedWal(self, platter, wal_id=wal_id, options=options)
        platter.owner, platter.written_by = wal, WalOwner(cluster_id, node_id)
        return wal

    def recover(
        self,
        *,
        wal_id: int,
        start: int,
        cluster_id: bytes | None = None,
        taker: WalTaker | None = None,
    ) -> "SimulatedRecovery":
        return SimulatedRecovery(self, wal_id=wal_id, start=start, taker=taker)

    async def holds(self, wal_id: int) -> bool:
        return wal_id in self._platters

    async def owner_of(self, wal_id: int) -> WalOwner | None:
        platter = self._platters.get(wal_id)
        return platter.written_by if platter is not None and platter.used else None

    async def remove(self, wal_id: int) -> bool:
        platter = self._platters.get(wal_id)
        if platter is not None and platter.taker is None:
            self._check_free(wal_id, platter)
        return self._platters.pop(wal_id, None) is not None

    async def wal_ids(self) -> list[int]:
        return self.ids

    @property
    def ids(self) -> list[int]:
        """The ids of the WALs that are there, ascending."""
        return sorted(self._platters)

    def crash(self, wal_id: int) -> None:
        """The node of this WAL dies now, without a word to anybody."""
        platter = self._platters[wal_id]
        if platter.owner is not None:
            platter.owner._die()

    def detach(self, wal_id: int) -> None:
        """The disk goes to another machine: who has this WAL open learns it at its next sync."""
        owner = self._platters[wal_id].owner
        if owner is not None:
            owner._detach()

    def damage(self, wal_id: int, position: int) -> None:
        """The record at `position` can no longer be read as it was written."""
        for entry in self._platters[wal_id].entries:
            if entry.record.position == position:
                entry.good = False
                return
        raise ValueError(f"simulated WAL {wal_id} has no record at {position}")

    def platter(self, wal_id: int, taker: WalTaker | None) -> _Platter:
        """What is there of a WAL that nobody has open, or that is fenced now by its owner block.

        Raises WalMissing, WalLocked.
        """
        platter = self._platters.get(wal_id)
        if platter is None:
            raise WalMissing(f"simulated WAL {wal_id} is not there")
        if self.is_shared and taker is not None:
            # Before anything is read: what its owner syncs from here on it does not acknowledge.
            platter.taker = taker
        else:
            self._check_free(wal_id, platter)
        return platter

    def _check_free(self, wal_id: int, platter: _Platter) -> None:
        if platter.owner is not None:
            raise WalLocked(f"simulated WAL {wal_id} is in use")


class SimulatedWal:
    """A WAL whose syncs take the event loop's time. Used on the loop that it was opened on."""

    def __init__(
        self, disk: SimulatedDisk, platter: _Platter, *, wal_id: int, options: WalOptions
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._disk = disk
        self._platter = platter
        self._wal_id = wal_id
        self._options = options
        self._queue: list[WalRecord] = []
        self._submitted: list[WalRecord] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next_sync_at_s = 0.0
        self._durable = 0
        self._end = 0
        self._trimmed = 0
        self._failure: WalFailure | None = None
        self._full: WalFull | None = None
        self._closing = False
        self._detached = False
        self._ended = asyncio.Event()
        self._on_durable: Callable[[int], None] | None = None
        self._on_failure: Callable[[WalFailure], None] | None = None
        self._on_full: Callable[[], None] | None = None
        self._commits = self._records = self._sync_us_sum = self._inflight_records = 0
        self._sync_counts = [0] * (len(WAL_SYNC_BOUNDS_US) + 1)

    @property
    def wal_id(self) -> int:
        return self._wal_id

    @property
    def durable(self) -> int:
        return self._durable

    @property
    def end(self) -> int:
        return self._end

    @property
    def used_bytes(self) -> int:
        return self._end - self._trimmed

    @property
    def bytes_max(self) -> int:
        return self._options.capacity_bytes - 2 * self._options.segment_bytes

    @property
    def failure(self) -> WalFailure | None:
        return self._failure

    @property
    def full(self) -> WalFull | None:
        return self._full

    def append(
        self,
        stream_id: int,
        epoch: int,
        base_offset: int,
        last_offset: int,
        payload: Buf,
        /,
    ) -> int:
        if self._failure is not None:
            raise WalFailed(str(self._failure))
        if self._closing:
            raise WalClosed("the WAL is closed")
        size = -(-(RECORD_HEADER_BYTES + len(payload)) // 8) * 8
        check_budgets(
            self._options,
            size,
            inflight_bytes=self._end - self._durable,
            used_bytes=self.used_bytes,
            waits_for="disk",
        )
        start, self._end = self._end, self._end + size
        self._queue.append(
            WalRecord(start, self._end, stream_id, epoch, base_offset, last_offset, Buf(payload))
        )
        self._inflight_records += 1
        return self._end

    def hurry(self) -> None:
        """Nothing waits here: a sync begins as soon as the one before is over."""

    def submit(self) -> None:
        if self._queue:
            self._submitted += self._queue
            self._queue = []
            self._begin_group()

    def on_durable(self, callback: Callable[[int], None]) -> None:
        assert self._on_durable is None, "a WAL tells one callback"
        self._on_durable = callback

    def on_failure(self, callback: Callable[[WalFailure], None]) -> None:
        assert self._on_failure is None, "a WAL tells one callback"
        self._on_failure = callback
        if self._failure is not None:
            callback(self._failure)

    def on_full(self, callback: Callable[[], None]) -> None:
        assert self._on_full is None, "a WAL tells one callback"
        self._on_full = callback

    def trim(self, position: int) -> None:
        if position > self._durable:
            raise ValueError(
                f"trim to {position}, but only what is below {self._durable} is durable"
            )
        self._trimmed = max(self._trimmed, position)
        platter = self._platter
        platter.start = self._trimmed
        platter.entries = [e for e in platter.entries if e.record.end_position > self._trimmed]

    async def close(self, *, clean: bool) -> None:
        self._closing = True
        if not clean:
            self._die()
            return
        self.submit()
        if self._durable == self._end and self._failure is None:
            self._finish()
        await self._ended.wait()
        if self._failure is not None:
            raise WalFailed(str(self._failure))

    def stats(self) -> WalStats:
        return WalStats(
            commits=self._commits,
            records=self._records,
            written_bytes=self._durable,
            sync_us_sum=self._sync_us_sum,
            sync_counts=tuple(self._sync_counts),
            inflight_bytes=self._end - self._durable,
            inflight_records=self._inflight_records,
            live_bytes=self._end - self._trimmed,
            segments=1 if self._platter.used else 0,
            spare_segments=0,
            segments_created=1 if self._platter.used else 0,
            segments_recycled=0,
        )

    def _begin_group(self) -> None:
        """Starts to write all that was submitted, if the disk is idle."""
        if self._timer is not None or self._ended.is_set() or not self._submitted:
            return
        if self._disk.full:
            self._wait_for_space()
            return
        self._full = None
        group, self._submitted = self._submitted, []
        self._platter.used = True
        self._platter.entries += [_Entry(record, self._durable) for record in group]
        took_ms = self._disk.chance.uniform(self._disk.sync_ms_min, self._disk.sync_ms_max)
        at_s = max(self._loop.time(), self._next_sync_at_s) + took_ms / 1000
        if self._options.iops_max:
            self._next_sync_at_s = at_s + 1 / self._options.iops_max
        end, count = group[-1].end_position, len(group)
        self._timer = self._loop.call_at(at_s, self._synced, end, count, int(took_ms * 1000))

    def _wait_for_space(self) -> None:
        needed = self._options.segment_bytes
        self._full = WalFull(self._path, needed, "No space left on simulated disk")
        if self._closing:
            self._fail("creation", ENOSPC, "No space left on simulated disk")
            return
        self._timer = self._loop.call_later(FULL_RETRY_S, self._retry)
        if self._on_full is not None:
            self._loop.call_soon(self._on_full)

    def _retry(self) -> None:
        self._timer = None
        self._begin_group()

    def _synced(self, end: int, count: int, took_us: int) -> None:
        self._timer = None
        if self._disk.failing or self._detached:
            self._fail("fdatasync", EIO, "Input/output error of simulated disk")
            return
        for entry in reversed(self._platter.entries):
            if entry.durable:
                break
            entry.durable = True
        if not self._is_ours():
            return
        self._durable = end
        self._commits += 1
        self._records += count
        self._inflight_records -= count
        self._sync_us_sum += took_us
        bucket = sum(bound < took_us for bound in WAL_SYNC_BOUNDS_US)
        self._sync_counts[bucket] += 1
        self._begin_group()
        if self._closing and self._durable == self._end and not self._ended.is_set():
            self._finish()
        if self._on_durable is not None:
            self._on_durable(end)

    def _fail(self, operation: str, errno: int | None, message: str) -> None:
        self._failure = WalFailure(operation, self._path, self._durable, errno, message)
        self._platter.lose_unsynced(self._disk.chance)
        self._let_go()
        if self._on_failure is not None:
            self._on_failure(self._failure)

    def _is_ours(self) -> bool:
        """Ends the WAL if its owner block is a taker's: asked after each sync, and before anything
        is acknowledged, as the file WAL does.
        """
        taker = self._platter.taker
        if taker is not None:
            self._fail("owner check", None, f"node {taker.node_id} has taken this log over")
        return taker is None

    def _finish(self) -> None:
        if self._is_ours():
            self._platter.clean = True
            self._let_go()

    def _die(self) -> None:
        """As a power cut: the timers are gone, and so is what chance takes of the unsynced."""
        if not self._ended.is_set():
            self._closing = True
            self._platter.lose_unsynced(self._disk.chance)
            self._let_go()

    def _detach(self) -> None:
        """Of what is under way chance decides; what comes later is written nowhere."""
        self._platter.lose_unsynced(self._disk.chance)
        self._platter.owner = None
        self._platter = _Platter()
        self._detached = True

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue, self._submitted = [], []
        self._platter.owner = None
        self._ended.set()

    @property
    def _path(self) -> Path:
        return Path(f"simulated/{self._wal_id}")


class SimulatedRecovery:
    """The records of a simulated WAL, in chunks whose sizes come from the seed."""

    def __init__(
        self, disk: SimulatedDisk, *, wal_id: int, start: int, taker: WalTaker | None
    ) -> None:
        self._disk = disk
        self._wal_id = wal_id
        self._start = start
        self._taker = taker
        self._end: WalEnd | None = None

    @property
    def end(self) -> WalEnd:
        assert self._end is not None, "the end is known once everything was read"
        return self._end

    async def __aiter__(self) -> AsyncIterator[list[WalRecord]]:
        platter = self._disk.platter(self._wal_id, self._taker)
        if self._start < platter.start:
            raise WalDamaged(f"simulated WAL {self._wal_id}: what was at {self._start} is trimmed")
        entries = [e for e in platter.entries if e.record.position >= self._start]
        good = next((i for i, entry in enumerate(entries) if not entry.good), len(entries))
        at = 0
        while at < good:
            await asyncio.sleep(0)
            upto = min(good, at + self._disk.chance.randint(1, 64))
            yield [entry.record for entry in entries[at:upto]]
            at = upto
        position = entries[good - 1].record.end_position if good else self._start
        if good < len(entries) and any(e.synced > position for e in entries[good:]):
            raise WalDamaged(f"simulated WAL {self._wal_id} is damaged at position {position}")
        clean = platter.clean and good == len(entries)
        if platter.clean and not clean:
            raise WalDamaged(f"simulated WAL {self._wal_id} is damaged at position {position}")
        self._end = WalEnd(position, clean, good < len(entries))
