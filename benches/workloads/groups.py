"""Groups: how long members wait for their partitions."""

from benches import members
from benches.brokers import Kind, Stand
from benches.figures import WITHOUT_SYNC, Effort, Figure, Numbers, Workload
from benches.workloads import steps

MEMBERS = 10
PARTITIONS = 60
# Timers make most of it; a hundredth is what two runs with the same timers differ by.
LEVEL = 1.01


def join_and_leave(stand: Stand, kind: Kind, _effort: Effort) -> Numbers:
    """Ten members join a new group together, then one leaves; the timers are the defaults.

    Most of it are timers: `group.initial.rebalance.delay.ms` (3 s, and once more because members
    came meanwhile), and heartbeats every 3 s, by which the others learn that one has left.
    """
    broker = stand.staying(kind)
    with steps.topic(broker, partitions=PARTITIONS) as name:
        return members.join_and_leave(
            broker.bootstrap, name, members=MEMBERS, partitions=PARTITIONS
        )


WORKLOADS = (
    Workload(
        "groups",
        "a classic group by librdkafka: 10 members join together, then one leaves",
        join_and_leave,
        (
            Figure("joined_s", "10 members have joined s", ratio_goal=LEVEL),
            Figure("left_s", "9 have all after one left s", ratio_goal=LEVEL),
        ),
        kinds=WITHOUT_SYNC,
    ),
)
