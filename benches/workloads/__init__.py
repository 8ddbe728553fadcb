"""Everything that is measured, in the order of the table."""

from benches.figures import Workload
from benches.workloads import consume, groups, growth, latency, lifecycle, partitions, produce

ALL: tuple[Workload, ...] = (
    *produce.WORKLOADS,
    *consume.WORKLOADS,
    *latency.WORKLOADS,
    *lifecycle.WORKLOADS,
    *partitions.WORKLOADS,
    *groups.WORKLOADS,
    *growth.WORKLOADS,
)
