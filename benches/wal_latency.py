"""Acknowledgements with the write-ahead log in a store: `python -m benches.wal_latency`.

A SeaweedFS on this machine is the store, and a producer sends records one at a time to a broker
whose log is there; with a pause longer than the batch interval between them (each goes at once),
and steadily (each waits for its batch). Between any two records after a pause a plain client
creates an object of the size that the log writes: so both meet the same store and the same
neighbours, and their quantiles compare. The promise: the store's latency and at most a fifth more,
plus at most the interval.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benches import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from confluent_kafka import Producer

from automq.objectstore import ObjectStore, open_store
from automq.world import system_world
from support.s3_servers import KEYS, SeaweedFS, environment, uri
from support.server import Server

VALUE = random.Random(1).randbytes(1024)
INTERVAL_S = 0.25
PAUSED_S, STEADY_S = 0.3, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.wal_latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=40, help="of each in a round")
    args = parser.parse_args()
    os.environ.update(environment())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        weed = SeaweedFS(directory / "weed")
        weed.directory.mkdir()
        weed.start()
        try:
            with_broker(directory, weed, args.rounds, args.count)
        finally:
            weed.kill()


def with_broker(directory: Path, weed: SeaweedFS, rounds: int, count: int) -> None:
    where = uri(weed)
    server = Server(directory / "node", f"automq.storage.uri={where}", f"automq.wal.uri={where}")
    server.start()
    try:
        found = measure(server.bootstrap, uri(weed), rounds, count)
    finally:
        server.kill()
    puts = found["put"]
    print("| | p50, ms | p99, ms | allowed: p50 | p99 |")
    print("|---|---:|---:|---:|---:|")
    for name, values in found.items():
        waits_ms = INTERVAL_S * 1000 if name == "steady" else 0.0
        figures = [quantile(values, q) for q in (0.5, 0.99)]
        if name != "put":
            figures += [waits_ms + 1.2 * quantile(puts, q) for q in (0.5, 0.99)]
        print(f"| {TITLES[name]} |" + "".join(f" {figure:.1f} |" for figure in figures))


TITLES = {
    "put": "a create, by a plain client",
    "paused": "an acknowledgement after a pause: its create and a fifth",
    "steady": "an acknowledgement among others: the interval, its create and a fifth",
}


def measure(bootstrap: str, place: str, rounds: int, count: int) -> dict[str, list[float]]:
    """Milliseconds of each kind."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
    found: dict[str, list[float]] = {"put": [], "paused": [], "steady": []}
    produce(producer, 5, PAUSED_S)
    with asyncio.Runner() as runner:
        store = open_store(place, system_world(), credentials=KEYS)
        for number in range(rounds):
            for index in range(count + 1):
                put_ms = runner.run(create(store, f"plain/{number}/{index}"))
                paused_ms = produce(producer, 1, PAUSED_S)
                if index > 0:
                    # The first ones have made connections.
                    found["put"].append(put_ms)
                    found["paused"] += paused_ms
                producer.poll(PAUSED_S)
            found["steady"] += produce(producer, count * 5, STEADY_S)
        runner.run(store.close())
    return found


async def create(store: ObjectStore, key: str) -> float:
    """What a create of such an object takes, in ms."""
    began = time.perf_counter()
    await store.put_if_absent(key, [VALUE])
    return (time.perf_counter() - began) * 1000


def produce(producer: Producer, count: int, pause_s: float) -> list[float]:
    """Send one record after each pause, without waiting for the one before; what each took."""
    took: list[float] = []

    def reported(began: float) -> Callable[[object, object], None]:
        def on_delivery(error: object, message: object) -> None:
            assert error is None, error
            took.append((time.perf_counter() - began) * 1000)

        return on_delivery

    due = time.perf_counter()
    for _ in range(count):
        due += pause_s
        while (left := due - time.perf_counter()) > 0:
            producer.poll(left)
        producer.produce("latency", VALUE, on_delivery=reported(time.perf_counter()))
    assert producer.flush(30) == 0
    return took


def quantile(values: list[float], q: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(q * 1000) - 1]


if __name__ == "__main__":
    main()
