"""A log on a volume that is detached by force and attached to another machine.

The volume is a file behind a loop device. Detached, its file system answers EIO to everything, as
it does when the device under it is gone, and nothing reaches the volume any more: that is what
keeps the old owner from acknowledging (HAZARDS 3), for there is no owner block, and a lock does not
reach from one machine to another.
"""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from crash.takers import Pair, WalPlace, pair

VOLUME_BYTES = 512 << 20
FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
"""What the file system has not written yet is lost, as with the power."""
PROGRAMS = ("losetup", "mkfs.ext4", "mount", "umount")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.geteuid() != 0
        or not Path("/dev/loop-control").exists()
        or not all(map(shutil.which, PROGRAMS)),
        reason="needs root and loop devices",
    ),
]


class Volume:
    """A disk that one machine after the other mounts, each at a place of its own."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._attached: list[tuple[str, Path]] = []
        with file.open("wb") as image:
            image.truncate(VOLUME_BYTES)
        command("mkfs.ext4", "-q", "-F", str(file))

    def attach(self, mount: Path) -> None:
        device = command("losetup", "--find", "--show", str(self.file))
        self._attached.append((device, mount))
        command("mount", device, str(mount))

    def detach(self, mount: Path) -> None:
        """By force: whoever has files open there gets EIO from now on."""
        at = os.open(mount, os.O_RDONLY)
        try:
            fcntl.ioctl(at, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(at)

    def put_away(self) -> None:
        for device, mount in reversed(self._attached):
            with suppress(subprocess.CalledProcessError):
                command("umount", str(mount))
            command("losetup", "--detach", device)


def command(program: str, *arguments: str) -> str:
    """What it says."""
    done = subprocess.run([program, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def mounts(tmp_path: Path) -> tuple[Path, Path]:
    """Where the first and the second machine mount the volume."""
    places = tmp_path / "first", tmp_path / "second"
    for place in places:
        place.mkdir()
    return places


@pytest.fixture
def volume(tmp_path: Path, mounts: tuple[Path, Path]) -> Iterator[Volume]:
    """A volume that is attached to the first machine."""
    made = Volume(tmp_path / "volume")
    try:
        made.attach(mounts[0])
        yield made
    finally:
        made.put_away()


@pytest.fixture
def nodes(tmp_path: Path, volume: Volume, mounts: tuple[Path, Path]) -> Iterator[Pair]:
    first, second = mounts
    place = WalPlace(f"file://{first}/wal", lambda: False, f"file://{second}/wal")
    with pair(tmp_path, place) as nodes:
        assert not list(first.rglob("owner")), "one machine's file system has no owner block"
        yield nodes


def test_an_owner_whose_volume_is_taken_away_ends_and_all_it_acknowledged_is_on_it(
    nodes: Pair, volume: Volume, mounts: tuple[Path, Path]
) -> None:
    volume.detach(mounts[0])
    assert nodes.ended_one().startswith("automq: the write-ahead log failed: ")
    volume.attach(mounts[1])
    assert "node 1 is fenced and taken over" in nodes.take_over()
    nodes.two.start()
    nodes.finish()


def test_an_owner_that_slept_through_it_acknowledges_nothing_of_what_it_had_in_hand(
    nodes: Pair, volume: Volume, mounts: tuple[Path, Path]
) -> None:
    nodes.stop_one()
    volume.detach(mounts[0])
    volume.attach(mounts[1])
    nodes.take_over()
    nodes.two.start()
    nodes.resume_one()
    assert nodes.ended_one().startswith("automq: ")
    nodes.finish()
