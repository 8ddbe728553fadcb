"""A broker's life: its start, and the memory and time it takes when it does nothing."""

import subprocess
import time

from benches import load
from benches.brokers import Broker, Kind, Stand
from benches.figures import WITHOUT_SYNC, Effort, Figure, Numbers, Workload
from benches.process import cpu_share, memory_mib, wait_until_quiet
from benches.workloads import steps

TOPIC = "first"
AFTER_START_S = 3.0


def seconds_to_first_acknowledgement(broker: Broker, topic: str = TOPIC) -> float:
    """Start the broker; from its process's beginning to the first record it acknowledges.

    A client tries to connect every millisecond from before the start on, creates the topic
    unless it is there, and produces one record.
    """
    words = load.command("first", broker.bootstrap, topic)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as client:
        started_ns = time.monotonic_ns()
        try:
            broker.start()
            out, _ = client.communicate()
        except BaseException:
            client.kill()
            raise
    if client.returncode != 0:
        raise load.LoadFailed("no record was ever acknowledged")
    return (load.last_report(out)["at_ns"] - started_ns) / 1e9


def start(stand: Stand, kind: Kind, _effort: Effort) -> Numbers:
    """An empty broker's start (storage formatted before, as Kafka needs it), then its second."""
    with stand.fresh(kind) as broker:
        empty_s = seconds_to_first_acknowledgement(broker)
        broker.stop()
        second_s = seconds_to_first_acknowledgement(broker)
    return {"empty_s": empty_s, "second_s": second_s}


def memory(stand: Stand, kind: Kind, effort: Effort) -> Numbers:
    """Resident memory after a start and after a load, and the CPU that idling takes."""
    with stand.fresh(kind) as broker:
        broker.start()
        time.sleep(AFTER_START_S)
        after_start_mib = memory_mib(broker.pid)
        idle_share = cpu_share(broker.pid, effort.idle_s)
        with steps.topic(broker) as name:
            steps.produce_backlog(broker, name, effort.memory_load_gb * steps.GB)
            wait_until_quiet(broker.pid, at_most_s=steps.QUIET_S_MAX)
            after_load_mib = memory_mib(broker.pid)
    return {
        "after_start_mib": after_start_mib,
        "after_load_mib": after_load_mib,
        "idle_percent": idle_share * 100,
    }


WORKLOADS = (
    Workload(
        "start",
        "from the process to the first acknowledged record",
        start,
        (
            Figure("empty_s", "empty broker s", value_goal=0.4),
            Figure("second_s", "second start s", value_goal=0.4),
        ),
        kinds=WITHOUT_SYNC,
        is_warm=False,
    ),
    Workload(
        "memory",
        "resident memory, and CPU when idle",
        memory,
        (
            Figure("after_start_mib", "RSS after start MiB", value_goal=80.0),
            Figure("after_load_mib", "RSS after the load MiB"),
            Figure("idle_percent", "idle CPU % of a core", value_goal=0.3),
        ),
        kinds=WITHOUT_SYNC,
        is_warm=False,
    ),
)
