"""Plays seeds of the simulation: random ones for a while, or one again with its trace.

    python tools/simulate.py [--seconds N]                  play random seeds for a while
    python tools/simulate.py --first N [--count N]          play seeds that follow each other
    python tools/simulate.py --seed N [--quiet]             play one, with everything it did
    python tools/simulate.py --seed N --shrink              leave out what it does not need to fail
    python tools/simulate.py --lines [--count N]            which share of the lines is executed
    python tools/simulate.py --bugs [WORD ...] [--count N]  find the bugs put in on purpose
    python tools/simulate.py --add-up                       what all runs of this tree came to,
                                                            and which rare paths they reached

`make sim` gives it the seconds, `make sim SEED=n` the seed. The exit status is 1 if a seed failed.
`--jobs N` plays in N processes; `--jobs 1` in one of its own. Each run of many seeds adds lines to
`target/simulation/tally.jsonl`, from which `--add-up` counts.
"""

import argparse
import gc
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from sim.bugs_of_log import BUGS
from sim.found import seeds_for
from sim.lines import REPLACED, lines_of, seen_lines
from sim.probes import known_probes
from sim.run import Result, play, shrink

ROOT = Path(__file__).resolve().parent.parent
SEED_BITS = 31
FAILURES_MAX = 10
SEEDS_A_LINE = 50
REAL_S_MAX = 300
TALLY = ROOT / "target" / "simulation" / "tally.jsonl"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--first", type=int, default=None)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--tally", type=Path, default=TALLY)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--bugs", nargs="*", default=None, metavar="WORD")
    parser.add_argument("--add-up", action="store_true")
    arguments = parser.parse_args()
    if arguments.add_up:
        return add_up(arguments.tally)
    if arguments.bugs is not None:
        return find_bugs(arguments.first or 1, arguments.count, arguments.bugs)
    if arguments.lines:
        return count_lines(arguments.first or 1, arguments.count)
    if arguments.seed is not None and arguments.shrink:
        return 1 if shrink(arguments.seed, print) else 0
    if arguments.seed is not None:
        result = play(arguments.seed, tell=None if arguments.quiet else print)
        print("\n  ".join([str(result), *result.violations]))
        print(f"trace {result.digest}")
        return 0 if result.is_good else 1
    return play_many(seeds(arguments), arguments.jobs, arguments.tally)


def seeds(arguments: argparse.Namespace) -> Iterator[int]:
    """The seeds that were asked for, or random ones until the time is over."""
    if arguments.first is not None:
        yield from range(arguments.first, arguments.first + arguments.count)
        return
    chance = random.SystemRandom()
    ends_at = time.monotonic() + arguments.seconds
    while time.monotonic() < ends_at:
        yield chance.getrandbits(SEED_BITS)


# -- many seeds


@dataclass(slots=True)
class Played:
    """What one seed came to: small enough to be sent from a process to another."""

    seed: int
    virtual_s: float
    real_s: float
    violations: list[str]
    cpu_s: float = 0.0
    troubles: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)


class _TooLong(BaseException):
    pass


def play_guarded(seed: int) -> Played:
    """Play one; what it raises, and that it never ends, is a violation as well."""
    started, cpu_started = time.monotonic(), time.process_time()

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooLong

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(REAL_S_MAX)
    try:
        result: Result = play(seed)
    except _TooLong:
        return Played(
            seed, 0.0, REAL_S_MAX, [f"not played to its end in {REAL_S_MAX} real seconds"]
        )
    except Exception as error:
        return Played(seed, 0.0, time.monotonic() - started, [f"broke the simulation: {error!r}"])
    finally:
        signal.alarm(0)
        gc.collect()
    return Played(
        seed,
        result.virtual_s,
        result.real_s,
        result.violations,
        time.process_time() - cpu_started,
        result.troubles,
        result.probes,
    )


def collect_between_seeds() -> None:
    """What a seed leaves behind is garbage together: looking for it meanwhile finds little and
    takes a tenth of the time."""
    gc.freeze()
    gc.disable()


def play_many(wanted: Iterator[int], jobs: int, tally: Path) -> int:
    """A line for each seed that failed, and one for all of them."""
    started = time.monotonic()
    total, failed, virtual_s, cpu_s = 0, [], 0.0, 0.0
    with multiprocessing.get_context("spawn").Pool(jobs, collect_between_seeds) as pool:
        results = pool.imap_unordered(play_guarded, wanted)
        while some := list(islice(results, SEEDS_A_LINE)):
            for played in some:
                if played.violations:
                    print("\n    ".join([f"seed {played.seed}: FAILED", *played.violations[:5]]))
            total += len(some)
            failed += sorted(played.seed for played in some if played.violations)
            virtual_s += sum(played.virtual_s for played in some)
            cpu_s += sum(played.cpu_s for played in some)
            note(tally, some)
            sys.stdout.flush()
            if len(failed) >= FAILURES_MAX:
                pool.terminate()
                break
    real_s = time.monotonic() - started
    speed, per_cpu_s = virtual_s / max(real_s, 0.001), virtual_s / max(cpu_s, 0.001)
    print(
        f"{total} seeds, {len(failed)} failed {failed}; {virtual_s:.0f} simulated seconds "
        f"in {real_s:.0f} s, {speed:.0f} a second, {per_cpu_s:.0f} a second of a core; "
        f"commit {commit()}"
    )
    return 1 if failed else 0


def commit() -> str:
    """What was played: the commit, with a plus if the tree has changes."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode != 0
    return (name or "unknown") + ("+" if changed else "")


def note(tally: Path, some: Iterable[Played]) -> None:
    """Add a line, so that runs on several days and machines add up."""
    played = list(some)
    tally.parent.mkdir(parents=True, exist_ok=True)
    line = {
        "commit": commit(),
        "seeds": len(played),
        "first": min(it.seed for it in played),
        "last": max(it.seed for it in played),
        "failed": sorted(it.seed for it in played if it.violations),
        "simulated_s": round(sum(it.virtual_s for it in played)),
        "real_s": round(sum(it.real_s for it in played), 1),
        "cpu_s": round(sum(it.cpu_s for it in played), 1),
        "probes": Counter(name for it in played for name in it.probes),
    }
    with tally.open("a") as file:
        file.write(json.dumps(line) + "\n")


def add_up(tally: Path) -> int:
    """Seeds and simulated seconds of each commit, and of all; how many reached each rare path."""
    sums: dict[str, Counter[str]] = {}
    reached: Counter[str] = Counter()
    for text in tally.read_text().splitlines():
        line = json.loads(text)
        reached.update(line.get("probes", {}))
        for name in (line["commit"], "all"):
            found = sums.setdefault(name, Counter())
            found["seeds"] += line["seeds"]
            found["failed"] += len(line["failed"])
            found["simulated_s"] += line["simulated_s"]
            found["real_s"] += line["real_s"]
    for name in sorted(sums, key=lambda name: (name == "all", name)):
        found = sums[name]
        print(
            f"{name}: {found['seeds']} seeds, {found['failed']} failed, "
            f"{found['simulated_s']} simulated seconds in {found['real_s']:.0f} s"
        )
    for name in known_probes():
        print(f"{reached[name] or 'never':>8} {name}")
    return 0


# -- how much is executed


def count_lines(first: int, count: int) -> int:
    """A line for each folder: its lines in functions, and how many of them the seeds execute."""
    folders = tuple(
        ROOT / "src" / "automq" / name
        for name in ("metadata", "stream", "partition", "coordinator")
    )
    with seen_lines(folders) as seen:
        for seed in range(first, first + count):
            play(seed)
    all_seen = all_lines = replaced = 0
    for folder in folders:
        lines = {str(path): lines_of(path) for path in sorted(folder.rglob("*.py"))}
        executed = sum(len(lines[name] & seen.get(name, set())) for name in lines)
        total = sum(len(found) for found in lines.values())
        print(f"{folder.name}: {executed} of {total} lines, {executed * 100 // total} %")
        for name, found in lines.items():
            share = len(found & seen.get(name, set())) * 100 // max(len(found), 1)
            missed = " ".join(map(str, sorted(found - seen.get(name, set()))))
            print(f"  {share:3} % {Path(name).relative_to(folder)}{': ' if missed else ''}{missed}")
        all_seen += executed
        all_lines += total
        replaced += sum(len(found) for name, found in lines.items() if name.endswith(REPLACED))
    print(f"all: {all_seen} of {all_lines} lines, {all_seen * 100 // all_lines} %")
    rest = all_lines - replaced
    print(f"all but what has a twin: {all_seen} of {rest}, {all_seen * 100 // rest} %")
    return 0


# -- bugs put in on purpose


def find_bugs(first: int, count: int, words: list[str]) -> int:
    """How many seeds it takes to find each bug; 1 if one is not found."""
    missed = 0
    for name, patched in BUGS.items():
        if not all(word in name for word in words):
            continue
        found = "not found"
        for seed in seeds_for(name, first, count):
            with patched():
                result = play(seed, is_hasty=True)
            if not result.is_good:
                found = f"seed {seed}: {result.violations[0][:120]}"
                break
        else:
            missed += 1
        print(f"{name}: {found}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
