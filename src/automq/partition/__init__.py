"""Kafka's log semantics over streams: one partition, as its leader sees it.

Main names: `Partition` (append, bounds, reads), `ProducerStates` (idempotence and transactions, a
pure machine), `LeaderEpochs`, `Segments` (virtual segments for retention and log compaction),
`Snapshot` (what a partition remembers in its state stream).

Invariants: offsets are dense and never reused; `log_start_offset <= last_stable_offset <=
high_watermark <= log_end_offset`, and none of them goes back while a partition is open; nothing is
acknowledged or readable before the WAL has synced it; producer state covers exactly what was
appended; a duplicate is acknowledged no earlier than its original.

A partition never knows a connection, another partition, or the controller: it is given its streams
open, and tells what it wants (a trim, a snapshot) to whoever hosts it.
"""

from automq.partition.partition import READ_COMMITTED, Appended, Partition

__all__ = ["READ_COMMITTED", "Appended", "Partition"]
