"""Coordinators: what clients agree on through a broker, kept in an internal topic.

A coordinator of one partition is a *machine* (`machine.py`): plain state, commands that return a
`Decision`, records that know their bytes and their effect. A `Shard` (`shard.py`) is the thin
shell around one machine: it runs a command, applies what was decided, appends the records to the
partition and releases the replies when everything they depend on is stored. `group/` holds the
classic consumer groups and the committed offsets of a `__consumer_offsets` partition.

Main names: `Decision`, `Machine`, `Moment`, `Waiting`, `Shard`, `ShardLog`.

Invariants: no reply leaves a shard before all that its command saw is stored; there is no undo (a
refused append throws the machine away and loads it again); state that is not in a record is soft,
and losing it costs clients a retry, never data.

A machine never reads a clock, draws a random number or awaits; a shard never decides. Nothing here
knows sockets, requests or the storage engine: a partition arrives as a `ShardLog`.
"""

from automq.coordinator.machine import Change, Decision, Machine, Moment, Record, Token, Waiting
from automq.coordinator.shard import Shard, ShardLog, ShardSettings

__all__ = [
    "Change",
    "Decision",
    "Machine",
    "Moment",
    "Record",
    "Shard",
    "ShardLog",
    "ShardSettings",
    "Token",
    "Waiting",
]
