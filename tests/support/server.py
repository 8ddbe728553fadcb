"""A real `automq server` process, as a user starts it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY = b"automq: ready"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One broker with its data in `directory`; may be started, stopped and killed repeatedly."""

    def __init__(self, directory: Path, *settings: str, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = directory / "server.log"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def start(self, *settings: str) -> "Server":
        """Start it and wait until it says that it is ready."""
        seen = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.launch(*settings)
        self._wait_until_ready(seen)
        return self

    def launch(self, *settings: str) -> None:
        """Begin to start it; what becomes of that is not waited for."""
        self.directory.mkdir(parents=True, exist_ok=True)
        options = [
            f"automq.data.dir={self.directory / 'data'}",
            f"listeners=PLAINTEXT://127.0.0.1:{self.port}",
            *self.settings,
            *settings,
        ]
        command = [sys.executable, "-m", "automq", "server"]
        for option in options:
            command += ["--set", option]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env=dict(os.environ))

    def stop(self) -> int:
        """End it as an operator does (SIGTERM); its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_TIMEOUT_S)
        self.process = None
        return status

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def _wait_until_ready(self, seen_bytes: int) -> None:
        """Return once the log says, behind its first `seen_bytes`, that clients may come."""
        process = self.process
        assert process is not None
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while READY not in self.log_path.read_bytes()[seen_bytes:]:
            assert process.poll() is None, f"exited with {process.returncode}:\n{self.log}"
            assert time.monotonic() < deadline_s, f"not ready in time:\n{self.log}"
            time.sleep(0.02)


@contextmanager
def running(directory: Path, *settings: str) -> Iterator[Server]:
    """A broker for the time of a `with` block; its log is printed if the block fails."""
    server = Server(directory, *settings).start()
    try:
        yield server
    except BaseException:
        print(server.log)
        raise
    finally:
        if server.process is not None:
            server.kill()
