"""What people and machines see of a running node: log lines and metrics.

* `Log` (log.py): `log = Log("stream")`, then `log.info("stream opened", stream_id=7, epoch=3)`. A
  line is a fact: a constant message and its values, never a sentence with values in it.
  `set_up_logging` says where lines go, as text for people or as JSON for machines.
* `metric_set`, `counter`, `gauge`, `histogram` (metrics.py): a metric is a plain number in a small
  class beside the code that counts; `requests += 1` is all it costs. `Metrics` holds what a node
  counts and gives it to prometheus_client when it is scraped.
* `StallProbe` (stall.py): how long the event loop was busy with one thing; an alarm at 100 ms.

Invariants: nothing here is done per record, takes a lock or waits. Nothing secret is ever logged:
whoever holds a secret does not pass it on. Time comes from the world's clock, except for the stamp
of a log line, which is the machine's.
"""

from automq.telemetry.log import Log, set_up_logging
from automq.telemetry.metrics import Histogram, Metrics, counter, gauge, histogram, metric_set
from automq.telemetry.stall import StallProbe

__all__ = [
    "Histogram",
    "Log",
    "Metrics",
    "StallProbe",
    "counter",
    "gauge",
    "histogram",
    "metric_set",
    "set_up_logging",
]
