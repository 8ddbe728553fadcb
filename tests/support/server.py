"""A real `automq server` process, as a user starts it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY = "ready"
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
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ))
        self._wait_until_ready()
        return self

    def stop(self) -> int:
        """End it as an operator does (SIGTERM); its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_TIMEOUT_S)
        self._close()
        return status

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close()

    def _wait_until_ready(self) -> None:
        """Copy standard error into the log, and return at the line that says ready."""
        process = self.process
        assert process is not None
        assert process.stderr is not None
        ready = threading.Event()
        source = process.stderr

        def copy() -> None:
            with self.log_path.open("ab") as target:
                for line in source:
                    target.write(line)
                    target.flush()
                    if READY.encode() in line:
                        ready.set()
            ready.set()

        threading.Thread(target=copy, daemon=True).start()
        assert ready.wait(START_TIMEOUT_S), f"not ready in time:\n{self.log}"
        assert process.poll() is None, f"exited with {process.returncode}:\n{self.log}"

    def _close(self) -> None:
        self.process = None


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
