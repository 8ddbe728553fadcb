"""`python -m benches.soak`: this broker at full speed, or a share of it, with a reader, for long.

Beside them a topic of many partitions is written slowly: a few kilobytes of each come into every
object, so there is something to merge all the time.

Every few seconds: memory, CPU, throughput, the latency of acknowledgements, how far the reader is
behind, the size of the data on disk. At the end the broker must have stayed within its memory
budgets, must not have grown after the first quarter, and must have handed every record to the
reader in order. With `--rate-mb-s`, or with `--share` of what the broker can do here, the latencies
count from when a request was due. A picture of the run is beside its numbers (`.svg`).
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from apache_kafka import free_ports
from benches import RESULTS, ROOT, load, machine, svg
from benches.brokers import Automq, BrokerFailed, throw_away
from benches.plot import parts, picture
from benches.process import memory_mib, usage
from benches.workloads.steps import MB, PARTITIONS, RECORD_BYTES, RECORDS_IN_16_KIB

TOPIC = "soak"
CONNECTIONS = 2
MIB = 2**20
LOG_CACHE_MIB, BLOCK_CACHE_MIB = 256, 128
# What a broker may take beside its two caches.
BESIDE_MIB = 100
BUDGET_MIB = LOG_CACHE_MIB + BLOCK_CACHE_MIB + BESIDE_MIB
GROWTH_MAX = 1.05
# So that old data leave while new ones come, and a reader that is behind still finds its place.
RETENTION_BYTES, SEGMENT_BYTES = 2**30, 64 * MIB
SETTINGS = (
    f"automq.log.cache.bytes={LOG_CACHE_MIB * MIB}",
    f"automq.block.cache.bytes={BLOCK_CACHE_MIB * MIB}",
    "automq.object.retention.grace.ms=10000",
    "log.retention.check.interval.ms=10000",
)
SHAPE = {
    "connections": CONNECTIONS,
    "batch_records": RECORDS_IN_16_KIB,
    "record_bytes": RECORD_BYTES,
}
PROBE_TOPIC = "probe"
PROBE_S = 20.0
SLOW_TOPIC, SLOW_PARTITIONS, SLOW_MB_S = "slow", 60, 2.0
UPLOADS, MERGES = "automq_upload_objects_total", "automq_object_compaction_merges_total"


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment, or since the one before."""

    at_s: float
    memory_mib: float
    cpu_percent: float
    mb_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    lag_records: float
    disk_mib: float
    uploads: float
    merges: float


@dataclass(frozen=True, slots=True)
class Loads:
    """The producer, the reader, and who writes slowly; a line of JSON each at every interval."""

    producer: subprocess.Popen[bytes]
    reader: subprocess.Popen[bytes]
    slow: subprocess.Popen[bytes]
    directory: Path

    def latest(self, name: str) -> load.Report:
        lines = (self.directory / f"{name}.jsonl").read_text().splitlines()
        return load.last_report(lines[-1]) if lines else {}

    def check(self) -> None:
        """Raises LoadFailed if one of them ended with an error."""
        for name, process in self.processes.items():
            if process.poll():
                why = (self.directory / f"{name}.err").read_text()
                raise load.LoadFailed(f"the {name} ended: {why}")

    @property
    def processes(self) -> dict[str, subprocess.Popen[bytes]]:
        return {"producer": self.producer, "reader": self.reader, "slow producer": self.slow}

    def are_running(self) -> bool:
        return self.producer.poll() is None


def main() -> None:
    """Run, write and show; exit status 1 if the broker grew or a load failed."""
    args = parse()
    load.build()
    directory = args.dir.absolute() / "soak"
    metrics = f"127.0.0.1:{free_ports(1)[0]}"
    broker = Automq(directory, *SETTINGS, f"automq.metrics.listener={metrics}")
    broker.prepare()
    samples: list[Sample] = []
    try:
        broker.start()
        here = machine.describe(directory)
        rate_mb_s = args.rate_mb_s
        if args.share is not None:
            rate_mb_s = args.share * full_speed_mb_s(broker)
            print(f"{args.share:.0%} of full speed: {rate_mb_s:.1f} MB/s", flush=True)
        load.run("create", broker.bootstrap, TOPIC, partitions=PARTITIONS, configs=topic_configs())
        load.run("create", broker.bootstrap, SLOW_TOPIC, partitions=SLOW_PARTITIONS)
        with loads(broker, args, rate_mb_s) as running:
            for sample in watch(broker, metrics, running, args.every_s):
                samples.append(sample)
                print(line(sample), flush=True)
            running.check()
        broker.stop()
    except (load.LoadFailed, BrokerFailed) as failure:
        sys.exit(f"soak: {failure}\n{pictures(samples)}")
    finally:
        throw_away(broker)
    faults = judge(samples)
    stem = RESULTS / f"{here.date[:16].replace('T', '-').replace(':', '')}-{here.commit}-soak"
    write(stem, samples, here, faults, rate_mb_s)
    print(pictures(samples))
    sys.exit("\n".join(f"soak: {fault}" for fault in faults) or 0)


def full_speed_mb_s(broker: Automq) -> float:
    """What the same producer gets acknowledged when it does not wait; after as long a warm-up."""
    words = {"partitions": PARTITIONS, "seconds": PROBE_S, **SHAPE}
    load.run("create", broker.bootstrap, PROBE_TOPIC, partitions=PARTITIONS)
    reports = [load.run("produce", broker.bootstrap, PROBE_TOPIC, **words) for _ in range(2)]
    load.run("delete", broker.bootstrap, PROBE_TOPIC)
    return reports[-1]["payload_bytes"] / reports[-1]["seconds"] / MB


@contextmanager
def loads(broker: Automq, args: argparse.Namespace, rate_mb_s: float | None) -> Iterator[Loads]:
    """Producers and reader for the time of a `with` block."""
    bootstrap = broker.bootstrap
    timing = {"seconds": args.minutes * 60, "every_s": args.every_s}
    fast = {"partitions": PARTITIONS, **timing}
    slow = {"partitions": SLOW_PARTITIONS, "rate": batches_per_s(SLOW_MB_S), **timing}
    rate = {} if rate_mb_s is None else {"rate": batches_per_s(rate_mb_s)}
    fetch = load.command("fetch", bootstrap, TOPIC, follow=1, **fast)
    produce = load.command("produce", bootstrap, TOPIC, **SHAPE, **fast, **rate)
    trickle = load.command("produce", bootstrap, SLOW_TOPIC, **SHAPE, **slow)
    reader = start(fetch, broker.directory, "reader")
    slowly = start(trickle, broker.directory, "slow producer")
    producer = start(produce, broker.directory, "producer")
    running = Loads(producer, reader, slowly, broker.directory)
    try:
        yield running
        for process in running.processes.values():
            process.wait()
    finally:
        for process in running.processes.values():
            process.kill()
            process.wait()


def batches_per_s(mb_per_s: float) -> float:
    return mb_per_s * MB / (RECORDS_IN_16_KIB * RECORD_BYTES)


def start(words: list[str], directory: Path, name: str) -> subprocess.Popen[bytes]:
    out, err = directory / f"{name}.jsonl", directory / f"{name}.err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        return subprocess.Popen(words, stdout=stdout, stderr=stderr)


def watch(broker: Automq, metrics: str, running: Loads, every_s: float) -> Iterator[Sample]:
    """A sample at every interval while the loads run."""
    started_s = time.monotonic()
    before = usage(broker.pid)
    while running.are_running():
        time.sleep(every_s)
        running.check()
        produced, read = running.latest("producer"), running.latest("reader")
        if "at_s" not in produced or not running.are_running():
            continue
        now = usage(broker.pid)
        counted = counters(metrics)
        yield Sample(
            at_s=now.at_s - started_s,
            memory_mib=memory_mib(broker.pid),
            cpu_percent=(now.cpu_s - before.cpu_s) / (now.at_s - before.at_s) * 100,
            mb_per_s=produced["payload_bytes"] / produced["seconds"] / MB,
            p50_ms=produced["ack_p50_us"] / 1e3,
            p99_ms=produced["ack_p99_us"] / 1e3,
            p999_ms=produced["ack_p999_us"] / 1e3,
            lag_records=read.get("lag_records", 0.0),
            disk_mib=disk_mib(broker.directory / "data"),
            uploads=counted.get(UPLOADS, 0.0),
            merges=counted.get(MERGES, 0.0),
        )
        before = now


def counters(metrics: str) -> dict[str, float]:
    """The broker's own metrics that have no labels, by name."""
    with urllib.request.urlopen(f"http://{metrics}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#") and "{" not in line)
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2}


def judge(samples: list[Sample]) -> list[str]:
    """What is wrong with them, one line each."""
    if len(samples) < 4:
        return ["too short to say anything: fewer than four samples"]
    faults = []
    highest = max(sample.memory_mib for sample in samples)
    if highest > BUDGET_MIB:
        faults.append(f"memory reached {highest:.0f} MiB, the budget is {BUDGET_MIB} MiB")
    _, second, _, last = (
        median(sample.memory_mib for sample in quarter) for quarter in parts(samples, 4)
    )
    if last > second * GROWTH_MAX:
        faults.append(f"memory grew from {second:.0f} MiB in the second quarter to {last:.0f} MiB")
    return faults


def topic_configs() -> str:
    return f"retention.bytes={RETENTION_BYTES},segment.bytes={SEGMENT_BYTES}"


def disk_mib(directory: Path) -> float:
    """What the files take that the broker holds, those that vanish meanwhile aside."""
    taken_bytes = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                taken_bytes += os.stat(f"{folder}/{name}").st_blocks * 512
            except FileNotFoundError:
                continue
    return taken_bytes / MIB


def line(sample: Sample) -> str:
    return (
        f"{sample.at_s:7.0f} s  {sample.mb_per_s:7.1f} MB/s  RSS {sample.memory_mib:6.0f} MiB  "
        f"CPU {sample.cpu_percent:4.0f} %  p99 {sample.p99_ms:7.2f} ms  "
        f"behind {sample.lag_records:9,.0f}  disk {sample.disk_mib:8,.0f} MiB"
    )


def pictures(samples: list[Sample]) -> str:
    series = (
        ("RSS MiB", [sample.memory_mib for sample in samples]),
        ("CPU %", [sample.cpu_percent for sample in samples]),
        ("MB/s", [sample.mb_per_s for sample in samples]),
        ("acknowledged p99 ms", [sample.p99_ms for sample in samples]),
        ("acknowledged p99.9 ms", [sample.p999_ms for sample in samples]),
        ("reader behind, records", [sample.lag_records for sample in samples]),
        ("disk MiB", [sample.disk_mib for sample in samples]),
    )
    return "\n\n".join(picture(title, numbers) for title, numbers in series)


def drawn(samples: list[Sample], here: machine.Machine, rate_mb_s: float | None) -> str:
    """The run as an SVG: latency, memory with its budget, throughput, what ran beside it."""

    def column(name: str) -> list[float]:
        return [getattr(sample, name) for sample in samples]

    speed = "full speed" if rate_mb_s is None else f"{rate_mb_s:.0f} MB/s"
    panels = (
        svg.Panel("acknowledged, ms", (("p99.9", column("p999_ms")), ("p99", column("p99_ms")))),
        svg.Panel("RSS, MiB (dashed: its budget)", (("", column("memory_mib")),), BUDGET_MIB),
        svg.Panel("MB/s acknowledged", (("", column("mb_per_s")),)),
        svg.Panel(
            "so far", (("objects uploaded", column("uploads")), ("merges", column("merges")))
        ),
    )
    title = f"automq {here.automq} ({here.commit}) at {speed}, {here.date[:10]}"
    return svg.draw(title, column("at_s"), panels)


def write(
    stem: Path,
    samples: list[Sample],
    here: machine.Machine,
    faults: list[str],
    rate_mb_s: float | None,
) -> None:
    stem.parent.mkdir(exist_ok=True)
    content = {
        "machine": asdict(here),
        "rate_mb_s": rate_mb_s,
        "faults": faults,
        "samples": [asdict(sample) for sample in samples],
    }
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    stem.with_suffix(".txt").write_text(pictures(samples) + "\n")
    if samples:
        stem.with_suffix(".svg").write_text(drawn(samples, here, rate_mb_s))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every-s", type=float, default=5.0, help="between two samples")
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument("--rate-mb-s", type=float, help="produce so much, not all that goes")
    rates.add_argument(
        "--share", type=float, help="produce this part of all that goes, such as 0.7"
    )
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "target" / "benches", help="where the broker's data go"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
