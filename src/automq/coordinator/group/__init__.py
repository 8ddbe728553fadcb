"""Classic consumer groups and committed offsets: what `__consumer_offsets` holds.

`Groups` (`machine.py`) is the machine of one partition: JoinGroup, SyncGroup, Heartbeat and
LeaveGroup with static membership (KIP-345) and what cooperative rebalancing needs, offsets with
their expiry, and what tools ask. Its files by subject: `classic` (a group and its members as
values), `join`, `membership`, `rebalance`, `offsets`, `admin`; `draft` gathers what a command
decides; `records` has the bytes, exactly as Apache Kafka 4.3 writes and reads them.
`GroupCoordinator` (`coordinator.py`) is what a broker holds: it finds the partition of a group and
runs commands on its shard.

Invariants: a generation is stored once, with its assignment, before any member learns it; a static
member's new id is stored before the member learns it; an offset is answered when it is stored.
What a reload forgets (who waits, deadlines, a generation without assignment) costs the members a
new join.

Nothing here authorizes, resolves topic names, or knows a request's bytes.
"""

from automq.coordinator.group.coordinator import GroupCoordinator
from automq.coordinator.group.machine import Groups
from automq.coordinator.group.settings import GroupSettings

__all__ = ["GroupCoordinator", "GroupSettings", "Groups"]
