"""Two machines and a shared file system: each sees it through a mount with a cache of its own.

The mounts are bindfs, which keeps what it has read, as a network file system may, and tells one
mount nothing of what the other writes; locks do not reach from one to the other.
"""

import mmap
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from crash.takers import Pair, WalPlace, is_takers, pair
from crash.test_takeover import FENCED

KEEPS = "kernel_cache,entry_timeout=60,attr_timeout=60,negative_timeout=60"
BLOCK_BYTES = 4096

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("bindfs") is None or not Path("/dev/fuse").exists(),
        reason="needs bindfs and /dev/fuse",
    ),
]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Where each of two machines has mounted the same directory."""
    behind, mounts = tmp_path / "behind", (tmp_path / "first", tmp_path / "second")
    for directory in (behind, *mounts):
        directory.mkdir()
    try:
        for mount in mounts:
            subprocess.run(["bindfs", "-o", KEEPS, str(behind), str(mount)], check=True)
        yield mounts
    finally:
        for mount in mounts:
            subprocess.run(["fusermount3", "-u", "-z", str(mount)], check=False)


@pytest.fixture
def nodes(tmp_path: Path, machines: tuple[Path, Path]) -> Iterator[Pair]:
    first, second = machines
    block = tmp_path / "behind" / "wal" / "0" / "owner"
    place = WalPlace(f"file://{first}/wal", lambda: is_takers(block), f"file://{second}/wal")
    with pair(tmp_path, place) as nodes:
        yield nodes


def test_the_mounts_keep_what_they_have_read_but_for_direct_reads(
    machines: tuple[Path, Path],
) -> None:
    first, second = (mount / "block" for mount in machines)
    first.write_bytes(b"A" * BLOCK_BYTES)
    with first.open("rb") as kept:
        os.pread(kept.fileno(), BLOCK_BYTES, 0)
        second.write_bytes(b"B" * BLOCK_BYTES)
        assert os.pread(kept.fileno(), 1, 0) == b"A"
    assert read_directly(first)[:1] == b"B"


def read_directly(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as aligned:
            os.preadv(file, [aligned], 0)
            return aligned[:]
    finally:
        os.close(file)


def test_an_owner_on_another_machine_acknowledges_nothing_once_its_log_is_taken_over(
    nodes: Pair,
) -> None:
    nodes.stop_one()
    nodes.take_over()
    nodes.two.start()
    nodes.resume_one()
    assert FENCED.match(nodes.ended_one())
    nodes.finish()


def test_an_owner_that_serves_on_another_machine_is_taken_over(nodes: Pair) -> None:
    nodes.take_over()
    assert FENCED.match(nodes.ended_one())
    nodes.two.start()
    nodes.finish()


def test_a_machine_that_has_looked_into_the_log_before_takes_over_what_came_since(
    tmp_path: Path, nodes: Pair
) -> None:
    for path in (tmp_path / "second" / "wal").rglob("*"):
        with suppress(OSError):
            path.read_bytes()
    nodes.progresses()
    nodes.one.kill()
    nodes.take_over()
    nodes.two.start()
    nodes.finish()
