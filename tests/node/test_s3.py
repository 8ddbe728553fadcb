"""A broker whose data and metadata lie in a real S3 server: on its own disk is but the WAL."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from crash.workload import Ledger, NumberedProducer, verify
from support import s3_servers
from support.broker import eventually
from support.clients import create_topic
from support.s3_servers import S3Server
from support.server import Server, running


@pytest.fixture
def server(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    for name, value in s3_servers.environment().items():
        monkeypatch.setenv(name, value)
    uri = s3_servers.uri(s3_server, prefix=tmp_path.name)
    with running(
        tmp_path,
        f"automq.storage.uri={uri}",
        "automq.upload.interval.ms=200",
        "automq.metadata.snapshot.entries=20",
    ) as broker:
        yield broker


def test_data_in_s3_survives_kills_of_the_broker(server: Server) -> None:
    create_topic(server.bootstrap, "numbers")
    ledger = Ledger()
    producer = NumberedProducer(server.bootstrap, "numbers", 0, ledger, per_s=300)
    producer.start()
    for enough in (200, 500):
        eventually(partial(has, ledger, enough))
        server.kill()
        server.start()
    producer.finish()
    assert not ledger.refused, ledger.refused[:5]
    assert verify(server.bootstrap, "numbers", ledger, partitions=1, seen={}) == producer.sent


def test_a_clean_stop_leaves_nothing_on_the_local_disk(server: Server) -> None:
    create_topic(server.bootstrap, "numbers")
    ledger = Ledger()
    producer = NumberedProducer(server.bootstrap, "numbers", 0, ledger, per_s=300)
    producer.start()
    eventually(partial(has, ledger, 100))
    producer.finish()
    assert server.stop() == 0
    wal = server.directory / "data" / "wal"
    assert [path for path in wal.rglob("*") if path.is_file()] == []
    server.start()
    assert verify(server.bootstrap, "numbers", ledger, partitions=1, seen={}) == producer.sent


def has(ledger: Ledger, count: int) -> bool:
    return ledger.count >= count
