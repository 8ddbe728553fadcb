"""Plays seeds of the simulation: random ones for a while, or one again with its trace.

    python tools/simulate.py [--seconds N]                  play random seeds for a while
    python tools/simulate.py --first N [--count N]          play seeds that follow each other
    python tools/simulate.py --seed N [--quiet]             play one, with everything it did
    python tools/simulate.py --bugs [WORD ...] [--count N]  find the bugs put in on purpose

`make sim` gives it the seconds, `make sim SEED=n` the seed. The exit status is 1 if a seed failed.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from sim.bugs import BUGS
from sim.run import play

SEED_BITS = 31
FAILURES_MAX = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--first", type=int, default=None)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--bugs", nargs="*", default=None, metavar="WORD")
    arguments = parser.parse_args()
    if arguments.bugs is not None:
        return find_bugs(arguments.first or 1, arguments.count, arguments.bugs)
    if arguments.seed is not None:
        result = play(arguments.seed, tell=None if arguments.quiet else print)
        print("\n  ".join([str(result), *result.violations]))
        print(f"trace {result.digest}")
        return 0 if result.is_good else 1
    return play_many(seeds(arguments))


def seeds(arguments: argparse.Namespace) -> Iterator[int]:
    """The seeds that were asked for, or random ones until the time is over."""
    if arguments.first is not None:
        yield from range(arguments.first, arguments.first + arguments.count)
        return
    chance = random.SystemRandom()
    ends_at = time.monotonic() + arguments.seconds
    while time.monotonic() < ends_at:
        yield chance.getrandbits(SEED_BITS)


def play_many(wanted: Iterator[int]) -> int:
    played, failed, virtual_s, started = 0, [], 0.0, time.monotonic()
    for seed in wanted:
        result = play(seed)
        print("\n    ".join([str(result), *result.violations[:5]]), flush=True)
        played += 1
        virtual_s += result.virtual_s
        if not result.is_good:
            failed.append(seed)
            if len(failed) >= FAILURES_MAX:
                break
    real_s = time.monotonic() - started
    speed = virtual_s / max(real_s, 0.001)
    print(f"{played} seeds, {len(failed)} failed {failed}; {speed:.0f} simulated seconds a second")
    return 1 if failed else 0


def find_bugs(first: int, count: int, words: list[str]) -> int:
    """How many seeds it takes to find each bug; 1 if one is not found."""
    missed = 0
    for name, patched in BUGS.items():
        if not all(word in name for word in words):
            continue
        found = "not found"
        for seed in range(first, first + count):
            with patched():
                result = play(seed)
            if not result.is_good:
                found = f"seed {seed}: {result.violations[0][:120]}"
                break
        else:
            missed += 1
        print(f"{name}: {found}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
