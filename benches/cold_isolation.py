"""Whether old reads hurt new writes: `python -m benches.cold_isolation`.

A producer sends at a steady rate and a reader follows it, while 8 consumers read a backlog that is
only in objects, at full speed. Phases of one run take turns:

* `alone`: nobody reads the backlog.
* `burning`: a process beside the broker asks it for nothing, and burns as much of a core as the
  consumers took for themselves in the phases before (a whole one with `--burnt-core`). What they
  cost by that on a machine of two cores is no work of the broker's.
* `cold`: the 8 consumers read, in one native process.

What the broker adds is cold beside burning; what a user of such a machine sees is cold beside
alone. `--nice` gives the consumers and the burning process only what nobody else wants of the
cores; `--cold-mb-s` holds the consumers to a rate, as those on other machines are by their network.
Goal: p99 of acknowledgements and of the tail reader grow by less than a fifth.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benches import ROOT, load, stores
from benches.brokers import Automq
from benches.load import Report
from benches.process import usage
from benches.workloads import steps

READERS = 8
LIVE, OLD = "live", "old"
LEAD_S, WARM_UP_S = 0.5, 1.0
LINGER_MS = 5
GOAL_PERCENT = 20.0
BURN = """
import sys, time
share, slice_s = float(sys.argv[1]), 0.005
while True:
    ends_s = time.monotonic() + slice_s * share
    while time.monotonic() < ends_s:
        pass
    if share < 1:
        time.sleep(slice_s * (1 - share))
"""
FIGURES = ("ack_p50_us", "ack_p99_us", "end_to_end_p50_us", "end_to_end_p99_us")


@dataclass(slots=True)
class Phase:
    """What was measured in the rounds of one phase."""

    latency: list[Report] = field(default_factory=list)
    cpu_share: list[float] = field(default_factory=list)
    cold_mb_per_s: list[float] = field(default_factory=list)
    client_share: list[float] = field(default_factory=list)
    """Of a core: what the cold consumers took for themselves."""

    def ms(self, name: str) -> float:
        """The median of the rounds."""
        return median(report[name] for report in self.latency) / 1e3


def main() -> None:
    args = parse()
    load.build()
    load_average = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(dir=args.dir) as name,
        stores.of(args.store, Path(name)) as place,
    ):
        broker = Automq(Path(name) / "node", *place.settings)
        broker.start()
        try:
            prepare(broker, args.backlog_gb)
            phases = measure(broker, args)
        finally:
            broker.kill()
            shutil.rmtree(broker.directory, ignore_errors=True)
    show(phases, args, load_average)


def prepare(broker: Automq, backlog_gb: float) -> None:
    """A backlog that no memory of the broker holds, and the topic that is written to."""
    load.run("create", broker.bootstrap, OLD, partitions=READERS)
    steps.produce_backlog(broker, OLD, backlog_gb * steps.GB, partitions=READERS)
    broker.stop()
    broker.start()
    load.run("create", broker.bootstrap, LIVE, partitions=steps.PARTITIONS)


def measure(broker: Automq, args: argparse.Namespace) -> dict[str, Phase]:
    """The rounds; each begins with another phase."""
    names = ["alone", "burning", "cold"]
    phases = {name: Phase() for name in names}
    one_round(broker, "alone", Phase(), args)
    if not args.burnt_core:
        learned = Phase()
        one_round(broker, "cold", learned, args)
        args.burnt_share = min(1.0, median(learned.client_share))
    for number in range(args.rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            one_round(broker, name, phases[name], args)
            say(name, phases[name])
    return phases


def one_round(broker: Automq, name: str, phase: Phase, args: argparse.Namespace) -> None:
    with disturbed(broker, name, args) as (beside, finish):
        time.sleep(LEAD_S)
        before = usage(broker.pid)
        clients = usage(beside.pid) if beside else None
        report = load.run(
            "latency",
            broker.bootstrap,
            LIVE,
            partitions=steps.PARTITIONS,
            rate=args.rate,
            linger_ms=LINGER_MS,
            record_bytes=steps.RECORD_BYTES,
            warmup_s=WARM_UP_S,
            seconds=args.seconds,
        )
        after = usage(broker.pid)
        if name == "cold" and beside and clients:
            taken = usage(beside.pid)
            phase.client_share.append((taken.cpu_s - clients.cpu_s) / (taken.at_s - clients.at_s))
            if not args.burnt_core:
                args.burnt_share = min(1.0, median(phase.client_share))
        cold = finish()
    phase.latency.append(report)
    phase.cpu_share.append((after.cpu_s - before.cpu_s) / (after.at_s - before.at_s))
    if cold is not None:
        payload_bytes = cold["records"] * steps.RECORD_BYTES
        phase.cold_mb_per_s.append(payload_bytes / cold["seconds"] / steps.MB)


@contextmanager
def disturbed(
    broker: Automq, name: str, args: argparse.Namespace
) -> Iterator[tuple["subprocess.Popen[str] | None", Callable[[], Report | None]]]:
    """What goes on beside it; the call ends it, with what the cold consumers have to say."""
    if name == "alone":
        yield None, lambda: None
        return
    words = [sys.executable, "-c", BURN, f"{args.burnt_share}"]
    if name == "cold":
        words = cold_readers(broker, args)
    if args.nice:
        words = ["nice", "-n", "19", *words]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:

        def finish() -> Report | None:
            if name != "cold":
                return None
            out, _ = process.communicate()
            if process.returncode != 0:
                raise load.LoadFailed(f"the cold consumers ended with {process.returncode}")
            return load.last_report(out)

        try:
            yield process, finish
        finally:
            process.kill()


def cold_readers(broker: Automq, args: argparse.Namespace) -> list[str]:
    """The command of the consumers; it goes on a little longer than what is measured."""
    options: dict[str, object] = {"seconds": 2 * LEAD_S + WARM_UP_S + args.seconds + 1}
    if args.cold_mb_s is not None:
        options["mb_s"] = args.cold_mb_s
    return load.command(
        "fetch", broker.bootstrap, OLD, partitions=READERS, connections=READERS, **options
    )


def say(name: str, phase: Phase) -> None:
    latency = phase.latency[-1]
    figures = ", ".join(f"{it[:-3]} {latency[it] / 1e3:.2f} ms" for it in FIGURES)
    cold = f", cold {phase.cold_mb_per_s[-1]:.0f} MB/s" if phase.cold_mb_per_s else ""
    line = f"{name}: {figures}, broker {phase.cpu_share[-1] * 100:.0f} % of a core{cold}"
    print(line, file=sys.stderr, flush=True)


def show(phases: dict[str, Phase], args: argparse.Namespace, load_average: float) -> None:
    cold = phases["cold"]
    print(
        f"{args.store}, {args.rounds} rounds of {args.seconds:g} s, {args.rate} records of 1 KiB a "
        f"second, linger {LINGER_MS} ms; {READERS} cold consumers"
        f"{' (nice 19)' if args.nice else ''} got {median(cold.cold_mb_per_s):.0f} MB/s; "
        f"load average {load_average:.1f} before\n"
    )
    burnt = f"{args.burnt_share * 100:.0f} % of a core burnt"
    print(f"| ms, medians | alone | {burnt} | cold | beside alone | beside burning |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in FIGURES:
        alone, burning, busy = (phases[it].ms(name) for it in ("alone", "burning", "cold"))
        beside = [f"{(busy / it - 1) * 100:+.0f} %" for it in (alone, burning)]
        title = name.removesuffix("_us").replace("_", " ")
        print(f"| {title} | {alone:.2f} | {burning:.2f} | {busy:.2f} | {' | '.join(beside)} |")
    cores = (f"{median(phase.cpu_share) * 100:.0f} %" for phase in phases.values())
    print(f"| broker, of a core | {' | '.join(cores)} | | |")
    print(f"\nGoal: p99 grows by less than {GOAL_PERCENT:.0f} %.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.cold_isolation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a phase")
    parser.add_argument("--rate", type=int, default=10_000, help="records a second")
    parser.add_argument("--backlog-gb", type=float, default=2.0)
    parser.add_argument("--nice", action="store_true", help="what disturbs runs at nice 19")
    parser.add_argument("--burnt-core", action="store_true", help="burn a whole core")
    parser.set_defaults(burnt_share=1.0)
    parser.add_argument("--cold-mb-s", type=float, help="all cold consumers together, at most")
    parser.add_argument("--store", choices=stores.KINDS, default="directory")
    parser.add_argument("--dir", type=Path, default=ROOT / "target", help="where the data go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
