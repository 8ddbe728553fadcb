"""Readers that watch what a broker promises while it dies and comes back."""

import threading
from collections import defaultdict
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

QUIET = 2
"""Only what is critical: a connection that breaks is what these tests are about."""
TIMEOUT_S = 30.0


def consumer(bootstrap: str, group: str, **more: str | int | bool) -> Consumer:
    """A consumer that commits only when told to, and never jumps by itself."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "reconnect.backoff.max.ms": 200,
            "log_level": QUIET,
            **{name.replace("_", "."): value for name, value in more.items()},
        }
    )


def offset_and_value(message: Message) -> tuple[int, bytes]:
    """Where a record is, and what it is."""
    offset, value = message.offset(), message.value()
    assert offset is not None
    assert value is not None
    return offset, value


class SteadyReader(threading.Thread):
    """Reads partitions all the time; `complaints` says where offsets went back.

    What it has seen must be in the log when all is over: a reader is shown nothing that a crash
    can take back.
    """

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        super().__init__(daemon=True)
        self._consumer = consumer(bootstrap, "steady-reader", auto_offset_reset="earliest")
        self._consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
        self._ending = threading.Event()
        self._last: dict[int, int] = defaultdict(lambda: -1)
        self.complaints: list[str] = []
        self.seen: dict[int, dict[int, bytes]] = defaultdict(dict)

    def run(self) -> None:
        while not self._ending.is_set():
            message = self._consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            index = message.partition()
            assert index is not None
            offset, value = offset_and_value(message)
            if offset <= self._last[index]:
                self.complaints.append(f"{index}: {offset} after {self._last[index]}")
            self._last[index] = offset
            self.seen[index][offset] = value

    def finish(self) -> None:
        self._ending.set()
        self.join()
        self._consumer.close()

    @property
    def count(self) -> int:
        return sum(map(len, list(self.seen.values())))


class GroupMember(threading.Thread):
    """A member of a group that commits as it reads; `complaints` says where commits went back."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._address, self._group, self._topic = bootstrap, group, topic
        self._consumer = consumer(bootstrap, group, auto_offset_reset="earliest")
        self._consumer.subscribe([topic])
        self._ending = threading.Event()
        self._read: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.complaints: list[str] = []
        self.commits = 0

    def run(self) -> None:
        while not self._ending.is_set():
            for message in self._consumer.consume(100, 0.2):
                if message.error() is None:
                    index = message.partition()
                    assert index is not None
                    self._read[index] = offset_and_value(message)[0] + 1
            self._commit()

    def _commit(self) -> None:
        """Commit what was read, and note what the broker has acknowledged."""
        wanted = dict(self._read)
        rows = [TopicPartition(self._topic, index, offset) for index, offset in wanted.items()]
        if not rows:
            return
        try:
            answers = self._consumer.commit(offsets=rows, asynchronous=False)
        except KafkaException:
            return
        for row in answers or []:
            if row.error is None:
                self.committed[row.partition] = row.offset
                self.commits += 1

    def check(self) -> None:
        """Compare what the broker remembers with what it has acknowledged."""
        acknowledged = dict(self.committed)
        stored = committed(self._address, self._group, self._topic, acknowledged)
        self.complaints += [
            f"{index}: {stored[index]} is stored, {offset} was acknowledged"
            for index, offset in acknowledged.items()
            if stored[index] < offset
        ]

    def finish(self) -> None:
        self._ending.set()
        self.join()
        self.check()
        self._consumer.close()


def committed(
    bootstrap: str, group: str, topic: str, partitions: Mapping[int, object]
) -> dict[int, int]:
    """The offsets that a group has committed, as the broker tells them now."""
    asking = consumer(bootstrap, group)
    rows = [TopicPartition(topic, index) for index in partitions]
    try:
        return {row.partition: row.offset for row in asking.committed(rows, TIMEOUT_S)}
    finally:
        asking.close()
