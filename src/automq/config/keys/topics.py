"""What the keys of topics, groups and client metrics do here. A key that is not listed has no
effect.
"""

TOPIC_DOCS = {
    "cleanup.policy": "delete: old data goes; compact: each key's newest record stays; or both.",
    "compression.type": "The codec data is kept in; producer: as it was sent.",
    "compression.gzip.level": "The gzip level, where the broker compresses; -1: the library's.",
    "compression.lz4.level": "The lz4 level, where the broker compresses.",
    "compression.zstd.level": "The zstd level, where the broker compresses.",
    "delete.retention.ms": "How long a compacted topic keeps the mark of a deleted key.",
    "max.compaction.lag.ms": "The longest time a record may go without compaction.",
    "max.message.bytes": "The largest record batch accepted.",
    "message.timestamp.after.max.ms": "How far a timestamp may be ahead of the broker's clock.",
    "message.timestamp.before.max.ms": "How far a timestamp may be behind the broker's clock.",
    "message.timestamp.type": "CreateTime: the producer's; LogAppendTime: when the broker took it.",
    "min.compaction.lag.ms": "How long a record is safe from compaction.",
    "min.insync.replicas": "Compared with the length of a partition's placement list (acks=all).",
    "retention.bytes": "The most a partition keeps, for cleanup.policy=delete; -1: no limit.",
    "retention.ms": "How long a record is kept, for cleanup.policy=delete; -1: no limit.",
    "segment.bytes": "Size of a virtual segment; retention and compaction spare the last one.",
    "segment.ms": "The longest time a virtual segment stays the last one.",
}

GROUP_DOCS: dict[str, str] = {}

CLIENT_METRICS_DOCS: dict[str, str] = {}
