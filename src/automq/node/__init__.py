"""One node, assembled from a configuration: broker role, controller role, or both.

Main names: `run_node` (start, serve until SIGTERM, stop), `NodeFailure` (why a node gave up, for
people, with the exit status). `lock.py` guards a data directory against a second process on this
machine; it is no fence.

The order of a start is an argument (see `start.py`): win the metadata log, register at a new epoch,
recover every WAL that earlier incarnations left, only then open streams, and listen last.

A node decides nothing by itself: it hands clock, chance, stores and sockets to the layers below,
and ends when one of them says that it has to.
"""

from automq.node.failure import NodeFailure
from automq.node.run import run_node

__all__ = ["NodeFailure", "run_node"]
