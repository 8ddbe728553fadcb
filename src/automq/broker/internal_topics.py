"""The topics that Kafka keeps for itself, and how they are created.

`__consumer_offsets` comes into being when somebody first asks for a group's coordinator, with the
settings that Kafka gives it: compacted, in small segments, stored as the coordinator writes it.
"""

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.controller.topics import TopicWish

OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"
SHARES_TOPIC = "__share_group_state"
INTERNAL_TOPICS = frozenset({OFFSETS_TOPIC, TRANSACTIONS_TOPIC, SHARES_TOPIC})
METADATA_TOPIC = "__cluster_metadata"


def is_internal(topic: str) -> bool:
    return topic in INTERNAL_TOPICS


def offsets_topic(config: NodeConfig, topic_id: bytes) -> TopicWish:
    """`__consumer_offsets` as this node's configuration wants it."""
    kafka = keys.kafka
    return TopicWish(
        name=OFFSETS_TOPIC,
        topic_id=topic_id,
        partitions=config.get(kafka.OFFSETS_TOPIC_NUM_PARTITIONS),
        replication_factor=config.get(kafka.OFFSETS_TOPIC_REPLICATION_FACTOR),
        configs={
            "cleanup.policy": "compact",
            "compression.type": "producer",
            "segment.bytes": str(config.get(kafka.OFFSETS_TOPIC_SEGMENT_BYTES)),
        },
        internal=True,
    )
