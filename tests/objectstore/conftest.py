"""Stores to test on: one of each kind, and a real S3 server (moto's) for the whole run."""

import urllib.request
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from automq.objectstore import ObjectStore, open_store
from automq.objectstore.providers import Credentials
from automq.objectstore.simulated import SimulatedStore
from automq.world import system_world
from support.azurite import ACCOUNT, ACCOUNT_KEY, CONTAINER, running_azurite
from support.oss_server import OssServer, serving

BUCKET = "automq-tests"
_numbers = count()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
    with urllib.request.urlopen(request):
        pass
    yield endpoint
    server.stop()


@pytest.fixture(scope="session")
def s3_keys() -> Credentials:
    return Credentials("AKIATEST", "not a secret")


@pytest.fixture
def s3_uri(s3_endpoint: str) -> str:
    """A fresh prefix in the bucket."""
    return f"s3://{BUCKET}/run/{next(_numbers)}?endpoint={s3_endpoint}&allow_http=true"


@pytest.fixture
def oss() -> Iterator[OssServer]:
    """An empty bucket of OSS."""
    with serving(OssServer()) as server:
        yield server


@pytest.fixture
def oss_uri(oss: OssServer) -> str:
    at = f"endpoint={oss.endpoint}&allow_http=true&path_style=true&region={oss.region}"
    return f"oss://{oss.bucket}/p?{at}"


@pytest.fixture
def oss_keys(oss: OssServer) -> Credentials:
    return Credentials(*next(iter(oss.secrets.items())))


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    with running_azurite() as endpoint:
        yield endpoint


KINDS = ("file", "memory", "simulated", "s3", "oss")


@pytest.fixture(params=[*KINDS, pytest.param("azure", marks=pytest.mark.long)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, s3_keys: Credentials
) -> AsyncIterator[ObjectStore]:
    opened: ObjectStore
    match request.param:
        case "file":
            opened = open_store(f"file://{tmp_path}/store", system_world())
        case "s3":
            uri = request.getfixturevalue("s3_uri")
            opened = open_store(uri, system_world(), credentials=s3_keys)
        case "oss":
            uri, keys = map(request.getfixturevalue, ("oss_uri", "oss_keys"))
            opened = open_store(uri, system_world(), credentials=keys)
        case "azure":
            at = f"account={ACCOUNT}&endpoint={request.getfixturevalue('azurite')}"
            uri = f"az://{CONTAINER}/run/{next(_numbers)}?{at}&allow_http=true"
            environ = {"AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
            opened = open_store(uri, system_world(), environ=environ)
        case "simulated":
            opened = SimulatedStore(system_world())
        case _:
            opened = open_store("memory://", system_world())
    yield opened
    await opened.close()
