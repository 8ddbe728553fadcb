"""How fast a backlog is read, beside what its store delivers: `python -m benches.catch_up`.

The backlog is only in objects. In turn, from the same objects: a plain client that asks the store
for pieces of them, as many at a time as a broker does, and throws away what comes; and a native
consumer at a broker that was just started. `directory`: the files are put out of the page cache
before each turn (posix_fadvise), so that the disk is what delivers, and the plain client is threads
that pread into memory which they keep. `cached`: the same with the files in the page cache, a copy
within the kernel. `seaweedfs`: the plain client is the broker's own client for S3 in a process of
its own, without the broker.

On one machine store, broker and consumer share the cores, and a plain client has them to itself.
The CPU seconds per GB of each say how much of a share is that. Goal: 80 % of the plain client.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from automq.objectstore import open_store
from automq.objectstore.providers import Credentials
from automq.world import system_world
from benches import ROOT, load, stores
from benches.brokers import Automq
from benches.process import usage
from benches.workloads import steps

KINDS = ("directory", "cached", "seaweedfs")
TOPIC = "backlog"
PIECE_BYTES = 2 << 20
"""What a broker asks for at a time ahead of a reader."""
CONCURRENCY = 16
"""automq.read.inflight.max."""
GOAL = 0.8
PIECES_PREFIX = "data/"

Piece = tuple[str, int, int]


@dataclass(slots=True)
class Turns:
    """What the turns of one kind of reader came to."""

    mb_per_s: list[float] = field(default_factory=list)
    cpu_s_per_gb: list[float] = field(default_factory=list)
    store_cpu_s_per_gb: list[float] = field(default_factory=list)


def main() -> None:
    args = parse()
    if args.plain is not None:
        print(read_plainly(args.plain, args.concurrency))
        return
    load.build()
    load_average = os.getloadavg()[0]
    print(f"load average {load_average:.1f} before; {args.rounds} rounds, medians; MB of records\n")
    print("| store | reader | MB/s | reader's CPU s/GB | store's CPU s/GB | share |")
    print("|---|---|---:|---:|---:|---:|")
    for kind in args.stores:
        with tempfile.TemporaryDirectory(dir=args.dir) as name:
            run(kind, Path(name), args)
    print(f"\nGoal: a share of {GOAL:.0%}.")


def run(kind: str, directory: Path, args: argparse.Namespace) -> None:
    turns = {f"{count} consumers": Turns() for count in args.consumers}
    turns = {"plain client": Turns(), **turns}
    with stores.of("seaweedfs" if kind == "seaweedfs" else "directory", directory) as place:
        broker = Automq(directory / "node", *place.settings)
        try:
            payload_bytes = prepare(broker, args.backlog_gb)
            for _ in range(args.rounds):
                rounds(kind, broker, place, turns, payload_bytes, args)
        finally:
            if broker.process is not None:
                broker.kill()
            shutil.rmtree(broker.directory, ignore_errors=True)
    show(kind, turns)


def prepare(broker: Automq, backlog_gb: float) -> float:
    """A backlog, all of it in objects; the bytes of its records."""
    broker.start()
    load.run("create", broker.bootstrap, TOPIC, partitions=steps.PARTITIONS)
    records = steps.produce_backlog(broker, TOPIC, backlog_gb * steps.GB)
    broker.stop()
    return float(records * steps.RECORD_BYTES)


def rounds(
    kind: str,
    broker: Automq,
    place: stores.Place,
    turns: dict[str, Turns],
    payload_bytes: float,
    args: argparse.Namespace,
) -> None:
    """One turn of each."""
    words = [sys.executable, "-m", "benches.catch_up", "--plain", place.uri]
    words += ["--concurrency", str(args.concurrency)]
    forget(kind, broker)
    turn = Turn(turns["plain client"], place, payload_bytes)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, cpu_s = map(float, done.stdout.split())
    turn.end(seconds, cpu_s)
    for count in args.consumers:
        broker.start()
        forget(kind, broker)
        before = usage(broker.pid)
        turn = Turn(turns[f"{count} consumers"], place, payload_bytes)
        report = load.run(
            "fetch",
            broker.bootstrap,
            TOPIC,
            partitions=steps.PARTITIONS,
            connections=count,
            passes=1,
            seconds=3600,
        )
        turn.end(report["seconds"], usage(broker.pid).cpu_s - before.cpu_s)
        if report["records"] * steps.RECORD_BYTES != payload_bytes:
            raise load.LoadFailed(f"{report['records']:.0f} records were read")
        broker.stop()


class Turn:
    """One reader's turn, from now on; what the store spends meanwhile is counted."""

    def __init__(self, turns: Turns, place: stores.Place, payload_bytes: float) -> None:
        self._turns = turns
        self._store_pid = place.pid
        self._payload_bytes = payload_bytes
        self._store_cpu_s = self._spent()

    def _spent(self) -> float:
        return 0.0 if self._store_pid is None else usage(self._store_pid).cpu_s

    def end(self, seconds: float, cpu_s: float) -> None:
        """It took so long, and the reader (not the store) so much of the processor."""
        gb = self._payload_bytes / steps.GB
        self._turns.mb_per_s.append(self._payload_bytes / seconds / steps.MB)
        self._turns.cpu_s_per_gb.append(cpu_s / gb)
        self._turns.store_cpu_s_per_gb.append((self._spent() - self._store_cpu_s) / gb)


def forget(kind: str, broker: Automq) -> None:
    """Let the page cache forget the files of broker and store, unless they are to be there."""
    if kind == "cached":
        return
    os.sync()
    for path in broker.directory.parent.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# -- the plain client


def read_plainly(where: str, concurrency: int) -> str:
    """Read all data objects once; the seconds and CPU seconds that it took."""
    if where.startswith("file://"):
        pieces = sorted(local_pieces(Path(where.removeprefix("file://"))))
        seconds, cpu_s = timed(lambda: pread_all(pieces, concurrency))
    else:
        seconds, cpu_s = asyncio.run(get_all(where, concurrency))
    return f"{seconds} {cpu_s}"


def timed(work: Callable[[], None]) -> tuple[float, float]:
    started_s, cpu_s = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - started_s, time.process_time() - cpu_s


def cut(key: str, size_bytes: int) -> Iterator[Piece]:
    for start in range(0, size_bytes, PIECE_BYTES):
        yield key, start, min(size_bytes, start + PIECE_BYTES)


def local_pieces(root: Path) -> Iterator[Piece]:
    for path in (root / PIECES_PREFIX).rglob("*"):
        if path.is_file():
            yield from cut(str(path), path.stat().st_size)


def pread_all(pieces: Sequence[Piece], concurrency: int) -> None:
    left = iter(pieces)
    lock = threading.Lock()

    def work() -> None:
        kept = memoryview(bytearray(PIECE_BYTES))
        while True:
            with lock:
                piece = next(left, None)
            if piece is None:
                return
            path, at, end = piece
            file = os.open(path, os.O_RDONLY)
            while at < end:
                at += os.preadv(file, [kept[: end - at]], at)
            os.close(file)

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def get_all(where: str, concurrency: int) -> tuple[float, float]:
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    store = open_store(where, system_world(), credentials=keys)
    found = [known async for known in store.list(PIECES_PREFIX)]
    left = iter([piece for known in found for piece in cut(known.key, known.size_bytes)])

    async def work() -> None:
        for key, start, end in left:
            await store.get_range(key, start, end)

    started_s, cpu_s = time.monotonic(), time.process_time()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    seconds, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
    await store.close()
    return seconds, cpu_s


# -- the table


def show(kind: str, turns: dict[str, Turns]) -> None:
    plain = median(turns["plain client"].mb_per_s)
    for reader, turn in turns.items():
        rate, spent = median(turn.mb_per_s), median(turn.cpu_s_per_gb)
        store = median(turn.store_cpu_s_per_gb)
        of_store = f"{store:.2f}" if store else ""
        share = "" if reader == "plain client" else f"{rate / plain:.0%}"
        print(f"| {kind} | {reader} | {rate:.0f} | {spent:.2f} | {of_store} | {share} |")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.catch_up", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog-gb", type=float, default=2.0)
    parser.add_argument("--stores", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--consumers", nargs="+", type=int, default=[1, 6])
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="of the plain client")
    parser.add_argument("--plain", help="only be the plain client, of this store")
    parser.add_argument("--dir", type=Path, default=ROOT / "target", help="where the data go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
