"""The broker: connections, requests, and what they are answered with.

* `listener`, `connection`, `memory`: sockets in, frames out. Requests of one connection are worked
  on concurrently and answered in order; a client that does not read is not read from either.
* `dispatch`, `requests`, `apis/`: one file per API, found by its request class. What is registered
  there is what ApiVersions advertises.
* `Broker` (broker.py): what handlers work with; it follows the stored metadata and opens and closes
  partitions as that says. `Partitions` (partitions.py) finds, opens, trims and expires them.
* `fetches`, `fetch_sessions`: readers that wait, and what incremental readers have been told.
* `topic_configs`, `producer_ids`, `features`, `shard_log`: what handlers and coordinators look up.

Invariants: nothing is answered before what it promises is stored; a partition is opened here only
when a stored record says that this node leads it; every buffer has a budget, and over it sockets
are not read. An error in one request never costs another connection its answer.

Never here: a decision that must survive (partitions, coordinators and the controller decide), a
clock or a chance of its own, a byte of a record.
"""
