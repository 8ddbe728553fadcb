"""Numbered records in, and the proof that every acknowledged one is there once and in order."""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

FLUSH_S = 60.0
QUIET = 2
"""Only what is critical: a connection that breaks is what these tests are about."""


@dataclass
class Ledger:
    """What producers were told: by partition, the numbers acknowledged, with their offsets."""

    acknowledged: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    refused: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, error: KafkaError | None, message: Message) -> None:
        """A delivery report."""
        value = message.value()
        assert value is not None
        with self.lock:
            if error is not None:
                self.refused.append(str(error))
                return
            number = int(value.split(b" ", 1)[0])
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self.acknowledged[partition][number] = offset

    @property
    def count(self) -> int:
        with self.lock:
            return sum(len(numbers) for numbers in self.acknowledged.values())


class NumberedProducer(threading.Thread):
    """Sends growing numbers to one partition, idempotent and acks=all, until told to stop."""

    def __init__(
        self, bootstrap: str, topic: str, partition: int, ledger: Ledger, *, per_s: int
    ) -> None:
        super().__init__(daemon=True)
        self._topic, self._partition = topic, partition
        self._ledger = ledger
        self._pause_s = 1 / per_s
        self._ending = threading.Event()
        self.sent = 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 2,
                "message.timeout.ms": 120_000,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 50,
                "log_level": QUIET,
            }
        )

    def run(self) -> None:
        padding = b" " + b"x" * 100
        while not self._ending.is_set():
            try:
                self._producer.produce(
                    self._topic,
                    str(self.sent).encode() + padding,
                    partition=self._partition,
                    on_delivery=self._ledger.note,
                )
                self.sent += 1
            except BufferError:
                self._producer.poll(0.05)
            self._producer.poll(0)
            time.sleep(self._pause_s)

    def finish(self) -> None:
        """Stop sending; everything sent is acknowledged or refused afterwards."""
        self._ending.set()
        self.join()
        left = self._producer.flush(FLUSH_S)
        assert left == 0, f"{left} records without a verdict"


class SteadyReader(threading.Thread):
    """Reads one partition all the time and insists that offsets never go backwards."""

    def __init__(self, bootstrap: str, topic: str, partition: int) -> None:
        super().__init__(daemon=True)
        self._consumer = consumer(bootstrap, "steady-reader")
        self._consumer.assign([TopicPartition(topic, partition, 0)])
        self._ending = threading.Event()
        self.last_offset = -1
        self.went_back: list[str] = []
        self.seen: dict[int, bytes] = {}

    def run(self) -> None:
        while not self._ending.is_set():
            message = self._consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            offset, value = message.offset(), message.value()
            assert offset is not None
            assert value is not None
            if offset <= self.last_offset:
                self.went_back.append(f"{offset} after {self.last_offset}")
            self.last_offset = offset
            self.seen[offset] = value

    def finish(self) -> None:
        self._ending.set()
        self.join()
        self._consumer.close()


def consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "reconnect.backoff.max.ms": 200,
            "log_level": QUIET,
        }
    )


def read_all(bootstrap: str, topic: str, partition: int) -> list[tuple[int, int]]:
    """Everything in a partition, as (offset, number)."""
    reader = consumer(bootstrap, "verifier")
    reader.assign([TopicPartition(topic, partition, 0)])
    found: list[tuple[int, int]] = []
    try:
        while True:
            message = reader.poll(30)
            assert message is not None, f"no answer after {len(found)} records"
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return found
                raise KafkaException(error)
            offset, value = message.offset(), message.value()
            assert offset is not None
            assert value is not None
            found.append((offset, int(value.split(b" ", 1)[0])))
    finally:
        reader.close()


def verify(bootstrap: str, topic: str, ledger: Ledger, partitions: int) -> int:
    """Every acknowledged record is there exactly once, at its offset, in order; their number."""
    for partition in range(partitions):
        stored = read_all(bootstrap, topic, partition)
        offsets = [offset for offset, _ in stored]
        assert offsets == sorted(set(offsets)), f"{topic}-{partition}: offsets repeat or go back"
        numbers = [number for _, number in stored]
        assert numbers == sorted(set(numbers)), f"{topic}-{partition}: doubled or out of order"
        at = {number: offset for offset, number in stored}
        for number, offset in ledger.acknowledged[partition].items():
            assert number in at, f"{topic}-{partition}: acknowledged {number} is lost"
            # A retry that was answered as a duplicate may not know its offset (-1).
            assert offset in (-1, at[number]), f"{topic}-{partition}: {number} moved"
    return ledger.count
