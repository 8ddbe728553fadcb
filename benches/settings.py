"""`python -m benches.settings WORKLOAD KEY=VALUE[,KEY=VALUE] ...`: this broker beside itself.

One broker with its defaults and one with each of the given settings, all started before the first
measurement; they are measured in turn, and each round another one begins. Printed are the medians
of each figure, with ranges. Only workloads on warm brokers.
"""

import argparse
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from benches import ROOT, load, workloads
from benches.brokers import Kind, Stand
from benches.figures import STANDARD, Workload

DEFAULTS = "defaults"

Rounds = dict[str, dict[str, list[float]]]
"""By figure, by settings."""


def compare(workload: Workload, variants: list[str], rounds: int, seconds: float) -> Rounds:
    """Measure the workload with each of the variants, in turn."""
    directory = ROOT / "target" / "benches" / "settings"
    found: Rounds = defaultdict(lambda: defaultdict(list))
    effort = replace(STANDARD, seconds=seconds)
    with ExitStack() as ends:
        stands: dict[str, Stand] = {}
        for number, variant in enumerate(variants):
            settings = () if variant == DEFAULTS else tuple(variant.split(","))
            stands[variant] = Stand(directory / str(number), settings)
            ends.callback(stands[variant].close)
            workload.measure(stands[variant], Kind.AUTOMQ, effort.warming_up())
        for number in range(rounds):
            first = number % len(variants)
            for variant in variants[first:] + variants[:first]:
                numbers = workload.measure(stands[variant], Kind.AUTOMQ, effort)
                for figure, value in numbers.items():
                    found[figure][variant].append(value)
    return found


def main() -> None:
    warm = {workload.name: workload for workload in workloads.ALL if workload.is_warm}
    parser = argparse.ArgumentParser(prog="python -m benches.settings", description=__doc__)
    parser.add_argument("workload", choices=warm)
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE[,KEY=VALUE]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    load.build()
    variants = [DEFAULTS, *args.settings]
    found = compare(warm[args.workload], variants, args.rounds, args.seconds)
    for figure, by_variant in found.items():
        print(f"{args.workload}: {figure}")
        for variant, values in by_variant.items():
            print(f"  {median(values):10.3f}  {min(values):.3f} to {max(values):.3f}  {variant}")


if __name__ == "__main__":
    main()
