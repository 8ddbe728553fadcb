"""The storage engine: WAL, log cache, objects, upload, read, compaction.

A stream is an append-only sequence of record batches with 64-bit offsets, owned by one node at one
epoch. An append goes to the WAL (durable, acknowledged here) and to the log cache (serves reads at
the tail); uploads turn the cache into objects, a commit at the controller makes them part of their
streams, and the WAL is trimmed.

Main names: `wal` (the write-ahead log, on files and simulated).

Invariants: nothing is acknowledged before the WAL has it; nothing is trimmed from the WAL before a
stored record says that it is elsewhere; a batch is never split.

It never knows a topic, a group or a config, and never opens a batch.
"""
