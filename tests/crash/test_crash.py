"""Killed at random moments: nothing acknowledged is lost, doubled or out of order."""

import random
import time
from pathlib import Path

import pytest

from crash.load import Load
from crash.readers import GroupMember
from crash.workload import Trimmer
from support.server import Server, running

UPLOADING_ALWAYS = ("automq.upload.interval.ms=100",)
SMALL_SNAPSHOTS = ("automq.metadata.snapshot.entries=10", *UPLOADING_ALWAYS)
LITTLE_IS_KEPT = (
    "log.retention.check.interval.ms=300",
    "log.segment.bytes=1048576",
    "log.retention.bytes=2097152",
    "automq.object.retention.grace.ms=0",
    *UPLOADING_ALWAYS,
)
SMALL_WAL = (
    "automq.wal.segment.bytes=1048576",
    "automq.wal.capacity.bytes=16777216",
    "automq.upload.bytes=262144",
)


def kill_again_and_again(server: Server, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(kills):
        time.sleep(chance.uniform(0.3, 1.5))
        server.kill()
        server.start()


def kill_starts(server: Server, kills: int, seed: int) -> None:
    """Kill it while it starts as well: recovery is begun again and again, and ends some time."""
    chance = random.Random(seed)
    for _ in range(kills):
        time.sleep(chance.uniform(0.3, 1.0))
        server.kill()
        for _ in range(chance.randrange(4)):
            server.launch()
            time.sleep(chance.uniform(0.1, 0.8))
            server.kill()
        server.start()


def crash_run(
    directory: Path,
    *,
    kills: int,
    seed: int,
    settings: tuple[str, ...] = (),
    value_bytes: int = 100,
) -> None:
    """Producers and a reader work while the broker is killed and started `kills` times."""
    with running(directory, *settings) as server:
        load = Load(server, per_s=500, value_bytes=value_bytes)
        kill_again_and_again(server, kills, seed)
        load.finish()
        assert server.stop() == 0


def test_three_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    crash_run(tmp_path, kills=3, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("settings", "value_bytes"),
    [
        pytest.param((), 100, id="as it comes"),
        pytest.param(UPLOADING_ALWAYS, 100, id="uploading all the time"),
        pytest.param(SMALL_SNAPSHOTS, 100, id="metadata snapshots all the time"),
        pytest.param(SMALL_WAL, 2_000, id="many WAL segments"),
    ],
)
def test_twenty_kills_lose_nothing_acknowledged(
    tmp_path: Path, settings: tuple[str, ...], value_bytes: int
) -> None:
    crash_run(tmp_path, kills=20, seed=20, settings=settings, value_bytes=value_bytes)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_kills_while_retention_deletes_lose_nothing_that_is_kept(tmp_path: Path) -> None:
    with running(tmp_path, *LITTLE_IS_KEPT) as server:
        load = Load(server, per_s=500, value_bytes=2_000)
        kill_again_and_again(server, kills=20, seed=23)
        load.finish()
        assert server.log.count("(retention)") > 20
        assert server.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [31, 32])
def test_starts_that_are_killed_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    with running(tmp_path, *SMALL_SNAPSHOTS) as server:
        load = Load(server, per_s=500)
        kill_starts(server, kills=20, seed=seed)
        load.finish()
        assert server.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_was_deleted_stays_deleted_and_the_rest_stays(tmp_path: Path) -> None:
    with running(tmp_path, *UPLOADING_ALWAYS) as server:
        load = Load(server, per_s=300)
        trimmer = Trimmer(server.bootstrap, "numbers", load.ledger)
        trimmer.start()
        kill_again_and_again(server, kills=20, seed=22)
        trimmer.finish()
        load.finish()
        assert not trimmer.complaints, trimmer.complaints[:5]
        assert trimmer.done > 20
        assert server.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_committed_offsets_never_go_back(tmp_path: Path) -> None:
    with running(tmp_path, "group.initial.rebalance.delay.ms=0") as server:
        load = Load(server, per_s=300)
        member = GroupMember(server.bootstrap, "members", "numbers")
        member.start()
        for kill in range(20):
            kill_again_and_again(server, kills=1, seed=kill)
            member.check()
        member.finish()
        load.finish()
        assert not member.complaints, member.complaints[:5]
        assert member.commits > 20
        assert server.stop() == 0
