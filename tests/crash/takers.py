"""Two nodes on one store: one that is taken over, and one that takes over and leads on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crash.readers import SteadyReader
from crash.workload import Ledger, NumberedProducer, verify
from support.broker import eventually
from support.clients import create_topic
from support.server import Server

NEVER_UPLOADED = "automq.upload.interval.ms=3600000"
TAKER_TIMEOUT_S = 60.0
PARTITIONS = 2


@dataclass(frozen=True)
class WalPlace:
    """Where the nodes keep their logs, and how one sees there that a log was fenced.

    `second_uri` is where node 2 reaches the same place, if that is not where node 1 does.
    """

    uri: str
    fenced: Callable[[], bool]
    second_uri: str = ""


def shared_files(directory: Path) -> WalPlace:
    """A directory that both reach, with owner blocks."""
    block = directory / "wal" / "0" / "owner"
    return WalPlace(f"file://{directory}/wal?shared=true", lambda: is_takers(block))


def is_takers(block: Path) -> bool:
    """Whether an owner block is not its writer's, whose node epoch is -1."""
    return not block.exists() or block.read_bytes()[48:56] != b"\xff" * 8


def objects(directory: Path) -> WalPlace:
    """A directory as an object store: a fence ends a log there."""
    wals = directory / "objects"

    return WalPlace(f"object+file://{wals}", lambda: any(is_fence(it) for it in wals.rglob("*")))


def is_fence(path: Path) -> bool:
    """Whether a file is an object that a taker has ended a log with."""
    try:
        head = path.read_bytes()[:16]
    except OSError:
        return False
    return head[:8] == b"AQWALOBJ" and head[14:16] == b"\x03\x00"


class Pair:
    """Node 1 under load, and node 2, which is not started yet. Clients know both addresses."""

    def __init__(self, directory: Path, place: WalPlace, *, store: str = "") -> None:
        self.store = directory / "store"
        self.place = place
        shared = (f"automq.storage.uri={store or f'file://{self.store}'}", NEVER_UPLOADED)
        first = f"automq.wal.uri={place.uri}"
        second = f"automq.wal.uri={place.second_uri or place.uri}"
        self.one = Server(directory / "one", "node.id=1", first, *shared)
        self.two = Server(directory / "two", "node.id=2", second, *shared)
        self.ledger = Ledger()
        self.producers: list[NumberedProducer] = []
        self.takers: list[subprocess.Popen[str]] = []

    def begin(self) -> None:
        """Start node 1, and producers and a reader that go on until `finish`."""
        self.one.start()
        create_topic(self.one.bootstrap, "numbers", partitions=PARTITIONS)
        both = f"{self.one.bootstrap},{self.two.bootstrap}"
        self.producers = [
            NumberedProducer(both, "numbers", index, self.ledger, per_s=300)
            for index in range(PARTITIONS)
        ]
        self.reader = SteadyReader(both, "numbers", PARTITIONS)
        for thread in (*self.producers, self.reader):
            thread.start()
        self.progresses()

    def progresses(self) -> None:
        before = self.ledger.count
        eventually(lambda: self.ledger.count > before + 100, what="producers go on")

    def taker(self) -> subprocess.Popen[str]:
        """`automq wal take-over --node 1` with the configuration of node 2, as a process."""
        command = [sys.executable, "-m", "automq", "wal", "take-over", "--node", "1"]
        for option in (f"automq.data.dir={self.two.directory / 'data'}", *self.two.settings):
            command += ["--set", option]
        if self.place.second_uri:
            command += ["--wal-uri", self.place.second_uri]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.takers.append(process)
        return process

    def take_over(self) -> str:
        """The same, to its end; what it says."""
        said, status = outcome(self.taker())
        assert status == 0, said
        return said

    def stop_one(self) -> None:
        """Node 1 does nothing from here on, with whatever it has in hand."""
        os.kill(self.one.pid, signal.SIGSTOP)

    def resume_one(self) -> None:
        os.kill(self.one.pid, signal.SIGCONT)

    def ended_one(self) -> str:
        """Wait until node 1 has ended by itself; its last line."""
        assert self.one.process is not None
        status = self.one.process.wait(TAKER_TIMEOUT_S)
        self.one.process = None
        assert status == 1, self.one.log
        return self.one.log.strip().splitlines()[-1]

    def entries(self) -> int:
        """How many entries the metadata log has (on a store that is a directory)."""
        return sum(1 for path in (self.store / "meta").rglob("*") if path.is_file())

    def objects(self) -> int:
        """How many objects with data are stored (on a store that is a directory)."""
        return sum(1 for path in (self.store / "data").rglob("*") if path.is_file())

    def finish(self) -> None:
        """Stop the clients, and prove on node 2 that every promise of both nodes was kept."""
        self.progresses()
        for producer in self.producers:
            producer.finish()
        self.reader.finish()
        assert not self.ledger.refused, self.ledger.refused[:5]
        assert not self.reader.complaints, self.reader.complaints[:5]
        seen = self.reader.seen
        count = verify(self.two.bootstrap, "numbers", self.ledger, PARTITIONS, seen)
        assert count == sum(producer.sent for producer in self.producers)
        assert self.two.stop() == 0


def outcome(taker: "subprocess.Popen[str]") -> tuple[str, int]:
    """What a taker said, and its status."""
    said, _ = taker.communicate(timeout=TAKER_TIMEOUT_S)
    return said, taker.returncode


def when(taker: "subprocess.Popen[str]", reached: Callable[[], bool], send: signal.Signals) -> None:
    """Send a signal to a taker as soon as it has got that far, or let it be if it has ended."""
    deadline_s = time.monotonic() + TAKER_TIMEOUT_S
    while not reached() and taker.poll() is None:
        assert time.monotonic() < deadline_s, "it never got that far"
        time.sleep(0.0005)
    taker.send_signal(send)


@contextmanager
def pair(directory: Path, place: WalPlace, *, store: str = "") -> Iterator[Pair]:
    """Two nodes for the time of a `with` block; their logs are printed if it fails."""
    nodes = Pair(directory, place, store=store)
    try:
        nodes.begin()
        yield nodes
    except BaseException:
        print(nodes.one.log, "\n---- node 2\n", nodes.two.log)
        raise
    finally:
        for server in (nodes.one, nodes.two):
            if server.process is not None:
                server.kill()
        for taker in nodes.takers:
            if taker.returncode is None:
                taker.kill()
                outcome(taker)
