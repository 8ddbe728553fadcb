"""Kafka's broker keys that our code reads, with what they do here."""

from automq.config.keys.known import (
    boolean,
    number,
    optional_number,
    optional_text,
    optional_words,
    text,
    words,
)

# -- the node

NODE_ID = number("node.id", "The id of this node, unique in the cluster. Default here: 1.")
BROKER_ID = number("broker.id", "An older name of node.id; if both are set they must be equal.")
PROCESS_ROLES = words(
    "process.roles", "What this node does: broker, controller, or both (default)."
)
BROKER_RACK = optional_text("broker.rack", "The rack or zone of this broker, told to clients.")

# -- listeners and connections

LISTENERS = words("listeners", "Where to listen: NAME://host:port, comma-separated.")
ADVERTISED_LISTENERS = optional_words(
    "advertised.listeners", "The addresses told to clients, if not those of listeners."
)
LISTENER_SECURITY_PROTOCOL_MAP = text(
    "listener.security.protocol.map", "The security protocol of each listener name."
)
INTER_BROKER_LISTENER_NAME = optional_text(
    "inter.broker.listener.name", "The listener that other nodes use to reach this one."
)
SECURITY_INTER_BROKER_PROTOCOL = text(
    "security.inter.broker.protocol",
    "The protocol whose listener other nodes use, if inter.broker.listener.name is not set.",
)
CONTROLLER_LISTENER_NAMES = words(
    "controller.listener.names", "Listeners that are not told to clients."
)
SOCKET_SEND_BUFFER_BYTES = number(
    "socket.send.buffer.bytes", "SO_SNDBUF of client connections; -1 leaves it to the system."
)
SOCKET_RECEIVE_BUFFER_BYTES = number(
    "socket.receive.buffer.bytes",
    "SO_RCVBUF of client connections; -1 leaves it to the system, whose window grows with use.",
)
SOCKET_LISTEN_BACKLOG_SIZE = number(
    "socket.listen.backlog.size", "How many connections may wait to be accepted."
)
SOCKET_REQUEST_MAX_BYTES = number(
    "socket.request.max.bytes",
    "The largest request; a connection that sends a larger one is closed.",
)
QUEUED_MAX_REQUEST_BYTES = number(
    "queued.max.request.bytes",
    "How many bytes of requests may be worked on at once; beyond it sockets are not read. "
    "Default (-1): a share of the memory limit.",
)
MAX_CONNECTIONS = number("max.connections", "How many connections this broker accepts.")
MAX_CONNECTIONS_PER_IP = number(
    "max.connections.per.ip", "How many connections one client address may have."
)
MAX_CONNECTIONS_PER_IP_OVERRIDES = text(
    "max.connections.per.ip.overrides", "Exceptions to max.connections.per.ip: host:count, ..."
)
MAX_CONNECTION_CREATION_RATE = number(
    "max.connection.creation.rate",
    "How many connections a second this broker accepts; those beyond wait.",
)
CONNECTIONS_MAX_IDLE_MS = number(
    "connections.max.idle.ms", "A connection without a request for so long is closed; -1: never."
)
MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS = number(
    "max.incremental.fetch.session.cache.slots", "How many incremental fetch sessions are kept."
)
FETCH_MAX_BYTES = number("fetch.max.bytes", "The most bytes a fetch response holds.")

# -- topics and partitions

AUTO_CREATE_TOPICS_ENABLE = boolean(
    "auto.create.topics.enable", "Whether asking for a topic that does not exist creates it."
)
NUM_PARTITIONS = number("num.partitions", "The partitions of a topic that asks for no number.")
DEFAULT_REPLICATION_FACTOR = number(
    "default.replication.factor", "The length of the placement list of a topic that asks for none."
)
DELETE_TOPIC_ENABLE = boolean("delete.topic.enable", "Whether topics can be deleted.")
MAX_REQUEST_PARTITION_SIZE_LIMIT = number(
    "max.request.partition.size.limit", "The most partitions in one DescribeTopicPartitions answer."
)
LOG_RETENTION_CHECK_INTERVAL_MS = number(
    "log.retention.check.interval.ms", "How often retention is applied."
)
PRODUCER_ID_EXPIRATION_MS = number(
    "producer.id.expiration.ms", "A partition forgets a producer that was silent for so long."
)
PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS = number(
    "producer.id.expiration.check.interval.ms", "How often silent producers are looked for."
)

# -- what a topic takes when it does not say otherwise (see the topic keys)

COMPRESSION_TYPE = text("compression.type", "Default of the topics' compression.type.")
COMPRESSION_GZIP_LEVEL = number("compression.gzip.level", "Default of compression.gzip.level.")
COMPRESSION_LZ4_LEVEL = number("compression.lz4.level", "Default of compression.lz4.level.")
COMPRESSION_ZSTD_LEVEL = number("compression.zstd.level", "Default of compression.zstd.level.")
LOG_CLEANUP_POLICY = words("log.cleanup.policy", "Default of the topics' cleanup.policy.")
LOG_CLEANER_DELETE_RETENTION_MS = number(
    "log.cleaner.delete.retention.ms", "Default of the topics' delete.retention.ms."
)
LOG_CLEANER_MIN_COMPACTION_LAG_MS = number(
    "log.cleaner.min.compaction.lag.ms", "Default of the topics' min.compaction.lag.ms."
)
LOG_CLEANER_MAX_COMPACTION_LAG_MS = number(
    "log.cleaner.max.compaction.lag.ms", "Default of the topics' max.compaction.lag.ms."
)
LOG_MESSAGE_TIMESTAMP_TYPE = text(
    "log.message.timestamp.type", "Default of the topics' message.timestamp.type."
)
LOG_MESSAGE_TIMESTAMP_BEFORE_MAX_MS = number(
    "log.message.timestamp.before.max.ms", "Default of message.timestamp.before.max.ms."
)
LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS = number(
    "log.message.timestamp.after.max.ms", "Default of message.timestamp.after.max.ms."
)
LOG_RETENTION_BYTES = number("log.retention.bytes", "Default of the topics' retention.bytes.")
LOG_RETENTION_MS = optional_number("log.retention.ms", "Default of the topics' retention.ms.")
LOG_RETENTION_MINUTES = optional_number(
    "log.retention.minutes", "In force if log.retention.ms is not set."
)
LOG_RETENTION_HOURS = number(
    "log.retention.hours", "In force if neither log.retention.ms nor .minutes is set."
)
LOG_ROLL_MS = optional_number("log.roll.ms", "Default of the topics' segment.ms.")
LOG_ROLL_HOURS = number("log.roll.hours", "In force if log.roll.ms is not set.")
LOG_SEGMENT_BYTES = number("log.segment.bytes", "Default of the topics' segment.bytes.")
MESSAGE_MAX_BYTES = number("message.max.bytes", "Default of the topics' max.message.bytes.")
MIN_INSYNC_REPLICAS = number("min.insync.replicas", "Default of the topics' min.insync.replicas.")

# -- classic consumer groups and their offsets

GROUP_MIN_SESSION_TIMEOUT_MS = number(
    "group.min.session.timeout.ms", "The shortest session timeout a member of a group may ask for."
)
GROUP_MAX_SESSION_TIMEOUT_MS = number(
    "group.max.session.timeout.ms", "The longest session timeout a member of a group may ask for."
)
GROUP_INITIAL_REBALANCE_DELAY_MS = number(
    "group.initial.rebalance.delay.ms",
    "How long an empty group waits for more members to join; each one that comes starts it anew.",
)
GROUP_MAX_SIZE = number("group.max.size", "How many members a group may have.")
OFFSET_METADATA_MAX_BYTES = number(
    "offset.metadata.max.bytes", "The most metadata a committed offset may carry."
)
OFFSETS_RETENTION_MINUTES = number(
    "offsets.retention.minutes", "How long the offsets of a group without members are kept."
)
OFFSETS_RETENTION_CHECK_INTERVAL_MS = number(
    "offsets.retention.check.interval.ms", "How often expired offsets are looked for."
)
OFFSETS_COMMIT_TIMEOUT_MS = number(
    "offsets.commit.timeout.ms", "How long an offset commit may take to be stored."
)
OFFSETS_TOPIC_NUM_PARTITIONS = number(
    "offsets.topic.num.partitions", "The partitions of __consumer_offsets, when it is created."
)
OFFSETS_TOPIC_REPLICATION_FACTOR = number(
    "offsets.topic.replication.factor",
    "The placement list of __consumer_offsets; at most the live nodes are taken.",
)
OFFSETS_TOPIC_SEGMENT_BYTES = number(
    "offsets.topic.segment.bytes", "The segment.bytes of __consumer_offsets, when it is created."
)
