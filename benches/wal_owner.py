"""What the owner block of a shared WAL costs an acknowledgement, in one run, side by side.

    .venv/bin/python -m benches.wal_owner [DIRECTORY] [--groups 1000] [--rounds 10]

Appends one record of 1 KiB, waits until it is durable, and again: the latency of one group. Rounds
with and without an owner block take turns, each with a WAL of its own. One line a kind, then the
ratio of the medians.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from automq._native import Buf
from automq.stream.wal import FileWals, WalOptions

PAYLOAD = Buf(bytes(1024))
WARM_GROUPS = 50
KINDS = {"no owner block": False, "owner block": True}


async def latencies_us(root: Path, wal_id: int, groups: int, *, shared: bool) -> list[float]:
    """How long each of `groups` groups took from the append to the callback."""
    home = FileWals(root, shared=shared)
    wal = await home.open(wal_id=wal_id, node_id=1, cluster_id=bytes(16), options=WalOptions())
    durable = asyncio.Event()
    wal.on_durable(lambda _: durable.set())
    found = []
    for number in range(WARM_GROUPS + groups):
        durable.clear()
        started = time.perf_counter()
        wal.append(1, 0, number, number, PAYLOAD)
        wal.submit()
        await durable.wait()
        found.append((time.perf_counter() - started) * 1e6)
    await wal.close(clean=True)
    await home.remove(wal_id)
    return found[WARM_GROUPS:]


async def measure(root: Path, groups: int, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in KINDS}
    for number in range(rounds):
        for name, shared in list(KINDS.items())[:: 1 if number % 2 else -1]:
            wal_id = 2 * number + shared
            found[name] += await latencies_us(root, wal_id, groups, shared=shared)
    return found


def line(name: str, sample_us: Sequence[float]) -> str:
    cuts = statistics.quantiles(sample_us, n=100)
    return (
        f"{name:<16} p50 {cuts[49]:8.0f} us   p90 {cuts[89]:8.0f} us   p99 {cuts[98]:8.0f} us   "
        f"mean {statistics.fmean(sample_us):8.0f} us"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory or Path.cwd()) as directory:
        found = asyncio.run(measure(Path(directory), options.groups, options.rounds))
    for name, sample in found.items():
        print(line(name, sample))
    without, with_it = (statistics.median(found[name]) for name in KINDS)
    print(f"the owner block adds {(with_it / without - 1) * 100:.1f} % to the median")


if __name__ == "__main__":
    main()
