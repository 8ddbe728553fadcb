"""`python -m benches`: measure this broker beside Apache Kafka, and write the table."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import apache_kafka
from benches import RESULTS, ROOT, load, machine, table, workloads
from benches.brokers import BrokerFailed, Kind, Stand
from benches.figures import QUICK, STANDARD, THOROUGH, Effort, Part, Workload

FREE_BYTES_MIN = 25e9
BUSY_LOAD_AVERAGE = 0.5


class TooFull(Exception):
    """The disk is too full to measure on."""


def main() -> None:
    """Measure what the command line asks for. Exit status 1: a broker or a load failed; what could
    be measured is written all the same.
    """
    args = parse()
    if args.list:
        for workload in workloads.ALL:
            print(f"{workload.name:26} {workload.about}")
        return
    if (why := apache_kafka.why_unavailable()) is not None:
        sys.exit(f"benches: {why}")
    chosen = choose(args.only, args.part)
    effort = sized(args)
    args.dir.mkdir(parents=True, exist_ok=True)
    load.build()
    here = machine.describe(args.dir)
    if here.load_average > BUSY_LOAD_AVERAGE:
        say(f"the machine is busy (load average {here.load_average:.1f}): numbers will be off")
    stand = Stand(args.dir)
    results = table.Results()
    stem = RESULTS / name_of(here, args.only or args.part, is_quick=args.quick)
    failed = []
    try:
        for workload in sorted(chosen, key=lambda workload: workload.is_warm):
            kinds = tuple(kind for kind in workload.kinds if kind in args.brokers)
            try:
                measure(replace(workload, kinds=kinds), stand, effort, results, rounds=args.rounds)
            except (load.LoadFailed, BrokerFailed, apache_kafka.Unavailable) as failure:
                # What was measured of it is no result. The others begin with new brokers.
                say(f"{workload.name} failed: {failure}")
                failed.append(workload.name)
                results.rounds.pop(workload.name, None)
                stand.close()
            write(stem, results, chosen, here, effort)
    except TooFull as failure:
        sys.exit(f"benches: {failure}")
    finally:
        stand.close()
    print(table.to_markdown(results, chosen, here, effort))
    say(f"written to {stem}.md and .json")
    if failed:
        sys.exit(f"benches: not measured, see above: {', '.join(failed)}")


def measure(
    workload: Workload, stand: Stand, effort: Effort, results: table.Results, *, rounds: int
) -> None:
    """Warm up, then the rounds; each round has every broker, the first one last the next time."""
    if workload.is_warm:
        for kind in workload.kinds:
            say(f"{workload.name}: {kind.label} warms up")
            settle(stand)
            workload.measure(stand, kind, effort.warming_up())
    for number in range(rounds):
        turn = number % max(1, len(workload.kinds))
        for kind in (*workload.kinds[turn:], *workload.kinds[:turn]):
            settle(stand)
            started_s = time.monotonic()
            numbers = workload.measure(stand, kind, effort)
            results.add(workload.name, kind, numbers)
            took_s = time.monotonic() - started_s
            found = ", ".join(f"{name} {table.short(n)}" for name, n in numbers.items())
            say(f"{workload.name}: round {number + 1}, {kind.label}: {found} ({took_s:.0f} s)")


def settle(stand: Stand) -> None:
    """Let the kernel write what others have left, so that nobody pays for it. Raises TooFull."""
    os.sync()
    free_bytes = shutil.disk_usage(stand.directory).free
    if free_bytes < FREE_BYTES_MIN:
        need = f"{FREE_BYTES_MIN / 1e9:.0f} GB are needed"
        raise TooFull(f"{free_bytes / 1e9:.1f} GB are free in {stand.directory}, {need}")


def write(
    stem: Path,
    results: table.Results,
    chosen: Sequence[Workload],
    here: machine.Machine,
    effort: Effort,
) -> None:
    """Write what there is so far: a run that is interrupted leaves what it has measured."""
    stem.parent.mkdir(exist_ok=True)
    stem.with_suffix(".json").write_text(table.to_json(results, chosen, here, effort))
    stem.with_suffix(".md").write_text(table.to_markdown(results, chosen, here, effort))


def choose(only: str, part: Part) -> tuple[Workload, ...]:
    """The workloads that were named, or those of the part; a name may begin several."""
    names = [name for name in only.split(",") if name]
    if not names:
        return tuple(w for w in workloads.ALL if w.part is part)
    for name in names:
        if not any(workload.name.startswith(name) for workload in workloads.ALL):
            known = ", ".join(workload.name for workload in workloads.ALL)
            sys.exit(f"benches: there is no workload {name}; there are {known}")
    return tuple(w for w in workloads.ALL if w.name.startswith(tuple(names)))


def sized(args: argparse.Namespace) -> Effort:
    """How long and how much, by the command line."""
    effort = QUICK if args.quick else THOROUGH if args.thorough else STANDARD
    if args.seconds is not None:
        effort = replace(effort, seconds=args.seconds)
    if args.warm_up_s is not None:
        effort = replace(effort, warm_up_s=args.warm_up_s)
    return effort


def name_of(here: machine.Machine, only: str, *, is_quick: bool) -> str:
    """The file name of the results: they are sorted by time, and say what is not complete."""
    minute = here.date[:16].replace("T", "-").replace(":", "")
    what = "some" if "," in only else only
    parts = [minute, here.commit.replace("+", "-changed"), what]
    return "-".join(part for part in (*parts, "quick" if is_quick else "") if part)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--only", default="", help="names of workloads, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help=f"of a measurement ({STANDARD.seconds:g})")
    parser.add_argument(
        "--warm-up-s", type=float, help=f"before the rounds ({STANDARD.warm_up_s:g})"
    )
    parser.add_argument("--quick", action="store_true", help="small and short: does it run?")
    parser.add_argument("--thorough", action="store_true", help="larger and longer: hours")
    parser.add_argument(
        "--part", type=Part, choices=list(Part), default=Part.PEER, help="which table to measure"
    )
    parser.add_argument(
        "--brokers", nargs="+", type=Kind, default=list(Kind), help="automq kafka kafka-sync"
    )
    parser.add_argument("--list", action="store_true", help="list the workloads")
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "target" / "benches", help="where the brokers' data go"
    )
    args = parser.parse_args()
    args.dir = args.dir.absolute()
    return args


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
