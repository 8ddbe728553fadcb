"""What a process has used so far, from /proc."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the command, which may hold spaces.
USER_TICKS, SYSTEM_TICKS = 11, 12
QUIET_SHARE = 0.05
QUIET_WINDOW_S = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """User and system time since the process began, and when that was read."""

    cpu_s: float
    at_s: float


def usage(pid: int) -> Usage:
    """The CPU time of a process and of its children, to 10 ms."""
    cpu_s = sum(_cpu_s(member) for member in _family(pid))
    return Usage(cpu_s=cpu_s, at_s=time.monotonic())


def memory_mib(pid: int) -> float:
    """Resident memory (VmRSS): what is mapped from files counts, the page cache does not."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has no memory any more")


def cpu_share(pid: int, window_s: float) -> float:
    """How much of one core it uses over the next `window_s`: 1.0 is all of it."""
    before = usage(pid)
    time.sleep(window_s)
    after = usage(pid)
    return (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)


def wait_until_quiet(pid: int, *, at_most_s: float) -> None:
    """Return when the process does next to nothing, or the time is over."""
    ends_at_s = time.monotonic() + at_most_s
    while time.monotonic() < ends_at_s and cpu_share(pid, QUIET_WINDOW_S) > QUIET_SHARE:
        pass


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / TICKS_PER_S


def _family(pid: int) -> list[int]:
    members = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            members += _family(int(child))
    return members
