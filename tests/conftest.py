"""Servers that many tests share: started for whoever asks first, once a process of the run."""

import os
import sys
from collections.abc import Iterator

import pytest

from support import s3_servers
from support.s3_servers import Moto, S3Server, SeaweedFS


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failure at once: a run that is cut off gets to no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\nfailed: {report.nodeid}", file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    with s3_servers.moto() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with s3_servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(params=["moto", "seaweedfs"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """A real S3 server; the test runs with each."""
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    return server
