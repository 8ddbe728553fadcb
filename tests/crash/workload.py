"""Numbered records in, and the proof that every acknowledged one is there once and in order."""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from crash.readers import QUIET, consumer, offset_and_value

FLUSH_S = 90.0


@dataclass
class Ledger:
    """What producers were told: by partition, the numbers acknowledged, with their offsets.

    `deleted` is how far each partition was told to start later, and answered that it does.
    """

    acknowledged: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    deleted: dict[int, int] = field(default_factory=lambda: defaultdict(int))
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
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        ledger: Ledger,
        *,
        per_s: int,
        value_bytes: int = 100,
    ) -> None:
        super().__init__(daemon=True)
        self._topic, self._partition = topic, partition
        self._ledger = ledger
        self._pause_s = 1 / per_s
        self._padding = b" " + b"x" * value_bytes
        self._ending = threading.Event()
        self.sent = 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 2,
                "message.timeout.ms": 120_000,
                "queue.buffering.max.kbytes": 16_384,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 50,
                "log_level": QUIET,
            }
        )

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                self._producer.produce(
                    self._topic,
                    str(self.sent).encode() + self._padding,
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


class Trimmer(threading.Thread):
    """Deletes the older half of what was acknowledged, again and again (DeleteRecords)."""

    def __init__(self, bootstrap: str, topic: str, ledger: Ledger, *, pause_s: float = 0.2) -> None:
        super().__init__(daemon=True)
        self._pause_s = pause_s
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": QUIET})
        self._topic, self._ledger = topic, ledger
        self._ending = threading.Event()
        self.complaints: list[str] = []
        self.done = 0

    def run(self) -> None:
        while not self._ending.wait(self._pause_s):
            with self._ledger.lock:
                ends = {
                    index: max(numbers.values())
                    for index, numbers in self._ledger.acknowledged.items()
                }
            for index, end in ends.items():
                self._delete_before(index, (self._ledger.deleted[index] + end) // 2)

    def _delete_before(self, index: int, before: int) -> None:
        row = TopicPartition(self._topic, index, before)
        try:
            [answer] = self._admin.delete_records([row], request_timeout=2.0).values()
            low_watermark: int = answer.result(5).low_watermark
        except (KafkaException, TimeoutError):
            return
        if low_watermark < max(before, self._ledger.deleted[index]):
            self.complaints.append(f"{index}: starts at {low_watermark} after {before}")
        self._ledger.deleted[index] = low_watermark
        self.done += 1

    def finish(self) -> None:
        self._ending.set()
        self.join()


def read_all(bootstrap: str, topic: str, partition: int) -> dict[int, bytes]:
    """Everything in a partition, from its start on, by offset; asserts that offsets grow."""
    reader = consumer(
        bootstrap, "verifier", auto_offset_reset="earliest", enable_partition_eof=True
    )
    low, _ = reader.get_watermark_offsets(TopicPartition(topic, partition), 30)
    reader.assign([TopicPartition(topic, partition, low)])
    found: dict[int, bytes] = {}
    last = low - 1
    try:
        while True:
            message = reader.poll(30)
            assert message is not None, f"no answer after {len(found)} records"
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return found
                raise KafkaException(error)
            offset, value = offset_and_value(message)
            assert offset > last, f"{topic}-{partition}: {offset} after {last}"
            last = offset
            found[offset] = value
    finally:
        reader.close()


def verify(
    bootstrap: str,
    topic: str,
    ledger: Ledger,
    partitions: int,
    seen: Mapping[int, Mapping[int, bytes]],
) -> int:
    """Every acknowledged record is there exactly once, at its offset, in order; their number.

    But for what was deleted. And what a reader has `seen` is what is there.
    """
    for index in range(partitions):
        name = f"{topic}-{index}"
        stored = read_all(bootstrap, topic, index)
        start = min(stored, default=0)
        numbers = [int(value.split(b" ", 1)[0]) for value in stored.values()]
        assert numbers == sorted(set(numbers)), f"{name}: doubled or out of order"
        at = dict(zip(numbers, stored, strict=True))
        for number, offset in ledger.acknowledged[index].items():
            if number not in at:
                assert offset < max(start, ledger.deleted[index]), f"{name}: {number} is lost"
                continue
            # A retry that was answered as a duplicate may not know its offset (-1).
            assert offset in (-1, at[number]), f"{name}: {number} moved"
        for offset, value in seen.get(index, {}).items():
            assert offset < start or stored[offset] == value, f"{name}: {offset} is another now"
        assert not numbers or numbers == list(range(numbers[0], numbers[-1] + 1)), f"{name}: gaps"
    return ledger.count
