"""Consuming: what is in memory, and what is only in the object store."""

from benches import load, rdkafka
from benches.brokers import Broker, Kind, Stand
from benches.figures import WITHOUT_SYNC, Effort, Figure, Numbers, Part, Workload
from benches.load import Report
from benches.workloads import steps

# Less than the log cache holds (a quarter of its default), more than a processor's caches.
IN_MEMORY_BYTES = 60e6


def natively(broker: Broker, topic: str, **options: object) -> Report:
    return load.run("fetch", broker.bootstrap, topic, partitions=steps.PARTITIONS, **options)


def read_numbers(report: Report, cpu_s: float) -> Numbers:
    payload_bytes = report["records"] * steps.RECORD_BYTES
    return steps.throughput(payload_bytes, report["seconds"], cpu_s)


def from_memory(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """Read 60 MB that were just produced, again and again, by one native consumer."""
    broker = stand.staying(kind)
    with steps.topic(broker) as name:
        steps.produce_backlog(broker, name, IN_MEMORY_BYTES)
        report, cpu_s = steps.cpu_of(broker, lambda: natively(broker, name, seconds=effort.seconds))
    return read_numbers(report, cpu_s)


def from_memory_by_librdkafka(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """The same by librdkafka, which is what limits it."""
    broker = stand.staying(kind)
    with steps.topic(broker) as name:
        records = steps.produce_backlog(broker, name, IN_MEMORY_BYTES)
        report, cpu_s = steps.cpu_of(
            broker,
            lambda: rdkafka.consume(
                broker.bootstrap,
                name,
                records=records,
                partitions=steps.PARTITIONS,
                seconds=effort.seconds,
            ),
        )
    return read_numbers(report, cpu_s)


def from_store(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """Read a backlog once after a clean restart: nothing of it is in the broker's memory.

    automq has it in its object store alone then, a local directory here; Apache Kafka in its log.
    For both the kernel may still hold the files.
    """
    name = "backlog"
    with stand.fresh(kind) as broker:
        broker.start()
        load.run("create", broker.bootstrap, name, partitions=steps.PARTITIONS)
        records = steps.produce_backlog(broker, name, effort.backlog_gb * steps.GB)
        broker.stop()
        broker.start()
        steps.check_records(broker, name, records)
        report, cpu_s = steps.cpu_of(broker, lambda: natively(broker, name, passes=1, seconds=3600))
    if report["records"] != records:
        raise load.LoadFailed(f"{records} records were stored, {report['records']:.0f} read")
    return read_numbers(report, cpu_s)


WORKLOADS = (
    Workload(
        "consume-memory",
        "consume what was just produced, native consumer, 1 connection",
        from_memory,
        (
            Figure("mb_per_s", "MB/s", more_is_better=True, ratio_goal=1.0),
            Figure("cpu_s_per_gb", "broker CPU s/GB", value_goal=0.2),
        ),
        kinds=WITHOUT_SYNC,
        part=Part.NATIVE,
    ),
    Workload(
        "consume-memory-librdkafka",
        "the same by librdkafka (limited by the client)",
        from_memory_by_librdkafka,
        (
            Figure("mb_per_s", "MB/s", more_is_better=True, ratio_goal=1.0),
            Figure("cpu_s_per_gb", "broker CPU s/GB", value_goal=0.2),
        ),
        kinds=WITHOUT_SYNC,
    ),
    Workload(
        "consume-backlog",
        "consume a backlog after a restart: from objects (automq), from the log (Apache Kafka)",
        from_store,
        (
            Figure("mb_per_s", "MB/s", more_is_better=True, value_goal=300.0),
            Figure("cpu_s_per_gb", "broker CPU s/GB", value_goal=0.5),
        ),
        kinds=WITHOUT_SYNC,
        is_warm=False,
    ),
)
