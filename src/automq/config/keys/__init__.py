"""The keys: Kafka's, as facts taken from Apache Kafka's own classes, and ours.

`keys.kafka.SOCKET_REQUEST_MAX_BYTES` and its like are the broker keys of Kafka that our code reads,
and `keys.automq.UPLOAD_BYTES` and its like are ours. Both are typed:
`config.get(keys.automq.UPLOAD_BYTES)` is an `int`. `broker_keys()`, `topic_keys()`, `group_keys()`
and `client_metrics_keys()` are the complete tables, by name; they are built when first asked for,
so importing this package costs little.

To honour one more of Kafka's keys, add one line to `kafka.py` (or to the table of its kind in
`topics.py`); a key without such a line is accepted, checked and shown, and has no effect. To add
one of ours, add a `Key(...)` to `automq.py`. Validation, DescribeConfigs, dynamic updates and the
reference page follow by themselves.

Invariant: the facts in `kafka.tsv` are never edited by hand (tools/make_configs.py writes them).
"""

from automq.config.keys import automq, kafka
from automq.config.keys.tables import (
    broker_keys,
    client_metrics_keys,
    dynamic_only_broker_keys,
    group_keys,
    topic_keys,
)

__all__ = [
    "automq",
    "broker_keys",
    "client_metrics_keys",
    "dynamic_only_broker_keys",
    "group_keys",
    "kafka",
    "topic_keys",
]
