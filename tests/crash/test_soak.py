"""Everything that makes and unmakes objects, under kills: afterwards the store is in order.

What an audit must find in order it must be by itself: nobody repairs anything.
"""

import random
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from automq.cli import cli
from crash.churn import TopicChurn
from crash.load import Load
from crash.workload import Trimmer
from support import s3_servers
from support.broker import eventually
from support.s3_servers import Moto
from support.server import Server, running

SETTINGS = (
    "automq.upload.interval.ms=100",
    "automq.upload.bytes=262144",
    "automq.wal.segment.bytes=1048576",
    "automq.wal.capacity.bytes=16777216",
    "automq.metadata.snapshot.entries=20",
    "automq.object.retention.grace.ms=500",
    "automq.object.scan.interval.ms=5000",
)
CLEAN_S = 120.0


def audit(server: Server, *words: str) -> Result:
    settings = (f"automq.data.dir={server.directory / 'data'}", *server.settings)
    options = [word for it in settings for word in ("--set", it)]
    return CliRunner().invoke(cli, ["storage", "audit", *options, *words])


def log_in_the_store(directory: Path) -> str:
    """The setting: beside the data, of which the audit then sees every object."""
    return f"automq.wal.uri=object+file://{directory}/data/store"


def is_clean(server: Server) -> bool:
    """Whether an audit beside the running broker finds nothing, leaked or missing."""
    done = audit(server)
    assert done.exit_code in (0, 3), done.output
    return done.exit_code == 0


def soak(
    server: Server, *, seconds: float, kills: int, seed: int, per_s: int, trim_s: float = 0.2
) -> None:
    """Write, trim, make and delete topics for so long, with kills between."""
    chance = random.Random(seed)
    load = Load(server, per_s=per_s, value_bytes=300)
    trimmer = Trimmer(server.bootstrap, "numbers", load.ledger, pause_s=trim_s)
    churn = TopicChurn(server.bootstrap)
    trimmer.start()
    churn.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.5, 1.5) * seconds / (kills + 1))
        server.kill()
        server.start()
    load.progresses()
    churn.finish()
    trimmer.finish()
    load.finish()
    assert not trimmer.complaints, trimmer.complaints[:5]
    assert trimmer.done > 0
    assert churn.deleted > 0
    # By itself, beside the running broker, and without anything lost meanwhile.
    eventually(lambda: is_clean(server), what="the audit finds nothing", deadline_s=CLEAN_S)
    assert server.stop() == 0
    done = audit(server, "--verify")
    assert done.exit_code == 0, done.output
    assert "read and verified" in done.output


def test_after_kills_a_directory_is_in_order(tmp_path: Path) -> None:
    with running(tmp_path, *SETTINGS) as server:
        soak(server, seconds=6, kills=3, seed=61, per_s=100)


def test_after_kills_a_directory_with_the_log_in_it_is_in_order(tmp_path: Path) -> None:
    with running(tmp_path, *SETTINGS, log_in_the_store(tmp_path)) as server:
        soak(server, seconds=6, kills=3, seed=64, per_s=100)


def test_after_kills_a_bucket_is_in_order(
    tmp_path: Path, moto_server: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_servers.environment().items():
        monkeypatch.setenv(name, value)
    uri = s3_servers.uri(moto_server)
    with running(tmp_path, *SETTINGS, f"automq.storage.uri={uri}") as server:
        soak(server, seconds=6, kills=3, seed=62, per_s=100)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("log", ["in files", "in objects"])
def test_after_an_hour_of_kills_a_directory_is_in_order(tmp_path: Path, log: str) -> None:
    settings = [*SETTINGS, log_in_the_store(tmp_path)] if log == "in objects" else SETTINGS
    with running(tmp_path, *settings) as server:
        # What is kept for so long lies in many objects, and is merged before it is deleted.
        soak(server, seconds=3_600, kills=30, seed=63, per_s=50, trim_s=30)
        assert "merged" in server.log
