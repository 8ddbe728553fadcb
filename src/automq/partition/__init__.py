"""Kafka's log semantics over a stream.

`ProducerStates` remembers what a partition knows of its producers: epochs, the last sequences, open
and aborted transactions. It is a pure machine: the shell asks it (`check`), stamps and appends the
batch, and lets it `apply` what was appended, with no await in between.

Invariants: what is checked is applied before anything else is checked; the same entries, given
live, by digests, or from a WAL, give the same state; a snapshot equals the history it replaces.

Nothing here reads a clock, a socket or a store, and nothing here changes a record.
"""

from automq.partition.producers import Duplicate, ProducerStates

__all__ = ["Duplicate", "ProducerStates"]
