"""`python -m benches.profiled WORKLOAD`: where this broker's CPU time goes during a workload.

The broker runs as in `make bench`; after a warm-up `perf` samples it while the workload is
measured. Printed are the shares by thread, by library and by function, native and of the kernel
(functions in Python are the interpreter's). Only workloads on warm brokers. Needs `perf`, and the
right to use it (root, or `kernel.perf_event_paranoid` of 1).
"""

import argparse
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benches import ROOT, load, workloads
from benches.brokers import Kind, Stand
from benches.figures import STANDARD, Workload

SAMPLES_PER_S = 499
VIEWS = {"threads": "comm", "libraries": "dso", "functions": "dso,symbol"}
LINES_MAX = 25


class ProfilingFailed(Exception):
    """Perf could not do its work; the message is its own."""


def profile(workload: Workload, directory: Path, seconds: float) -> str:
    """Measure the workload once under perf; the three views, the largest shares first."""
    data = directory / "perf.data"
    stand = Stand(directory)
    effort = replace(STANDARD, seconds=seconds)
    try:
        workload.measure(stand, Kind.AUTOMQ, effort.warming_up())
        pid = stand.staying(Kind.AUTOMQ).pid
        recorder = subprocess.Popen(
            [
                "perf",
                "record",
                "-e",
                "cpu-clock",
                "-F",
                f"{SAMPLES_PER_S}",
                "-p",
                f"{pid}",
                "-o",
                data,
            ],
            stderr=subprocess.PIPE,
        )
        try:
            workload.measure(stand, Kind.AUTOMQ, effort)
        finally:
            recorder.send_signal(signal.SIGINT)
            _, words = recorder.communicate()
    finally:
        stand.close()
    if not data.exists():
        raise ProfilingFailed(words.decode())
    return "\n\n".join(f"{name}:\n{view(data, keys)}" for name, keys in VIEWS.items())


def view(data: Path, keys: str) -> str:
    """The shares by these keys, as perf prints them."""
    command = ["perf", "report", "--stdio", "--no-children", "-g", "none", "--sort", keys]
    done = subprocess.run([*command, "-i", str(data)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProfilingFailed(done.stderr)
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    return "\n".join(lines[:LINES_MAX])


def main() -> None:
    warm = {workload.name: workload for workload in workloads.ALL if workload.is_warm}
    parser = argparse.ArgumentParser(prog="python -m benches.profiled", description=__doc__)
    parser.add_argument("workload", choices=warm)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    if shutil.which("perf") is None:
        sys.exit("profiled: perf is not installed")
    directory = ROOT / "target" / "benches" / "profiled"
    directory.mkdir(parents=True, exist_ok=True)
    load.build()
    try:
        print(profile(warm[args.workload], directory, args.seconds))
    except ProfilingFailed as failure:
        sys.exit(f"profiled: {failure}")


if __name__ == "__main__":
    main()
