"""Loads through librdkafka, each a process: `python -m benches.rdkafka produce|consume ...`.

Python hands librdkafka 1,000 messages with one call, and is called back for failures only, so that
the client costs what librdkafka costs. It prints one line of JSON, as `automq-load` does.
"""

import argparse
import json
import random
import sys
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benches.load import Report, finish

CALL_RECORDS = 1000
# As long as librdkafka itself tries (message.timeout.ms).
FLUSH_TIMEOUT_S = 300.0
STALL_S = 60.0
END_WAIT_MS = 10
SEED = 1


def produce(bootstrap: str, topic: str, **options: object) -> Report:
    """Produce in another process, and return when all is acknowledged."""
    return finish(_command("produce", bootstrap, topic, options))


def consume(bootstrap: str, topic: str, **options: object) -> Report:
    """Consume in another process."""
    return finish(_command("consume", bootstrap, topic, options))


def _command(name: str, bootstrap: str, topic: str, options: dict[str, object]) -> list[str]:
    words = [sys.executable, "-m", "benches.rdkafka", name, "--bootstrap", bootstrap]
    words += ["--topic", topic]
    for option, value in options.items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    return words


def run_produce(args: argparse.Namespace) -> dict[str, float]:
    """Produce for so many seconds to all partitions, acks=all; fails if any record failed."""
    failures: list[str] = []

    def on_failure(error: Any, _message: Any) -> None:
        failures.append(str(error))

    producer = Producer(
        {
            "bootstrap.servers": args.bootstrap,
            "acks": "all",
            "batch.size": args.batch_bytes,
            "linger.ms": args.linger_ms,
            "delivery.report.only.error": True,
        }
    )
    chance = random.Random(SEED)
    values = [chance.randbytes(args.record_bytes) for _ in range(CALL_RECORDS)]
    records = 0
    started_s = time.monotonic()
    while time.monotonic() < started_s + args.seconds:
        messages: list[dict[str, Any]] = [{"value": value} for value in values]
        queued = producer.produce_batch(args.topic, messages, on_delivery=on_failure)
        records += queued
        # A full queue takes a part of the call; what did not fit is not missed.
        producer.poll(0 if queued == CALL_RECORDS else 0.001)
    if (left := producer.flush(FLUSH_TIMEOUT_S)) or failures:
        sys.exit(f"{left} records left, {len(failures)} failed: {failures[:1]}")
    return {
        "records": records,
        "payload_bytes": records * args.record_bytes,
        "seconds": time.monotonic() - started_s,
    }


def run_consume(args: argparse.Namespace) -> dict[str, float]:
    """Read all partitions from their beginning, again until the time is over."""
    consumer = Consumer(
        {
            "bootstrap.servers": args.bootstrap,
            "group.id": "benches",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            # At the end of the topic a fetch waits for news, and the next pass behind it.
            "fetch.wait.max.ms": END_WAIT_MS,
        }
    )
    partitions = [
        TopicPartition(args.topic, number, OFFSET_BEGINNING) for number in range(args.partitions)
    ]
    records = 0
    started_s = time.monotonic()
    while time.monotonic() < started_s + args.seconds:
        consumer.assign(partitions)
        records += _read(consumer, args.records)
    seconds = time.monotonic() - started_s
    consumer.close()
    return {"records": records, "seconds": seconds}


def _read(consumer: Consumer, count: int) -> int:
    read = 0
    while read < count:
        # It waits until it has as many as asked for.
        messages = consumer.consume(min(CALL_RECORDS, count - read), STALL_S)
        if not messages:
            sys.exit(f"no message for {STALL_S} s after {read} of {count}")
        for message in messages:
            if (error := message.error()) is not None:
                sys.exit(f"consuming failed: {error}")
        read += len(messages)
    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", choices=["produce", "consume"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--record-bytes", type=int, default=1024)
    parser.add_argument("--batch-bytes", type=int, default=16384)
    parser.add_argument("--linger-ms", type=float, default=5.0)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--records", type=int, default=0)
    args = parser.parse_args()
    report = run_produce(args) if args.load == "produce" else run_consume(args)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
