"""A broker whose data and metadata lie in a real S3 server: nothing on its own disk but the WAL."""

import os
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from crash.workload import Ledger, NumberedProducer, verify
from support.broker import eventually
from support.clients import create_topic
from support.server import Server

BUCKET = "automq-node-tests"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "not a secret"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT")):
        pass
    yield address
    server.stop()


@pytest.fixture
def server(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name, value in KEYS.items():
        monkeypatch.setitem(os.environ, name, value)
    where = f"endpoint={endpoint}&path_style=true&allow_http=true"
    uri = f"s3://{BUCKET}/{tmp_path.name}?{where}"
    broker = Server(
        tmp_path,
        f"automq.storage.uri={uri}",
        "automq.upload.interval.ms=200",
        "automq.metadata.snapshot.entries=20",
    )
    broker.start()
    yield broker
    if broker.process is not None:
        broker.kill()


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
