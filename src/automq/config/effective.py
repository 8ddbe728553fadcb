"""The values in force: a broker's, with dynamic changes on top of what it was started with, and a
topic's, with its own settings on top of its broker's.

A value is looked for in this order: the topic's own, the broker's dynamic one, the cluster's
dynamic default, what the broker was started with, the default (KIP-226). Both classes are
immutable: a change makes new ones, so whoever holds one sees a consistent set.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final, TypeVar, cast

import msgspec

from automq.config import keys
from automq.config.key import ConfigError, Setting, Value
from automq.config.keys.tables import KeyTable
from automq.config.node_config import NodeConfig

T = TypeVar("T")

log = logging.getLogger(__name__)

NONE_SET: Final[Mapping[str, str]] = {}


class TopicConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of a topic, by Kafka's names. Unlimited is -1 where Kafka says so."""

    cleanup_policy: tuple[str, ...]
    compression_gzip_level: int
    compression_lz4_level: int
    compression_type: str
    compression_zstd_level: int
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    follower_replication_throttled_replicas: tuple[str, ...]
    index_interval_bytes: int
    internal_segment_bytes: int | None
    leader_replication_throttled_replicas: tuple[str, ...]
    local_retention_bytes: int
    local_retention_ms: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    min_insync_replicas: int
    preallocate: bool
    remote_log_copy_disable: bool
    remote_log_delete_on_disable: bool
    remote_storage_enable: bool
    retention_bytes: int
    retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    segment_jitter_ms: int
    segment_ms: int
    unclean_leader_election_enable: bool
    # What the hot path asks, worked out once.
    is_compacted: bool
    is_deleted: bool
    is_log_append_time: bool

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> "TopicConfig":
        """From a value for every topic key."""
        policy = cast(tuple[str, ...], values["cleanup.policy"])
        fields = {name.replace(".", "_"): value for name, value in values.items()}
        return cls(
            **fields,  # type: ignore[arg-type]
            is_compacted="compact" in policy,
            is_deleted="delete" in policy,
            is_log_append_time=values["message.timestamp.type"] == "LogAppendTime",
        )


class BrokerConfigs:
    """One broker's configuration in its layers, and what follows from them together.

    `static` is what it was started with, `dynamic_default` what is set for all brokers,
    `dynamic_broker` what is set for this one; all as texts by key. `base` are the typed values
    before any dynamic change. A stored dynamic value that cannot be parsed is logged and left out,
    as if it were not set.
    """

    def __init__(
        self,
        *,
        static: Mapping[str, str],
        base: Mapping[str, Value],
        dynamic_default: Mapping[str, str] = NONE_SET,
        dynamic_broker: Mapping[str, str] = NONE_SET,
    ) -> None:
        self.static = static
        self.base = base
        self.dynamic_default = valid_broker_settings(dynamic_default)
        self.dynamic_broker = valid_broker_settings(dynamic_broker)
        self.values, self.originals = overlay(
            base, static, (self.dynamic_default, self.dynamic_broker)
        )

    @classmethod
    def of(cls, config: NodeConfig) -> "BrokerConfigs":
        """Those of a node that was just started."""
        return cls(static=config.static, base=config.values)

    def with_dynamic(
        self,
        *,
        default: Mapping[str, str] | None = None,
        broker: Mapping[str, str] | None = None,
    ) -> "BrokerConfigs":
        """With other dynamic settings: the cluster's default ones, this broker's, or both."""
        return BrokerConfigs(
            static=self.static,
            base=self.base,
            dynamic_default=self.dynamic_default if default is None else default,
            dynamic_broker=self.dynamic_broker if broker is None else broker,
        )

    def get(self, key: Setting[T]) -> T:
        """The value in force of a broker key."""
        return cast(T, self.values[key.name])

    @cached_property
    def topic_defaults(self) -> Mapping[str, Value]:
        """A value for every topic key, for a topic that sets none."""
        return {
            key.name: self.from_synonyms(key.synonyms, key.default)
            for key in keys.topic_keys().values()
        }

    @cached_property
    def default_topic_config(self) -> TopicConfig:
        """The configuration of every topic that sets nothing."""
        return TopicConfig.of(self.topic_defaults)

    def topic_config(self, settings: Mapping[str, str]) -> TopicConfig:
        """The configuration of a topic that sets `settings` (texts by topic key)."""
        if not settings:
            return self.default_topic_config
        return TopicConfig.of(
            {**self.topic_defaults, **parse_settings(keys.topic_keys(), settings)}
        )

    def group_values(self, settings: Mapping[str, str]) -> dict[str, Value]:
        """A value for every group key, for a group that sets `settings`."""
        table = keys.group_keys()
        defaults = {
            key.name: self.from_synonyms(key.synonyms, key.default) for key in table.values()
        }
        return defaults | parse_settings(table, settings)

    def from_synonyms(self, synonyms: Iterable[str], default: Value) -> Value:
        """The first of these broker keys that has a value, times its factor (hours to ms)."""
        for synonym in synonyms:
            name, _, factor = synonym.partition("*")
            value = self.values[name]
            if value is None:
                continue
            if factor:
                value = cast(int, value) * int(factor)
            if name.startswith("log.retention.") and not name.endswith("bytes"):
                value = max(cast(int, value), -1)  # any negative time is no limit
            return value
        return default


def overlay(
    base: Mapping[str, Value], static: Mapping[str, str], layers: Iterable[Mapping[str, str]]
) -> tuple[dict[str, Value], dict[str, str]]:
    """The typed values and the texts with `layers` on top.

    A key that is set hides all its synonyms below: log.retention.hours set dynamically wins over
    log.retention.ms in the file.
    """
    table = keys.broker_keys()
    values, originals = dict(base), dict(static)
    for layer in layers:
        for name, text in layer.items():
            key = table.get(name)
            if key is not None:
                for synonym in key.synonyms:
                    values[synonym] = table[synonym].default
                    originals.pop(synonym, None)
                values[name] = key.parse(text)
            originals[name] = text
    return values, originals


def valid_broker_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """What can be parsed of stored dynamic settings; keys nobody knows are kept, for plug-ins."""
    table = {**keys.broker_keys(), **keys.dynamic_only_broker_keys()}
    good = {name for name in settings if name not in table}
    good.update(parse_settings(table, {n: t for n, t in settings.items() if n in table}))
    return {name: text for name, text in settings.items() if name in good}


def parse_settings(table: KeyTable, settings: Mapping[str, str]) -> dict[str, Value]:
    """The typed values of stored settings; one that is unknown or cannot be parsed is left out.

    They were checked before they were stored, so this only happens to those of another version.
    """
    values: dict[str, Value] = {}
    for name, text in settings.items():
        key = table.get(name)
        try:
            if key is None:
                raise ConfigError(f"Unknown configuration {name}")
            values[name] = key.parse(text)
        except ConfigError as error:
            log.warning("a stored setting is ignored: %s", error)
    return values
