"""What `make bench` runs: this broker and Apache Kafka on one machine, in one run.

`python -m benches` measures the workloads of `benches.workloads` on each broker in turn, several
rounds of them, and writes one table of medians and ratios. `python -m benches.soak` runs this
broker alone for long, and shows its memory and latency over time.

* `brokers`: the processes that are compared. `load` and `rdkafka`: what drives them, in processes
  of their own. `process`: what the broker spent, from /proc.
* `figures`: what is measured, and the goals. `table`: medians, ratios, Markdown.
* `machine`: where and on what it was measured.

A figure is only reported for work that was checked: every acknowledgement without an error, every
offset read in order, as many records in the topic as were acknowledged.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "results"

# `tools` are scripts, not a package.
sys.path.insert(0, str(ROOT / "tools"))
