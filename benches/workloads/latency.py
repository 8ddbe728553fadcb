"""End to end at fixed rates: from when a record was due to when the consumer has it."""

from benches import load
from benches.brokers import Kind, Stand
from benches.figures import Effort, Figure, Measure, Numbers, Workload
from benches.workloads import steps

WARM_UP_S = 1.0


def at_rate(rate_per_s: int, linger_ms: int) -> Measure:
    """1 KiB records; the CPU is that of producing and consuming, for each GB that went through."""

    def measure(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
        broker = stand.staying(kind)
        with steps.topic(broker) as name:
            report, cpu_s = steps.cpu_of(
                broker,
                lambda: load.run(
                    "latency",
                    broker.bootstrap,
                    name,
                    partitions=steps.PARTITIONS,
                    rate=rate_per_s,
                    linger_ms=linger_ms,
                    record_bytes=steps.RECORD_BYTES,
                    warmup_s=WARM_UP_S,
                    seconds=effort.seconds,
                ),
            )
        return {
            **steps.latencies_ms(report, "end_to_end"),
            "cpu_s_per_gb": cpu_s / (report["payload_bytes"] / steps.GB),
        }

    return measure


WORKLOADS = (
    Workload(
        "latency-1k",
        "end to end at 1,000 records/s, linger 0",
        at_rate(1_000, 0),
        (
            Figure("p50_ms", "p50 ms", value_goal=0.6),
            Figure("p99_ms", "p99 ms", value_goal=1.5),
            Figure("p999_ms", "p99.9 ms", value_goal=5.0),
            Figure("cpu_s_per_gb", "broker CPU s/GB"),
        ),
    ),
    Workload(
        "latency-20k",
        "end to end at 20,000 records/s, linger 5 ms",
        at_rate(20_000, 5),
        (
            Figure("p50_ms", "p50 ms", ratio_goal=1.0),
            Figure("p99_ms", "p99 ms"),
            Figure("p999_ms", "p99.9 ms", value_goal=10.0),
            Figure("cpu_s_per_gb", "broker CPU s/GB", ratio_goal=0.5),
        ),
    ),
)
