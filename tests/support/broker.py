"""The broker that tests with real clients talk to: ours, or Apache Kafka to check the tests.

Environment: `AUTOMQ_TEST_PEER=1` starts Apache Kafka in place of ours; `AUTOMQ_TEST_PEER=HOST:PORT`
uses a broker that already runs there (only for tests that do not restart it).
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from apache_kafka import ApacheKafka
from support.server import Server

T = TypeVar("T")
PEER = os.environ.get("AUTOMQ_TEST_PEER", "")
DEADLINE_S = 30.0
POLL_S = 0.02
SETTINGS = (
    "group.initial.rebalance.delay.ms=0",
    "offsets.topic.num.partitions=4",
    "log.retention.check.interval.ms=1000",
)
_numbers = itertools.count(1)


class Broker(Protocol):
    """What a test may do with a broker process."""

    @property
    def bootstrap(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def log(self) -> str: ...
    def start(self, *settings: str) -> object: ...
    def stop(self) -> int: ...
    def kill(self) -> None: ...


class Elsewhere:
    """A broker that somebody else started; it is only talked to."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.pid = 0
        self.log = f"(see the broker at {bootstrap})"

    def start(self, *settings: str) -> "Elsewhere":
        raise NotImplementedError(f"{self.bootstrap} was started by somebody else")

    def stop(self) -> int:
        raise NotImplementedError(f"{self.bootstrap} was started by somebody else")

    def kill(self) -> None:
        raise NotImplementedError(f"{self.bootstrap} was started by somebody else")


@contextmanager
def running_broker(directory: Path, *settings: str) -> Iterator[Broker]:
    """A started broker for the time of a `with` block; its log is printed if the block fails."""
    if ":" in PEER:
        yield Elsewhere(PEER)
        return
    broker: Server | ApacheKafka
    if PEER:
        broker = ApacheKafka(directory, *SETTINGS, *settings, heap="512M")
    else:
        broker = Server(directory, *SETTINGS, *settings)
    broker.start()
    try:
        yield broker
    except BaseException:
        print(broker.log)
        raise
    finally:
        if broker.process is not None:
            broker.kill()


def fresh(stem: str) -> str:
    """A name that nothing else on the broker has."""
    return f"{stem}-{os.getpid()}-{next(_numbers)}"


def eventually(ask: Callable[[], T], *, deadline_s: float = DEADLINE_S, what: str = "") -> T:
    """Ask until the answer is true, and return it. Fails with the last answer at the deadline."""
    ends_at = time.monotonic() + deadline_s
    while not (answer := ask()):
        assert time.monotonic() < ends_at, f"not within {deadline_s} s: {what}; last: {answer!r}"
        time.sleep(POLL_S)
    return answer
