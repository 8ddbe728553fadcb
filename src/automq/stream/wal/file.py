"""WALs on segment files: the native class on the event loop."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from automq._native import (
    Buf,
    WalEnd,
    WalError,
    WalFailed,
    WalFailure,
    WalFiles,
    WalFull,
    WalReader,
    WalRecord,
    wal_ids,
    wal_is_shared,
    wal_owner,
    wal_remove,
)
from automq.stream.wal.wal import MIB, WalOptions, WalOwner, WalStats, WalTaker

log = logging.getLogger(__name__)

RECOVERY_CHUNK_BYTES = 4 * MIB


class FileWal:
    """A WAL in `<root>/<wal id>/`. Made inside a running event loop, used on that loop only."""

    append: Callable[[int, int, int, int, Buf], int]
    submit: Callable[[], None]

    def __init__(
        self,
        root: Path,
        *,
        wal_id: int,
        node_id: int,
        cluster_id: bytes,
        options: WalOptions,
        shared: bool | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._files = WalFiles(
            root,
            wal_id=wal_id,
            node_id=node_id,
            cluster_id=cluster_id,
            segment_bytes=options.segment_bytes,
            capacity_bytes=options.capacity_bytes,
            inflight_bytes_max=options.inflight_bytes_max,
            iops_max=options.iops_max,
            spare_segments_max=options.spare_segments_max,
            shared=shared,
        )
        if self._files.owner_reads == "cached":
            log.warning(
                "%s: the file system refuses reads past its cache (O_DIRECT), so that another node "
                "took this log over may be seen late; mount it without such a cache, or keep the "
                "log in an object store",
                self._files.path,
            )
        self._wal_id = wal_id
        self._durable = 0
        self._trimmed = 0
        # Not for records: the segments being begun and ended.
        self._bytes_max = options.capacity_bytes - 2 * options.segment_bytes
        self._ended = asyncio.Event()
        self._on_durable: Callable[[int], None] | None = None
        self._on_failure: Callable[[WalFailure], None] | None = None
        self._on_full: Callable[[], None] | None = None
        # The native methods themselves: a wrapper would be a fifth of an append's cost.
        self.append = self._files.append
        self.submit = self._files.submit
        self._loop.add_reader(self._files.fileno(), self._wake)

    @property
    def wal_id(self) -> int:
        return self._wal_id

    @property
    def durable(self) -> int:
        return self._durable

    @property
    def end(self) -> int:
        return self._files.end

    @property
    def used_bytes(self) -> int:
        return self._files.end - self._trimmed

    @property
    def bytes_max(self) -> int:
        return self._bytes_max

    @property
    def failure(self) -> WalFailure | None:
        return self._files.failure

    @property
    def full(self) -> WalFull | None:
        return self._files.full

    @property
    def path(self) -> Path:
        """The WAL's directory."""
        return self._files.path

    def hurry(self) -> None:
        """Nothing waits here: a sync begins as soon as the one before is over."""

    def on_durable(self, callback: Callable[[int], None]) -> None:
        assert self._on_durable is None, "a WAL tells one callback"
        self._on_durable = callback

    def on_failure(self, callback: Callable[[WalFailure], None]) -> None:
        assert self._on_failure is None, "a WAL tells one callback"
        self._on_failure = callback
        failure = self._files.failure
        if failure is not None and self._ended.is_set():
            callback(failure)

    def on_full(self, callback: Callable[[], None]) -> None:
        assert self._on_full is None, "a WAL tells one callback"
        self._on_full = callback

    def trim(self, position: int) -> None:
        self._files.trim(position)
        self._trimmed = max(self._trimmed, position)

    async def close(self, *, clean: bool) -> None:
        self._files.begin_close(clean)
        await self._ended.wait()
        failure = self._files.failure
        if clean and failure is not None:
            raise WalFailed(str(failure))

    def stats(self) -> WalStats:
        counters: dict[str, Any] = self._files.stats()
        return WalStats(**{**counters, "sync_counts": tuple(counters["sync_counts"])})

    def _wake(self) -> None:
        # Quiet first: what comes after it wakes us again, and what came before is seen below. The
        # end is the thread's last word, so what is durable is looked at once more behind it.
        durable = self._files.take_durable()
        ended = self._files.ended
        if ended:
            durable = self._files.durable
        if ended and not self._ended.is_set():
            self._loop.remove_reader(self._files.fileno())
            self._ended.set()
        if durable > self._durable:
            self._durable = durable
            if self._on_durable is not None:
                self._on_durable(durable)
        elif self._on_full is not None and self._files.full is not None:
            self._on_full()
        failure = self._files.failure if ended else None
        if failure is not None and self._on_failure is not None:
            self._on_failure(failure)


class WalNoRoom(WalError):
    """The disk has no room for a WAL. One line: how much is missing, and what to do."""


def check_room(root: Path, options: WalOptions) -> None:
    """Raise WalNoRoom unless two segments fit: one to be written, and one to go on in."""
    place = next(it for it in (root.absolute(), *root.absolute().parents) if it.exists())
    needed, free = 2 * options.segment_bytes, shutil.disk_usage(place).free
    if free < needed:
        raise WalNoRoom(
            f"the disk of the write-ahead log has {free} bytes of room in {root}, and two of its "
            f"files need {needed}; make room, or set a smaller automq.wal.segment.bytes"
        )


class FileRecovery:
    """Reads a WAL on a native thread, a chunk ahead."""

    def __init__(
        self,
        root: Path,
        *,
        wal_id: int,
        start: int,
        cluster_id: bytes | None,
        taker: WalTaker | None,
    ) -> None:
        self._root = root
        self._wal_id = wal_id
        self._start = start
        self._cluster_id = cluster_id
        self._taker = taker
        self._end: WalEnd | None = None

    @property
    def end(self) -> WalEnd:
        assert self._end is not None, "the end is known once everything was read"
        return self._end

    async def __aiter__(self) -> AsyncIterator[list[WalRecord]]:
        reader = WalReader(
            self._root,
            wal_id=self._wal_id,
            cluster_id=self._cluster_id,
            start=self._start,
            chunk_bytes=RECOVERY_CHUNK_BYTES,
            taker=self._taker,
        )
        loop = asyncio.get_running_loop()
        awake = asyncio.Event()
        loop.add_reader(reader.fileno(), awake.set)
        try:
            while True:
                # Cleared before looking: what comes later wakes us again.
                awake.clear()
                step = reader.take()
                if isinstance(step, WalEnd):
                    self._end = step
                    return
                if step is None:
                    await awake.wait()
                else:
                    yield step
        finally:
            loop.remove_reader(reader.fileno())


class FileWals:
    """The WALs in the sub-directories of one directory.

    `shared`: other machines may write there, so each WAL has an owner block, which its writer reads
    before it acknowledges. None: if the file system is not known to be this machine's alone.
    """

    def __init__(self, root: Path, *, shared: bool | None = None) -> None:
        self.root = root
        self.shared = shared

    @property
    def is_shared(self) -> bool:
        return wal_is_shared(self.root) if self.shared is None else self.shared

    async def open(
        self, *, wal_id: int, node_id: int, cluster_id: bytes, options: WalOptions
    ) -> FileWal:
        check_room(self.root, options)
        return FileWal(
            self.root,
            wal_id=wal_id,
            node_id=node_id,
            cluster_id=cluster_id,
            options=options,
            shared=self.shared,
        )

    def recover(
        self,
        *,
        wal_id: int,
        start: int,
        cluster_id: bytes | None = None,
        taker: WalTaker | None = None,
    ) -> FileRecovery:
        return FileRecovery(
            self.root, wal_id=wal_id, start=start, cluster_id=cluster_id, taker=taker
        )

    async def holds(self, wal_id: int) -> bool:
        return wal_id in wal_ids(self.root)

    async def owner_of(self, wal_id: int) -> WalOwner | None:
        known = wal_owner(self.root, wal_id)
        return None if known is None else WalOwner(*known)

    async def remove(self, wal_id: int) -> bool:
        return wal_remove(self.root, wal_id)

    async def wal_ids(self) -> list[int]:
        return wal_ids(self.root)
