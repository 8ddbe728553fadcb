"""Stores to test on: one of each kind, S3 on two real servers."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from automq.objectstore import ObjectStore, open_store
from automq.objectstore.providers import Credentials
from automq.objectstore.simulated import SimulatedStore
from automq.world import system_world
from support import s3_servers
from support.azurite import ACCOUNT, ACCOUNT_KEY, CONTAINER, running_azurite
from support.oss_server import OssServer, serving
from support.s3_servers import Moto

_numbers = count()


@pytest.fixture(scope="session")
def s3_keys() -> Credentials:
    return s3_servers.KEYS


@pytest.fixture
def s3_uri(moto_server: Moto) -> str:
    """A fresh prefix in the bucket."""
    return s3_servers.uri(moto_server)


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


SEAWEEDFS_DIFFERS = {
    "test_a_list_is_in_the_order_of_the_keys_bytes": "it lists folder by folder",
    "test_a_list_shows_what_starts_with_its_prefix": "it lists folder by folder",
    "back\\\\slash": "it takes a backslash for a slash",
}
"""What no rule of ours rests on: nothing that a node does needs a list, or a backslash."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "seaweedfs" in item.name and item.path.name == "test_contract.py":
            for part, why in SEAWEEDFS_DIFFERS.items():
                if part in item.name:
                    item.add_marker(pytest.mark.xfail(reason=f"SeaweedFS: {why}", strict=True))


KINDS = ("file", "memory", "simulated", "moto", "seaweedfs", "oss")


@pytest.fixture(params=[*KINDS, pytest.param("azure", marks=pytest.mark.long)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, s3_keys: Credentials
) -> AsyncIterator[ObjectStore]:
    opened: ObjectStore
    match request.param:
        case "file":
            opened = open_store(f"file://{tmp_path}/store", system_world())
        case "moto" | "seaweedfs" as server:
            uri = s3_servers.uri(request.getfixturevalue(f"{server}_server"))
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
