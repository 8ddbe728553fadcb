"""What the tests of librdkafka share: clients with short waits, records as plain values."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)

from support.broker import eventually

TIMEOUT_S = 30.0
Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a producer gives it."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int = 0
    partition: int = 0


def producer(bootstrap: str, **config: Any) -> Producer:
    """A producer; `config` with `_` for `.`."""
    return Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **dotted(config)})


def dotted(config: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "."): value for key, value in config.items()}


def send(client: Producer, topic: str, records: Iterable[Record]) -> list[int | KafkaError]:
    """Send records and wait for all: the offset of each, or the error, in order of the answers."""
    answers: list[int | KafkaError] = []

    def answered(error: KafkaError | None, message: Message) -> None:
        answers.append(error if error is not None else message.offset() or 0)

    for record in records:
        client.produce(
            topic,
            record.value,
            record.key,
            partition=record.partition,
            headers=list(record.headers),
            timestamp=record.timestamp,
            on_delivery=answered,
        )
        client.poll(0)
    assert client.flush(TIMEOUT_S) == 0
    return answers


def values(*texts: object) -> list[Record]:
    return [Record(str(text).encode()) for text in texts]


@contextmanager
def consumer(bootstrap: str, group: str = "nobody", **config: Any) -> Iterator[Consumer]:
    """A consumer that is closed at the end; `config` with `_` for `.`."""
    defaults = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 100,
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 200,
    }
    client = Consumer({**defaults, **dotted(config)})
    try:
        yield client
    finally:
        client.close()


def read(client: Consumer, count: int) -> list[Message]:
    """The next `count` messages; an error message fails."""
    messages: list[Message] = []

    def enough() -> bool:
        for message in client.consume(count - len(messages), timeout=0.2):
            assert message.error() is None, message.error()
            messages.append(message)
        return len(messages) == count

    eventually(enough, what=f"{count} messages")
    return messages


def read_from(bootstrap: str, topic: str, count: int, *, offset: int = 0) -> list[Message]:
    """`count` messages of partition 0, from `offset` on."""
    with consumer(bootstrap) as client:
        client.assign([TopicPartition(topic, 0, offset)])
        return read(client, count)


def texts(messages: Iterable[Message]) -> list[str]:
    return [(message.value() or b"").decode() for message in messages]
