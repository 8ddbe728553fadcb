"""Killed at random moments: nothing acknowledged is lost, doubled or out of order."""

import random
import time
from pathlib import Path

import pytest

from crash.workload import Ledger, NumberedProducer, SteadyReader, verify
from support.clients import create_topic
from support.server import running

PARTITIONS = 3


def crash_run(directory: Path, *, kills: int, seed: int, settings: tuple[str, ...] = ()) -> None:
    """Producers and a reader work while the broker is killed and started `kills` times."""
    chance = random.Random(seed)
    with running(directory, *settings) as server:
        create_topic(server.bootstrap, "numbers", partitions=PARTITIONS)
        ledger = Ledger()
        producers = [
            NumberedProducer(server.bootstrap, "numbers", partition, ledger, per_s=500)
            for partition in range(PARTITIONS)
        ]
        reader = SteadyReader(server.bootstrap, "numbers", 0)
        for thread in (*producers, reader):
            thread.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.3, 1.5))
            server.kill()
            server.start()
        for producer in producers:
            producer.finish()
        reader.finish()
        assert not ledger.refused, ledger.refused[:5]
        assert not reader.went_back, reader.went_back[:5]
        acknowledged = verify(server.bootstrap, "numbers", ledger, PARTITIONS)
        assert acknowledged == sum(producer.sent for producer in producers)
        assert server.stop() == 0


def test_three_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    crash_run(tmp_path, kills=3, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    crash_run(tmp_path, kills=20, seed=20)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_kills_while_uploading_all_the_time_lose_nothing(tmp_path: Path) -> None:
    crash_run(tmp_path, kills=20, seed=21, settings=("automq.upload.interval.ms=100",))
