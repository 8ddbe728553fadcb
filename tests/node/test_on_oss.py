"""A broker whose data and metadata are in Alibaba OSS, as its documentation describes it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.load import Load
from support.broker import eventually
from support.oss_server import OssServer, serving
from support.server import Server, running

SECRET = "hush of the configuration"


@pytest.fixture
def oss() -> Iterator[OssServer]:
    with serving(OssServer(secrets={"LTAIconfigured": SECRET})) as oss:
        yield oss


@pytest.fixture
def server(oss: OssServer, tmp_path: Path) -> Iterator[Server]:
    where = f"endpoint={oss.endpoint}&path_style=true&allow_http=true&region={oss.region}"
    with running(
        tmp_path,
        f"automq.storage.uri=oss://{oss.bucket}/c?{where}",
        f"automq.metadata.uri=oss://{oss.bucket}/c?{where}",
        "automq.oss.access.key.id=LTAIconfigured",
        f"automq.oss.access.key.secret={SECRET}",
        "automq.upload.interval.ms=100",
    ) as broker:
        yield broker


def test_what_was_acknowledged_is_read_after_a_kill_and_after_throttling(
    server: Server, oss: OssServer
) -> None:
    load = Load(server, per_s=100)
    load.progresses()
    server.kill()
    server.start()
    load.progresses()
    oss.throttle = 4
    eventually(lambda: oss.throttle == 0, what="uploads are throttled")
    load.progresses()
    server.stop()
    server.start()
    load.finish()
    assert any(key.startswith("c/data/") for key in oss.objects)
    assert any(key.startswith("c/meta/") for key in oss.objects)
    assert SECRET not in server.log
