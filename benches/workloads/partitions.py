"""Many partitions: how long they take to make, and to come back."""

import time

from benches import load
from benches.brokers import Kind, Stand
from benches.figures import WITHOUT_SYNC, Effort, Figure, Numbers, Workload
from benches.process import memory_mib, wait_until_quiet
from benches.workloads import steps
from benches.workloads.lifecycle import AFTER_START_S, seconds_to_first_acknowledgement

MANY = 1000
TOPICS = 6
QUIET_S_MAX = 60.0
NAME = "many"


def thousand(stand: Stand, kind: Kind, _effort: Effort) -> Numbers:
    """On a broker that just started: one topic of 1,000 partitions, one record to each."""
    with stand.fresh(kind) as broker:
        broker.start()
        time.sleep(AFTER_START_S)
        report = load.run("touch", broker.bootstrap, NAME, partitions=MANY)
        steps.check_records(broker, f"{NAME}-0", MANY, MANY)
    return {"created_s": report["created_s"], "seconds": report["seconds"]}


def six_thousand(stand: Stand, kind: Kind, _effort: Effort) -> Numbers:
    """6 topics of 1,000 partitions, a record in each: memory, and two restarts."""
    first = f"{NAME}-0"
    with stand.fresh(kind) as broker:
        broker.start()
        time.sleep(AFTER_START_S)
        empty_mib = memory_mib(broker.pid)
        report = load.run("touch", broker.bootstrap, NAME, topics=TOPICS, partitions=MANY)
        wait_until_quiet(broker.pid, at_most_s=QUIET_S_MAX)
        full_mib = memory_mib(broker.pid)
        broker.stop()
        restart_clean_s = seconds_to_first_acknowledgement(broker, first)
        wait_until_quiet(broker.pid, at_most_s=QUIET_S_MAX)
        broker.kill()
        restart_killed_s = seconds_to_first_acknowledgement(broker, first)
        # A record in each partition, and one for each of the two restarts.
        steps.check_records(broker, first, MANY + 2, MANY)
    return {
        "seconds": report["seconds"],
        "more_mib": full_mib - empty_mib,
        "restart_clean_s": restart_clean_s,
        "restart_killed_s": restart_killed_s,
    }


WORKLOADS = (
    Workload(
        "partitions-1000",
        "1,000 partitions created, one record of each acknowledged",
        thousand,
        (
            Figure("created_s", "created s"),
            Figure("seconds", "all acknowledged s", value_goal=0.7),
        ),
        kinds=WITHOUT_SYNC,
        is_warm=False,
    ),
    Workload(
        "partitions-6000",
        "6,000 partitions with data: made, restarted, killed and restarted",
        six_thousand,
        (
            Figure("seconds", "all acknowledged s"),
            Figure("more_mib", "RSS over the empty broker MiB", value_goal=60.0),
            Figure("restart_clean_s", "clean restart to first acknowledgement s", value_goal=1.5),
            Figure("restart_killed_s", "after kill -9 to first acknowledgement s", value_goal=3.0),
        ),
        kinds=WITHOUT_SYNC,
        is_warm=False,
    ),
)
