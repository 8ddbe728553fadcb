"""Configuration: which keys exist, what their values may be, and what is in force where.

* `Key` (key.py): a name, a type, its rules, a default, who may change it while running. Kafka's
  keys are facts taken from Apache Kafka's own classes (`keys/kafka.tsv`); ours are declared in
  `keys/automq.py`.
* `keys`: the keys that this code reads, as typed constants (`keys.SOCKET_REQUEST_MAX_BYTES`), and
  the complete tables (`keys.broker_keys()`, `keys.topic_keys()`, ...), built when first asked for.
* `NodeConfig` (node_config.py): what one node was started with, from a properties file, the
  environment and `--set`, in that order; checked as a whole before anything is created.
* `BrokerConfigs` and `TopicConfig` (effective.py): the values in force, with dynamic changes on
  top.
* `describe_broker`, `describe_topic`, ... (describe.py): what DescribeConfigs answers.
* `alter_broker`, `alter_topic`, ... (alter.py): what IncrementalAlterConfigs and AlterConfigs
  store.

Invariants: every value that leaves this package has been parsed and checked. An error is one line
that names the key, the value and what would be right (`ConfigError`). A password is never part of
an error, a description or a representation.

Nothing here reads a clock, opens a socket or writes a file; only `sources.py` reads (a file, the
memory limit), and only when the command line asks.
"""

from automq.config.effective import BrokerConfigs, TopicConfig
from automq.config.key import ConfigError, Dynamic, Importance, Key, Setting, ValueType
from automq.config.listeners import Listener, SecurityProtocol
from automq.config.node_config import ConfigErrors, NodeConfig

__all__ = [
    "BrokerConfigs",
    "ConfigError",
    "ConfigErrors",
    "Dynamic",
    "Importance",
    "Key",
    "Listener",
    "NodeConfig",
    "SecurityProtocol",
    "Setting",
    "TopicConfig",
    "ValueType",
]
