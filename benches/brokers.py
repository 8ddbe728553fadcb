"""The processes that are compared, each started as its users start it."""

import enum
import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from apache_kafka import ApacheKafka, free_ports
from benches import ROOT

READY = "ready"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 120.0
POLL_S = 0.005

# Only so that what one measurement deleted is off the disk before the next one.
DELETE_SOON = {
    "automq": "automq.object.retention.grace.ms=1000",
    "kafka": "log.segment.delete.delay.ms=1000",
}


class Kind(enum.StrEnum):
    """Whose broker it is, and what it has done when it acknowledges."""

    AUTOMQ = "automq"
    KAFKA = "kafka"
    KAFKA_SYNC = "kafka-sync"

    @property
    def label(self) -> str:
        return LABELS[self]


LABELS = {
    Kind.AUTOMQ: "automq",
    Kind.KAFKA: "Apache Kafka",
    Kind.KAFKA_SYNC: "Apache Kafka, fsync",
}


class BrokerFailed(Exception):
    """A broker did not start or stop; the message holds the end of its log."""


class Broker(Protocol):
    """A broker process: its data stay where they are when it is stopped and started again."""

    directory: Path
    process: subprocess.Popen[bytes] | None

    @property
    def bootstrap(self) -> str: ...
    @property
    def pid(self) -> int: ...
    def prepare(self) -> object:
        """What is done once, before its first start."""

    def start(self) -> object: ...
    def stop(self) -> int: ...
    def kill(self) -> None: ...


class Automq:
    """`automq server` of this checkout."""

    def __init__(self, directory: Path, *settings: str) -> None:
        self.directory = directory
        self.port = free_ports(1)[0]
        self.settings = settings
        self.log_path = directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        compile_once()

    def start(self) -> None:
        """Start it and return when it says that it is ready. Raises BrokerFailed."""
        self.prepare()
        settings = (
            f"automq.data.dir={self.directory / 'data'}",
            f"listeners=PLAINTEXT://{self.bootstrap}",
            *self.settings,
        )
        options = [word for setting in settings for word in ("--set", setting)]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "automq", "server", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=with_bytecode(),
            )
        ends_at_s = time.monotonic() + START_TIMEOUT_S
        while READY not in self.log_path.read_text():
            if self.process.poll() is not None or time.monotonic() > ends_at_s:
                raise BrokerFailed(f"not ready: {self.log_path}\n{self._log_end()}")
            time.sleep(POLL_S)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(STOP_TIMEOUT_S)
        self.process = None
        if status != 0:
            raise BrokerFailed(f"exit status {status}: {self.log_path}\n{self._log_end()}")
        return status

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def _log_end(self) -> str:
        return self.log_path.read_text()[-2000:]


def with_bytecode() -> dict[str, str]:
    """The environment of a broker whose modules are compiled, as they are where it is installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(ROOT / "target/bytecode")}


@functools.cache
def compile_once() -> None:
    """Leave the bytecode of all that a node imports, so that no start pays for it."""
    imports = "import automq.cli, automq.node; from automq.broker import dispatch"
    words = [sys.executable, "-c", f"{imports}; dispatch.load_apis()"]
    subprocess.run(words, env=with_bytecode(), check=True)


def throw_away(broker: Broker) -> None:
    """End it if it runs, and delete its data."""
    if broker.process is not None:
        broker.kill()
    shutil.rmtree(broker.directory)


class Stand:
    """Where brokers are set up: one of each kind that stays, and fresh ones for a moment."""

    def __init__(self, directory: Path, settings: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.settings = settings
        """What this broker is started with beside its defaults."""
        self._staying: dict[Kind, Broker] = {}
        self._fresh_count = 0

    def staying(self, kind: Kind) -> Broker:
        """The broker of the kind that was started before, or now."""
        if kind not in self._staying:
            broker = self._new(kind, f"{kind}")
            broker.start()
            self._staying[kind] = broker
        return self._staying[kind]

    @contextmanager
    def fresh(self, kind: Kind) -> Iterator[Broker]:
        """A broker without data, not started yet; ended and deleted with the `with` block."""
        self._fresh_count += 1
        broker = self._new(kind, f"{kind}-{self._fresh_count}")
        broker.prepare()
        try:
            yield broker
        finally:
            throw_away(broker)

    def close(self) -> None:
        """End all that stayed, and delete their data."""
        for broker in self._staying.values():
            throw_away(broker)
        self._staying.clear()

    def _new(self, kind: Kind, name: str) -> Broker:
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        if kind is Kind.AUTOMQ:
            return Automq(directory, DELETE_SOON["automq"], *self.settings)
        settings = [DELETE_SOON["kafka"]]
        if kind is Kind.KAFKA_SYNC:
            settings.append("log.flush.interval.messages=1")
        return ApacheKafka(directory, *settings)
