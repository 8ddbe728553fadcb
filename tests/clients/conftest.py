"""One broker for each module, one JVM of Apache's tools for each test process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apache_kafka import Tools, why_unavailable
from clients.shell import Shell
from support.broker import Broker, fresh, running_broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of the module's own."""
    directory: Path = tmp_path_factory.mktemp("broker")
    with running_broker(directory) as started:
        yield started


@pytest.fixture(scope="module")
def bootstrap(broker: Broker) -> str:
    return broker.bootstrap


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    """Apache's command-line tools; the tests that need them are skipped where Java is missing."""
    if why := why_unavailable():
        pytest.skip(f"Apache's tools cannot run: {why}")
    with Tools() as started:
        yield started


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for a topic or a group that no other test has."""
    return fresh(request.node.originalname.removeprefix("test_")[:40].replace("_", "-"))


@pytest.fixture
def shell(tools: Tools, bootstrap: str) -> Shell:
    return Shell(tools, bootstrap)
