"""`automq-load` (rust/load), the native generator: built once, run as a process for each load."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benches import ROOT

Report = dict[str, float]


class LoadFailed(Exception):
    """The load was not done, or not done right; the message says why."""


def build() -> None:
    """Build the generator; quick when nothing has changed."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "automq-load"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(done.stderr)


def path() -> Path:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "automq-load"


def command(name: str, bootstrap: str, topic: str, **options: object) -> list[str]:
    """The command line of a load; an option's `_` is a `-` there."""
    words = [str(path()), name, "--bootstrap", bootstrap, "--topic", topic]
    for option, value in options.items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    return words


def run(name: str, bootstrap: str, topic: str, **options: object) -> Report:
    """Run a load to its end; its total."""
    return finish(command(name, bootstrap, topic, **options))


def finish(words: list[str]) -> Report:
    """Run a command that prints reports as lines of JSON; the last one."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(f"{' '.join(words)}\n{done.stderr.strip()}")
    return last_report(done.stdout)


def finish_all(commands: list[list[str]]) -> list[Report]:
    """Run several commands at once; the last report of each."""
    with ThreadPoolExecutor(len(commands)) as threads:
        return list(threads.map(finish, commands))


def last_report(text: str) -> Report:
    report = json.loads(text.splitlines()[-1])
    return {str(name): float(value) for name, value in report.items()}
