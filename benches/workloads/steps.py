"""The steps that workloads are made of."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benches import load
from benches.brokers import Broker
from benches.load import LoadFailed, Report
from benches.process import usage, wait_until_quiet

PARTITIONS = 6
RECORD_BYTES = 1024
# A batch of 15 records of 1 KiB is the fullest that 16 KiB hold; of 126, 128 KiB.
RECORDS_IN_16_KIB = 15
RECORDS_IN_128_KIB = 126
QUIET_S_MAX = 3.0
GB = 1e9
MB = 1e6
_numbers = itertools.count(1)


@contextmanager
def topic(broker: Broker, *, partitions: int = PARTITIONS) -> Iterator[str]:
    """A topic for the time of a `with` block."""
    name = f"bench-{next(_numbers)}"
    load.run("create", broker.bootstrap, name, partitions=partitions)
    yield name
    load.run("delete", broker.bootstrap, name)


def cpu_of(broker: Broker, work: Callable[[], Report]) -> tuple[Report, float]:
    """Do the work: its report, and the seconds of CPU time that the broker spent on it.

    What the broker does later on behalf of it (uploads) counts until it is quiet again.
    """
    before = usage(broker.pid)
    report = work()
    wait_until_quiet(broker.pid, at_most_s=QUIET_S_MAX)
    return report, usage(broker.pid).cpu_s - before.cpu_s


def check_records(broker: Broker, name: str, records: float, partitions: int = PARTITIONS) -> None:
    """Raises LoadFailed unless the topic holds exactly so many records."""
    held = load.run("offsets", broker.bootstrap, name, partitions=partitions)["records"]
    if held != records:
        raise LoadFailed(f"{records:.0f} records were acknowledged, {name} holds {held:.0f}")


def produce_backlog(
    broker: Broker, name: str, payload_bytes: float, *, partitions: int = PARTITIONS
) -> int:
    """Fill a topic with batches of 128 KiB; how many records it holds then."""
    batch_bytes = RECORDS_IN_128_KIB * RECORD_BYTES
    report = load.run(
        "produce",
        broker.bootstrap,
        name,
        partitions=partitions,
        batch_records=RECORDS_IN_128_KIB,
        record_bytes=RECORD_BYTES,
        requests=max(1, round(payload_bytes / batch_bytes)),
        seconds=3600,
    )
    check_records(broker, name, report["records"], partitions)
    return int(report["records"])


def latencies_ms(report: Report, name: str) -> dict[str, float]:
    return {
        "p50_ms": report[f"{name}_p50_us"] / 1e3,
        "p99_ms": report[f"{name}_p99_us"] / 1e3,
        "p999_ms": report[f"{name}_p999_us"] / 1e3,
    }


def throughput(payload_bytes: float, seconds: float, cpu_s: float) -> dict[str, float]:
    return {
        "mb_per_s": payload_bytes / seconds / MB,
        "cpu_s_per_gb": cpu_s / (payload_bytes / GB),
    }
