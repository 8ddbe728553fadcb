"""Programs of other languages, built once, and brokers for them to talk to."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.broker import Broker, fresh, running_broker

HERE = Path(__file__).parent
BUILD_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Program:
    """A client's scenarios: `command BOOTSTRAP SCENARIO NAME`."""

    command: tuple[str, ...]

    def start(self, bootstrap: str, scenario: str, name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, bootstrap, scenario, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def build(command: list[str], directory: Path) -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_TIMEOUT_S,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"


def go_program(module: str) -> Program:
    """A Go module beside this file, built into the cache."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    source = HERE / module
    parts = [source / "main.go", source / "go.mod", source / "go.sum"]
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "automq"
    target = cache / f"{module}-{digest}"
    if not target.exists():
        build(["go", "build", "-mod=readonly", "-o", str(target), "."], source)
    return Program((str(target),))


def node_program(folder: str) -> Program:
    """A Node.js program beside this file, with the packages that its lock file pins."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js (node and npm) is not installed")
    source = HERE / folder
    if not (source / "node_modules").exists():
        build(["npm", "ci"], source)
    return Program(("node", str(source / "main.mjs")))


@pytest.fixture(scope="session", params=["kafkajs", "franz", "sarama"])
def program(request: pytest.FixtureRequest) -> Program:
    if request.param == "kafkajs":
        return node_program("kafkajs")
    return go_program(request.param)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that all tests of a module share."""
    with running_broker(tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may stop, kill and start again."""
    with running_broker(tmp_path) as started:
        yield started


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for a topic and a group that no other test has."""
    return fresh(request.node.originalname.removeprefix("test_")[:40].replace("_", "-"))
