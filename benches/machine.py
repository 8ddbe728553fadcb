"""Where, when and on what something was measured."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from xml.etree import ElementTree

import confluent_kafka

import automq
from apache_kafka import JAVA_SOURCES
from benches import ROOT

SYNCS = 100
SYNC_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader needs to know to judge or to repeat a number."""

    date: str
    commit: str
    automq: str
    kafka: str
    java: str
    python: str
    librdkafka: str
    kernel: str
    processor: str
    cores: int
    memory_gib: float
    file_system: str
    sync_ms: float
    load_average: float


def describe(directory: Path) -> Machine:
    """This machine, this checkout, and the disk that holds `directory`."""
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(),
        automq=automq.__version__,
        kafka=kafka_version(),
        java=first_line(["java", "-version"]),
        python=platform.python_version(),
        librdkafka=confluent_kafka.libversion()[0],
        kernel=platform.release(),
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        file_system=file_system(directory),
        sync_ms=sync_ms(directory),
        load_average=os.getloadavg()[0],
    )


def commit() -> str:
    """The commit of the checkout, with a `+` when files differ from it."""
    name = first_line(["git", "rev-parse", "--short", "HEAD"])
    changed = first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return f"{name}+" if changed else name


def kafka_version() -> str:
    """Apache Kafka's, as its pom.xml asks for it."""
    path = JAVA_SOURCES / "pom.xml"
    for element in ElementTree.parse(path).iter():
        if element.tag.endswith("}kafka.version"):
            return element.text or ""
    raise ValueError(f"{path} has no property kafka.version")


def first_line(words: list[str]) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def file_system(directory: Path) -> str:
    """The type of the file system that holds the directory."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        holds = directory.resolve().is_relative_to(mount)
        if holds and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def sync_ms(directory: Path) -> float:
    """The median time of appending 4 KiB to a file there and fdatasync."""
    path = directory / "sync"
    took_ms = []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            started_ns = time.perf_counter_ns()
            file.write(bytes(SYNC_BYTES))
            os.fdatasync(file.fileno())
            took_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
    path.unlink()
    return median(took_ms)
