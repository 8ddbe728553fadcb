"""How cost grows: with connections, partitions and consumers, and with a second broker process.

The second table. What one request or one GB costs should not depend on how many others there are;
each workload has the same figure for several counts.
"""

from contextlib import ExitStack

from benches import load
from benches.brokers import Broker, Kind, Stand
from benches.figures import WITHOUT_SYNC, Effort, Figure, Numbers, Part, Workload
from benches.process import memory_mib, usage, wait_until_quiet
from benches.workloads import steps
from benches.workloads.consume import IN_MEMORY_BYTES

CONNECTIONS = (10, 100, 1_000)
# Kafka makes no more than 9,999 partitions at once, so the many are in topics of 1,000 or less.
PARTITIONS = (1, 100, 10_000)
TOPIC_PARTITIONS_MAX = 1_000
CONSUMERS = (1, 10, 50)
PROCESSES = (1, 2)
SMALL_BYTES = 100
# Of a broker process in `processes`; two of them have as many connections together as `small`.
PROCESS_CONNECTIONS = 4
IN_FLIGHT = 5
CREATED_QUIET_S_MAX = 60.0


def small_requests(broker: Broker, name: str, effort: Effort, **options: int) -> Numbers:
    """Requests of one record of 100 bytes: how many a second, and what each costs."""
    report, cpu_s = steps.cpu_of(
        broker,
        lambda: load.run(
            "produce",
            broker.bootstrap,
            name,
            record_bytes=SMALL_BYTES,
            seconds=effort.seconds,
            **options,
        ),
    )
    return {
        "requests_per_s": report["requests"] / report["seconds"],
        "cpu_us": cpu_s * 1e6 / report["requests"],
    }


def by_connections(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """One request on its way on each of so many connections."""
    broker, found = stand.staying(kind), Numbers()
    for count in CONNECTIONS:
        with steps.topic(broker) as name:
            numbers = small_requests(
                broker, name, effort, partitions=steps.PARTITIONS, connections=count, in_flight=1
            )
        found |= named(numbers, count)
    return found


def by_partitions(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """Each request to the next of so many partitions; 8 connections, 5 requests of each."""
    found = Numbers()
    with stand.fresh(kind) as broker:
        broker.start()
        with steps.topic(broker) as name:
            small_requests(broker, name, effort.warming_up(), partitions=steps.PARTITIONS)
        for count in PARTITIONS:
            name, partitions = f"wide-{count}", min(count, TOPIC_PARTITIONS_MAX)
            size = {"partitions": partitions, "topics": count // partitions}
            load.run("touch", broker.bootstrap, name, **size)
            wait_until_quiet(broker.pid, at_most_s=CREATED_QUIET_S_MAX)
            numbers = small_requests(
                broker, name, effort, connections=8, in_flight=IN_FLIGHT, **size
            )
            found |= named(numbers, count)
    return found


def by_consumers(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """So many consumers each read the same 60 MB again and again: bytes in memory are shared."""
    broker, found = stand.staying(kind), Numbers()
    with steps.topic(broker) as name:
        steps.produce_backlog(broker, name, IN_MEMORY_BYTES)
        for count in CONSUMERS:
            found |= named(consumed(broker, name, count, effort), count)
    return found


def consumed(broker: Broker, name: str, count: int, effort: Effort) -> Numbers:
    before_mib = memory_mib(broker.pid)
    report, cpu_s = steps.cpu_of(
        broker,
        lambda: load.run(
            "fetch",
            broker.bootstrap,
            name,
            partitions=steps.PARTITIONS,
            connections=count,
            whole=1,
            seconds=effort.seconds,
        ),
    )
    payload_bytes = report["records"] * steps.RECORD_BYTES
    numbers = steps.throughput(payload_bytes, report["seconds"], cpu_s)
    return {**numbers, "more_mib": memory_mib(broker.pid) - before_mib}


def by_processes(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """One broker process, then two at once, each with a load of its own, on the same cores.

    The two are independent nodes, because nodes do not share a cluster yet; Kafka's are two
    clusters likewise. Brokers and loads share the machine: on two cores twice the rate is out of
    reach, and what can be seen is whether a second process makes a request dearer.
    """
    with ExitStack() as stack:
        brokers = [stack.enter_context(stand.fresh(kind)) for _ in range(max(PROCESSES))]
        for broker in brokers:
            broker.start()
            load.run("create", broker.bootstrap, "own", partitions=steps.PARTITIONS)
            load.finish(own_load(broker, effort.warm_up_s))
        found = Numbers()
        for count in PROCESSES:
            found |= named(at_once(brokers[:count], effort), count)
    return found


def own_load(broker: Broker, seconds: float) -> list[str]:
    return load.command(
        "produce",
        broker.bootstrap,
        "own",
        partitions=steps.PARTITIONS,
        connections=PROCESS_CONNECTIONS,
        in_flight=IN_FLIGHT,
        record_bytes=SMALL_BYTES,
        seconds=seconds,
    )


def at_once(brokers: list[Broker], effort: Effort) -> Numbers:
    for broker in brokers:
        wait_until_quiet(broker.pid, at_most_s=steps.QUIET_S_MAX)
    before_s = sum(usage(broker.pid).cpu_s for broker in brokers)
    reports = load.finish_all([own_load(broker, effort.seconds) for broker in brokers])
    for broker in brokers:
        wait_until_quiet(broker.pid, at_most_s=steps.QUIET_S_MAX)
    cpu_s = sum(usage(broker.pid).cpu_s for broker in brokers) - before_s
    requests = sum(report["requests"] for report in reports)
    return {
        "requests_per_s": sum(report["requests"] / report["seconds"] for report in reports),
        "cpu_us": cpu_s * 1e6 / requests,
    }


def named(numbers: Numbers, count: int) -> Numbers:
    return {f"{name}_{count}": number for name, number in numbers.items()}


def figures(
    counts: tuple[int, ...], what: str, *columns: tuple[str, str, bool]
) -> tuple[Figure, ...]:
    """For each column (name, title, whether more is better) one figure for each count."""
    return tuple(
        Figure(f"{name}_{count}", f"{title}, {count:,} {what}", more_is_better=more_is_better)
        for name, title, more_is_better in columns
        for count in counts
    )


REQUESTS = (("requests_per_s", "requests/s", True), ("cpu_us", "broker CPU us/request", False))
READS = (
    ("mb_per_s", "MB/s", True),
    ("cpu_s_per_gb", "broker CPU s/GB", False),
    ("more_mib", "RSS more MiB", False),
)

WORKLOADS = (
    Workload(
        "growth-connections",
        "Produce requests of one 100 B record, one in flight on each connection",
        by_connections,
        figures(CONNECTIONS, "connections", *REQUESTS),
        kinds=WITHOUT_SYNC,
        part=Part.GROWTH,
    ),
    Workload(
        "growth-partitions",
        "Produce requests of one 100 B record, each to the next partition, 8 connections",
        by_partitions,
        figures(PARTITIONS, "partitions", *REQUESTS),
        kinds=WITHOUT_SYNC,
        is_warm=False,
        part=Part.GROWTH,
    ),
    Workload(
        "growth-consumers",
        "native consumers, each reads the whole topic from memory",
        by_consumers,
        figures(CONSUMERS, "consumers", *READS),
        kinds=WITHOUT_SYNC,
        part=Part.GROWTH,
    ),
    Workload(
        "growth-processes",
        "independent broker processes, 4 connections with small requests to each",
        by_processes,
        figures(PROCESSES, "processes", *REQUESTS),
        kinds=WITHOUT_SYNC,
        is_warm=False,
        part=Part.GROWTH,
    ),
)
