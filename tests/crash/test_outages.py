"""Full disks, stores that cannot be written, stops under load: clients wait, nothing is lost."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from crash.load import Load
from support.broker import eventually
from support.clients import admin, create_topic, new_topic
from support.server import Server, running

MIB = 1 << 20
WAL_DISK_MIB = 12
NO_UPLOADS = ("automq.upload.interval.ms=600000",)
SMALL_SEGMENTS = ("automq.wal.segment.bytes=1048576",)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB. Needs root; skipped without."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={WAL_DISK_MIB}m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system of limited size needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is; remove the returned file to give it back."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    return ballast


@contextmanager
def unwritable(store: Path) -> Iterator[None]:
    """A store into which nothing can be written, whoever asks (root as well)."""
    temporary, aside = store / ".tmp", store / ".tmp-aside"
    temporary.rename(aside)
    temporary.write_bytes(b"in the way")
    try:
        yield
    finally:
        temporary.unlink()
        aside.rename(temporary)


def is_held_back(load: Load, quiet_s: float = 1.0) -> None:
    """Wait until nothing is acknowledged for a while."""

    def is_quiet() -> bool:
        before = load.ledger.count
        time.sleep(quiet_s)
        return load.ledger.count == before

    eventually(is_quiet, what="producers are held back")


def wal_uri(disk: Path) -> str:
    return f"automq.wal.uri=file://{disk / 'wal'}"


def test_a_full_wal_disk_holds_producers_back_until_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    settings = (wal_uri(small_disk), *SMALL_SEGMENTS, *NO_UPLOADS)
    with running(tmp_path / "node", *settings) as server:
        ballast = fill(small_disk)
        load = Load(server, per_s=300)
        time.sleep(2)
        assert load.ledger.count == 0
        ballast.unlink()
        load.progresses()
        load.finish()
        assert server.stop() == 0


def test_a_wal_disk_smaller_than_configured_is_emptied_by_uploads(
    tmp_path: Path, small_disk: Path
) -> None:
    """Neither the interval nor the size would upload: only the full disk makes it so."""
    settings = (wal_uri(small_disk), *SMALL_SEGMENTS, *NO_UPLOADS)
    with running(tmp_path / "node", *settings) as server:
        load = Load(server, per_s=300, value_bytes=20_000)
        sent = 3 * WAL_DISK_MIB * MIB // 20_000
        eventually(
            lambda: load.ledger.count > sent, what="more is acknowledged than the disk holds"
        )
        server.kill()
        server.start()
        load.progresses()
        load.finish()
        assert server.stop() == 0


def test_a_store_that_cannot_be_written_holds_producers_back_and_loses_nothing(
    tmp_path: Path,
) -> None:
    settings = (
        "automq.upload.interval.ms=200",
        "automq.log.cache.bytes=4194304",
        "automq.upload.bytes=1048576",
    )
    with running(tmp_path, *settings) as server:
        load = Load(server, per_s=200, value_bytes=10_000)
        load.progresses()
        with unwritable(tmp_path / "data" / "store"):
            is_held_back(load)
        load.progresses()
        load.finish()
        assert server.stop() == 0


@pytest.mark.long
def test_large_batches_fill_a_small_wal_during_an_outage_and_none_is_lost(tmp_path: Path) -> None:
    """Each segment wastes what the next batch does not fit into: the disk holds fewer of them."""
    sizes = ("automq.wal.capacity.bytes=16777216", "automq.upload.bytes=8388608")
    settings = (*SMALL_SEGMENTS, *sizes, *NO_UPLOADS)
    with running(tmp_path, *settings) as server:
        load = Load(server, per_s=10, value_bytes=700_000)
        eventually(lambda: load.ledger.count > 20, what="producers go on")
        with unwritable(tmp_path / "data" / "store"):
            is_held_back(load)
        before = load.ledger.count
        eventually(lambda: load.ledger.count > before + 20, what="producers go on")
        load.finish()
        assert server.stop() == 0


@pytest.mark.long
def test_a_kill_during_an_outage_of_the_store_loses_nothing(tmp_path: Path) -> None:
    settings = ("automq.upload.interval.ms=200", "automq.log.cache.bytes=4194304")
    with running(tmp_path, *settings) as server:
        load = Load(server, per_s=200, value_bytes=5_000)
        load.progresses()
        with unwritable(tmp_path / "data" / "store"):
            is_held_back(load)
            server.kill()
        server.start()
        load.progresses()
        load.finish()
        assert server.stop() == 0


def test_a_topic_wanted_during_an_outage_is_made_after_it(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        create_topic(server.bootstrap, "before")
        client, other = admin(server.bootstrap), admin(server.bootstrap)
        with unwritable(tmp_path / "data" / "store"):
            [impatient] = client.create_topics(
                [new_topic("impatient")], operation_timeout=1.0, request_timeout=5.0
            ).values()
            with pytest.raises(KafkaException) as refused:
                impatient.result(10)
            assert refused.value.args[0].retriable() or "TIMED_OUT" in str(refused.value)
            [patient] = client.create_topics([new_topic("patient")], request_timeout=60.0).values()
            time.sleep(1)
            assert not patient.done()
            assert "patient" not in other.list_topics(timeout=10).topics
        patient.result(60)
        assert {"before", "impatient", "patient"} <= set(client.list_topics(timeout=10).topics)
        assert server.stop() == 0


def stop_in_time(server: Server) -> None:
    began_s = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began_s < 10


def test_a_stop_under_load_is_clean_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        load = Load(server, per_s=500)
        for _ in range(2):
            load.progresses()
            stop_in_time(server)
            assert not list((tmp_path / "data" / "wal").iterdir())
            server.start()
        load.progresses()
        load.finish()
        assert server.stop() == 0
