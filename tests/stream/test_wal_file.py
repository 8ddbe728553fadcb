"""The file WAL: URIs, damage and failures as Python sees them."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from automq._native import Buf, WalFiles
from automq.objectstore import Retrying
from automq.stream.wal import (
    FileWal,
    FileWals,
    WalDamaged,
    WalFailed,
    WalFailure,
    WalForeign,
    WalHome,
    WalOptions,
    wal_home,
)
from automq.stream.wal.file import WalNoRoom
from automq.world import system_world
from support.loose_tasks import LooseTasks

KIB = 1024
CLUSTER = b"0123456789abcdef"
SMALL = WalOptions(segment_bytes=64 * KIB, capacity_bytes=4096 * KIB)


def home_at(uri: str) -> WalHome:
    def no_store(store_uri: str) -> Retrying:
        raise AssertionError(store_uri)

    return wal_home(
        uri, cluster_id=CLUSTER, world=system_world(), tasks=LooseTasks(), store_at=no_store
    )


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """What is larger fails with EFBIG: a real error of a real file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def new(root: Path) -> FileWal:
    return await FileWals(root).open(wal_id=1, node_id=0, cluster_id=CLUSTER, options=SMALL)


async def written(wal: FileWal, groups: int) -> None:
    moved = asyncio.Event()
    wal.on_durable(lambda _durable: moved.set())
    for group in range(groups):
        moved.clear()
        wal.append(1, 1, group, group, Buf(b"x" * 100))
        wal.submit()
        async with asyncio.timeout(10):
            await moved.wait()


async def test_a_wal_by_uri_is_written_and_recovered(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/wal"
    wal = await home_at(uri).open(wal_id=5, node_id=0, cluster_id=CLUSTER, options=SMALL)
    wal.append(1, 1, 0, 0, Buf(b"hello"))
    await wal.close(clean=True)
    recovery = home_at(uri).recover(wal_id=5, start=0, cluster_id=CLUSTER)
    records = [record async for chunk in recovery for record in chunk]
    assert [bytes(record.payload) for record in records] == [b"hello"]
    assert recovery.end.clean
    assert await home_at(uri).wal_ids() == [5]


class EndsWhileLookedAt:
    """A log's files whose thread ends just before it is asked what is durable."""

    def __init__(self, files: WalFiles) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def take_durable(self) -> int:
        self._files.begin_close(clean=True)
        while not self._files.ended:
            pass
        return self._files.take_durable()


async def test_an_end_that_comes_while_a_wake_up_is_handled_is_not_missed(tmp_path: Path) -> None:
    wal = await new(tmp_path)
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    wal.on_durable(told.set_result)
    wal._files = cast("WalFiles", EndsWhileLookedAt(wal._files))
    end = wal.append(1, 1, 0, 0, Buf(b"hello"))
    wal.submit()
    async with asyncio.timeout(10):
        assert await told == end
        await wal.close(clean=True)


async def test_a_relative_uri_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = home_at("file://here/wal")
    wal = await home.open(wal_id=1, node_id=0, cluster_id=CLUSTER, options=SMALL)
    await wal.close(clean=True)
    assert (tmp_path / "here/wal/1").is_dir()


@pytest.mark.parametrize(
    "uri", ["/var/wal", "file://", "memory://", "file:///x?iops=3", "file:///x?shared=yes"]
)
def test_an_uri_we_cannot_use_is_refused_with_what_would_be_right(uri: str) -> None:
    with pytest.raises(ValueError, match=r"WAL URI .* write file://<directory> or"):
        home_at(uri)


@pytest.mark.parametrize(
    ("parameters", "has_owner"), [("?shared=true", True), ("?shared=false", False), ("", False)]
)
async def test_an_uri_says_whether_other_machines_reach_the_directory(
    tmp_path: Path, parameters: str, has_owner: bool
) -> None:
    uri = f"file://{tmp_path}/wal{parameters}"
    wal = await home_at(uri).open(wal_id=5, node_id=0, cluster_id=CLUSTER, options=SMALL)
    assert (tmp_path / "wal/5/owner").exists() is has_owner
    await wal.close(clean=True)


async def test_options_that_cannot_be_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 4096"):
        await FileWals(tmp_path).open(
            wal_id=1, node_id=0, cluster_id=CLUSTER, options=WalOptions(segment_bytes=1000)
        )


async def test_a_flipped_bit_in_what_was_synced_names_file_and_position(tmp_path: Path) -> None:
    wal = await new(tmp_path)
    await written(wal, groups=3)
    await wal.close(clean=False)
    segment = next((tmp_path / "1").glob("0*.wal"))
    with segment.open("r+b") as file:
        file.seek(4096 + 168 + 70)
        file.write(b"?")
    with pytest.raises(WalDamaged, match=rf"{segment.name} is damaged at position 168"):
        [chunk async for chunk in FileWals(tmp_path).recover(wal_id=1, start=0)]


async def test_a_wal_of_another_cluster_is_refused(tmp_path: Path) -> None:
    wal = await new(tmp_path)
    await written(wal, groups=1)
    await wal.close(clean=True)
    recovery = FileWals(tmp_path).recover(wal_id=1, start=0, cluster_id=b"another cluster!")
    with pytest.raises(WalForeign, match="another cluster"):
        [chunk async for chunk in recovery]


async def test_a_recovery_larger_than_a_chunk_comes_in_several(tmp_path: Path) -> None:
    options = WalOptions(inflight_bytes_max=32 * 1024 * KIB)
    wal = await FileWals(tmp_path).open(wal_id=1, node_id=0, cluster_id=CLUSTER, options=options)
    payload = Buf(bytes(100 * KIB))
    for number in range(120):
        wal.append(1, 1, number, number, payload)
    await wal.close(clean=True)
    recovery = FileWals(tmp_path).recover(wal_id=1, start=0)
    chunks = [[record.base_offset for record in chunk] async for chunk in recovery]
    assert len(chunks) >= 3
    assert [number for chunk in chunks for number in chunk] == list(range(120))


async def test_a_failure_is_told_once_and_ends_the_wal(tmp_path: Path) -> None:
    wal = await new(tmp_path)
    failures: asyncio.Queue[WalFailure] = asyncio.Queue()
    wal.on_failure(failures.put_nowait)
    with files_no_larger_than(16 * KIB):
        wal.append(1, 1, 0, 0, Buf(b"x"))
        wal.submit()
        failure = await asyncio.wait_for(failures.get(), 10)
    assert (failure.operation, failure.errno) == ("creation", 27)
    assert "new.tmp at position 0 failed" in str(failure)
    assert wal.durable == 0
    with pytest.raises(WalFailed):
        wal.append(1, 1, 1, 1, Buf(b"x"))
    with pytest.raises(WalFailed):
        await wal.close(clean=True)
    assert failures.empty()


async def test_one_wake_up_covers_many_commits(tmp_path: Path) -> None:
    wal = await new(tmp_path)
    heard: list[int] = []
    wal.on_durable(heard.append)
    for number in range(200):
        wal.append(1, 1, number, number, Buf(b"x"))
        wal.submit()
    await wal.close(clean=True)
    assert heard[-1] == wal.end
    assert len(heard) <= wal.stats().commits


async def test_a_disk_without_room_for_two_segments_is_told(tmp_path: Path) -> None:
    options = WalOptions(segment_bytes=1 << 50, capacity_bytes=1 << 52)
    with pytest.raises(WalNoRoom, match=r"two of its files need \d+; make room, or set a smaller"):
        await FileWals(tmp_path / "wal").open(
            wal_id=1, node_id=0, cluster_id=CLUSTER, options=options
        )
    assert not (tmp_path / "wal").exists()
