"""Producing: small requests, and batches of two sizes, by librdkafka and by the native client."""

from benches import load, rdkafka
from benches.brokers import Broker, Kind, Stand
from benches.figures import WITHOUT_SYNC, Effort, Figure, Measure, Numbers, Part, Workload
from benches.load import Report
from benches.workloads import steps

SMALL_CONNECTIONS = 8
SMALL_BYTES = 100
IN_FLIGHT = 5


def small(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """One record of 100 bytes a request, 8 connections, 5 requests of each on their way."""
    broker = stand.staying(kind)

    def work() -> Report:
        return load.run(
            "produce",
            broker.bootstrap,
            name,
            partitions=steps.PARTITIONS,
            connections=SMALL_CONNECTIONS,
            in_flight=IN_FLIGHT,
            record_bytes=SMALL_BYTES,
            seconds=effort.seconds,
        )

    with steps.topic(broker) as name:
        report, cpu_s = steps.cpu_of(broker, work)
        steps.check_records(broker, name, report["records"])
    return {
        "requests_per_s": report["requests"] / report["seconds"],
        "cpu_us_per_request": cpu_s * 1e6 / report["requests"],
        **steps.latencies_ms(report, "ack"),
    }


def by_librdkafka(batch_bytes: int, linger_ms: int) -> Measure:
    """Records of 1 KiB, as fast as librdkafka takes them."""

    def measure(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
        return librdkafka_numbers(stand.staying(kind), batch_bytes, linger_ms, effort.seconds)

    return measure


def when_fresh(batch_bytes: int, linger_ms: int) -> Measure:
    """The same on a broker that has just started."""

    def measure(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
        with stand.fresh(kind) as broker:
            broker.start()
            return librdkafka_numbers(broker, batch_bytes, linger_ms, effort.fresh_s)

    return measure


def librdkafka_numbers(broker: Broker, batch_bytes: int, linger_ms: int, seconds: float) -> Numbers:
    def work() -> Report:
        return rdkafka.produce(
            broker.bootstrap,
            name,
            record_bytes=steps.RECORD_BYTES,
            batch_bytes=batch_bytes,
            linger_ms=linger_ms,
            seconds=seconds,
        )

    with steps.topic(broker) as name:
        report, cpu_s = steps.cpu_of(broker, work)
        steps.check_records(broker, name, report["records"])
    return steps.throughput(report["payload_bytes"], report["seconds"], cpu_s)


def natively(batch_records: int) -> Measure:
    """The same batches, made once: the client costs next to nothing, the broker is the limit."""

    def measure(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
        broker = stand.staying(kind)

        def work() -> Report:
            return load.run(
                "produce",
                broker.bootstrap,
                name,
                partitions=steps.PARTITIONS,
                in_flight=IN_FLIGHT,
                batch_records=batch_records,
                record_bytes=steps.RECORD_BYTES,
                seconds=effort.seconds,
            )

        with steps.topic(broker) as name:
            report, cpu_s = steps.cpu_of(broker, work)
            steps.check_records(broker, name, report["records"])
        return {
            **steps.throughput(report["payload_bytes"], report["seconds"], cpu_s),
            **steps.latencies_ms(report, "ack"),
        }

    return measure


def batch_figures(rate_goal: float | None, cpu_goal: float | None) -> tuple[Figure, ...]:
    sync_goal = None if rate_goal is None else 5.0
    return (
        Figure(
            "mb_per_s", "MB/s", more_is_better=True, ratio_goal=rate_goal, sync_ratio_goal=sync_goal
        ),
        Figure("cpu_s_per_gb", "broker CPU s/GB", ratio_goal=cpu_goal),
    )


ACK_FIGURES = (
    Figure("p50_ms", "acknowledged p50 ms"),
    Figure("p99_ms", "acknowledged p99 ms"),
    Figure("p999_ms", "acknowledged p99.9 ms"),
)

WORKLOADS = (
    Workload(
        "small",
        "Produce requests of one 100 B record, 8 connections, 5 in flight",
        small,
        (
            Figure(
                "requests_per_s",
                "requests/s",
                more_is_better=True,
                ratio_goal=3.0,
                sync_ratio_goal=5.0,
            ),
            Figure("cpu_us_per_request", "broker CPU us/request", ratio_goal=0.333),
            Figure("p50_ms", "acknowledged p50 ms"),
            Figure("p99_ms", "acknowledged p99 ms", ratio_goal=0.5),
            Figure("p999_ms", "acknowledged p99.9 ms"),
        ),
    ),
    Workload(
        "produce-16k",
        "produce 1 KiB records, librdkafka, batches of 16 KiB, linger 5 ms",
        by_librdkafka(16_384, 5),
        batch_figures(2.0, 0.4),
    ),
    Workload(
        "produce-128k",
        "produce 1 KiB records, librdkafka, batches of 128 KiB, linger 10 ms",
        by_librdkafka(131_072, 10),
        batch_figures(1.0, 0.7),
    ),
    Workload(
        "produce-16k-native",
        "produce 1 KiB records, native client, batches of 16 KiB, 1 connection, 5 in flight",
        natively(steps.RECORDS_IN_16_KIB),
        (*batch_figures(None, None), *ACK_FIGURES),
        kinds=WITHOUT_SYNC,
        part=Part.NATIVE,
    ),
    Workload(
        "produce-128k-native",
        "produce 1 KiB records, native client, batches of 128 KiB, 1 connection, 5 in flight",
        natively(steps.RECORDS_IN_128_KIB),
        (*batch_figures(None, None), *ACK_FIGURES),
        kinds=WITHOUT_SYNC,
        part=Part.NATIVE,
    ),
    Workload(
        "produce-fresh",
        "the same as produce-128k in the first seconds after a start",
        when_fresh(131_072, 10),
        batch_figures(2.5, 0.2),
        kinds=WITHOUT_SYNC,
        is_warm=False,
    ),
)
