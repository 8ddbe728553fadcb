"""The whole node in a deterministic simulation: one seed, one run, the same every time.

`run.py` plays a seed and judges it. Below it: `loop.py` (virtual time, callbacks in an order drawn
from the seed, processes that stop or die at any await), `net.py` (connections that split, delay and
break), `wire.py` (the way to the object store), `node.py` (the real parts of a node on all of this,
in incarnations), `client.py`, `workload.py` and `admin.py` (raw-protocol clients), `nemesis.py`
(what goes wrong), `truth.py` (what clients saw, and what they must never see), `audit.py` (what is
left behind), `bugs.py` (mistakes put in on purpose: the simulation has to find each).

Everything that is drawn comes from `random.Random` values named after the seed, and nothing waits
for real time. A run that fails prints its seed; `make sim SEED=n` plays it again with its trace.
"""
