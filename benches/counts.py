"""`python -m benches.counts`: how many instructions fixed native work takes, beside what is kept.

Times depend on the machine and on its neighbours; instructions, counted by callgrind, repeat, so
that a change of a few per cent is seen. The work is that of `benches.counted`. What is kept lies in
`benches/counts.json`: a change that means to add instructions writes it anew with `--keep`, and the
review sees by how much. Exit status 1 when something takes over 5 % more than what is kept.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benches import ROOT
from benches.counted import TIMES, WINDOWS
from benches.machine import first_line

KEPT = ROOT / "benches" / "counts.json"
CHANGE_MAX = 0.05
OUT = "counted"
MARK = "getppid"


class CountingFailed(Exception):
    """Callgrind could not count; the message says why."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of one execution by the name of the work, and what counted them."""

    python: str
    rust: str
    valgrind: str
    instructions: dict[str, int]


def count() -> Counts:
    """Run all of it once under callgrind. Raises CountingFailed."""
    if shutil.which("valgrind") is None:
        raise CountingFailed("valgrind is not installed")
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / OUT
        names = run(out)
        dumps = range(1, (1 + WINDOWS) * len(names) + 1)
        totals = [total(out.with_suffix(f".{number}")) for number in dumps]
    took = dict(zip(names, least(totals), strict=True))
    return Counts(
        python=sys.version.split()[0],
        rust=first_line(["rustc", "--version"]),
        valgrind=first_line(["valgrind", "--version"]),
        instructions={name: instructions // TIMES for name, instructions in took.items()},
    )


def least(totals: Sequence[int]) -> list[int]:
    """For each piece of work the least of its windows; before them is what lies between two."""
    step = 1 + WINDOWS
    return [min(totals[at + 1 : at + step]) for at in range(0, len(totals), step)]


def run(out: Path) -> list[str]:
    """The names of the work that was done, in order; the counters are beside `out`, numbered."""
    command = [
        *("valgrind", "--tool=callgrind", f"--dump-before={MARK}", "--read-inline-info=no"),
        *(f"--callgrind-out-file={out}", sys.executable, "-m", "benches.counted"),
    ]
    # The order of a set, and with it the count, must not change from run to run.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CountingFailed(f"{' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout.splitlines()


def total(path: Path) -> int:
    for line in path.read_text().splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise CountingFailed(f"{path.name} has no line totals:, is this callgrind's?")


def compare(kept: Mapping[str, int], now: Mapping[str, int]) -> Iterator[str]:
    """A line for each piece of work that changed by more than `CHANGE_MAX`, came, or went."""
    for name in dict.fromkeys((*kept, *now)):
        if name not in now:
            yield f"{name}: is not counted any more, {kept[name]:,} before"
        elif name not in kept:
            yield f"{name}: {now[name]:,}, not counted before"
        elif abs(share := change(kept[name], now[name])) > CHANGE_MAX:
            yield f"{name}: {share:+.1%}, {kept[name]:,} before, {now[name]:,} now"


def change(before: int, after: int) -> float:
    """By which part of `before` it grew; negative when it shrank."""
    return after / before - 1 if before else float(after > 0)


def grew(kept: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Whether anything that was counted before takes more than `CHANGE_MAX` more."""
    return any(change(kept[name], now[name]) > CHANGE_MAX for name in kept if name in now)


def read_kept() -> Counts:
    content = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return Counts(
        python=content.get("python", "?"),
        rust=content.get("rust", "?"),
        valgrind=content.get("valgrind", "?"),
        instructions=content.get("instructions", {}),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.counts", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write benches/counts.json anew")
    parser.add_argument("--all", action="store_true", help="print every count")
    args = parser.parse_args()
    kept = read_kept()
    try:
        now = count()
    except CountingFailed as failure:
        sys.exit(f"counts: {failure}")
    for name, instructions in now.instructions.items() if args.all else ():
        print(f"{instructions:12,}  {name}")
    for what in ("python", "rust", "valgrind"):
        if getattr(kept, what) != getattr(now, what):
            print(f"{what}: kept with {getattr(kept, what)}, counted with {getattr(now, what)}")
    for line in compare(kept.instructions, now.instructions):
        print(line)
    if args.keep:
        KEPT.write_text(json.dumps(asdict(now), indent=1) + "\n")
    elif grew(kept.instructions, now.instructions):
        sys.exit(f"counts: more than {CHANGE_MAX:.0%} was added; --keep if that is meant")


if __name__ == "__main__":
    main()
