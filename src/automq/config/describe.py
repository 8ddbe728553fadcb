"""What DescribeConfigs answers: each value in force, where it comes from, and what it hides.

The rules are those of Apache Kafka's ConfigHelper (KIP-133, KIP-226, KIP-524), odd ones included: a
topic's synonyms start at the first that carries the broker key's own name, so a topic whose
retention.ms follows from log.retention.hours names no synonym at all.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from automq.config import keys
from automq.config.effective import BrokerConfigs, parse_settings
from automq.config.key import Dynamic, Value, ValueType, base_of_listener_key, to_text
from automq.config.keys.tables import AnyKey

MECHANISM_KEYS: Final = (
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
)


class Source(enum.IntEnum):
    """Where a value comes from, by its number in DescribeConfigs."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    DYNAMIC_CLIENT_METRICS_CONFIG = 7
    DYNAMIC_GROUP_CONFIG = 8


class Synonym(msgspec.Struct, frozen=True):
    """One of the places a value was looked for, and what was there (None for a password)."""

    name: str
    value: str | None
    source: Source


class ConfigEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of DescribeConfigs. `value` is None where there is none, and for a password."""

    name: str
    value: str | None
    source: Source
    is_sensitive: bool
    read_only: bool
    synonyms: tuple[Synonym, ...]
    value_type: ValueType
    documentation: str

    @property
    def is_default(self) -> bool:
        return self.source is Source.DEFAULT_CONFIG


Names = Iterable[str] | None


def describe_topic(
    broker: BrokerConfigs, settings: Mapping[str, str], names: Names = None
) -> list[ConfigEntry]:
    """Every setting of a topic that sets `settings`; with `names`, only those."""
    table = keys.topic_keys()
    own = parse_settings(table, settings)
    values = {**broker.topic_defaults, **own}
    entries = []
    for key in wanted(table.values(), names):
        if key.internal and key.name not in own:
            continue
        synonyms = []
        if key.synonyms:
            first = key.synonyms[0].partition("*")[0]
            synonyms = list(layers_of(broker, first, sensitive=key.sensitive))
        entries.append(
            entry_of(key, values[key.name], key.name in own, Source.DYNAMIC_TOPIC_CONFIG, synonyms)
        )
    return entries


def describe_group(
    broker: BrokerConfigs, settings: Mapping[str, str], names: Names = None
) -> list[ConfigEntry]:
    """Every setting of a group that sets `settings`; with `names`, only those."""
    table = keys.group_keys()
    own = parse_settings(table, settings)
    values = broker.group_values(settings)
    entries = []
    for key in wanted(table.values(), names):
        synonyms: list[Synonym] = []
        if key.synonyms:
            synonyms = list(layers_of(broker, key.synonyms[0], sensitive=key.sensitive))
        elif key.name not in own:
            text = to_text(values[key.name])
            synonyms = [Synonym(key.name, text, Source.DEFAULT_CONFIG)]
        entries.append(
            entry_of(key, values[key.name], key.name in own, Source.DYNAMIC_GROUP_CONFIG, synonyms)
        )
    return entries


def describe_broker(broker: BrokerConfigs, names: Names = None) -> list[ConfigEntry]:
    """Every setting of this broker (the resource is its id); with `names`, only those."""
    table = keys.broker_keys()
    shown = [key.name for key in table.values() if not key.internal]
    shown += [name for name in broker.originals if name not in table or table[name].internal]
    return [
        broker_entry(broker, name, broker.values.get(name, broker.originals.get(name)))
        for name in pick(shown, names)
    ]


def describe_brokers(broker: BrokerConfigs, names: Names = None) -> list[ConfigEntry]:
    """What is set for all brokers (the resource has an empty name); with `names`, only those."""
    entries = []
    for name in pick(broker.dynamic_default, names):
        text = broker.dynamic_default[name]
        entries.append(broker_entry(broker, name, text, only=Source.DYNAMIC_DEFAULT_BROKER_CONFIG))
    return entries


def describe_client_metrics(settings: Mapping[str, str], names: Names = None) -> list[ConfigEntry]:
    """Every setting of a client metrics subscription; with `names`, only those."""
    table = keys.client_metrics_keys()
    own = parse_settings(table, settings)
    source = Source.DYNAMIC_CLIENT_METRICS_CONFIG
    return [
        entry_of(key, own.get(key.name, key.default), key.name in own, source, [])
        for key in wanted(table.values(), names)
    ]


def pick(shown: Iterable[str], names: Names) -> Iterator[str]:
    asked = None if names is None else frozenset(names)
    return (name for name in shown if asked is None or name in asked)


def wanted(table: Iterable[AnyKey], names: Names) -> Iterator[AnyKey]:
    asked = None if names is None else frozenset(names)
    return (key for key in table if asked is None or key.name in asked)


def entry_of(
    key: AnyKey, value: Value, is_own: bool, own: Source, synonyms: list[Synonym]
) -> ConfigEntry:
    """The entry of a topic or group key; its own value, if it has one, hides `synonyms`."""
    text = None if key.sensitive else to_text(value)
    if is_own:
        synonyms = [Synonym(key.name, text, own), *synonyms]
    return ConfigEntry(
        name=key.name,
        value=text,
        source=synonyms[0].source if synonyms else Source.DEFAULT_CONFIG,
        is_sensitive=key.sensitive,
        read_only=False,
        synonyms=tuple(synonyms),
        value_type=key.value_type,
        documentation=key.doc,
    )


def broker_entry(
    broker: BrokerConfigs, name: str, value: Value, only: Source | None = None
) -> ConfigEntry:
    """The entry of a broker key. One that nobody knows may be a secret, so its value is hidden."""
    key = key_of(name)
    sensitive = key is None or key.sensitive
    synonyms = tuple(
        synonym
        for synonym in layers_of(broker, name, sensitive=sensitive)
        if only in (None, synonym.source)
    )
    exact = keys.broker_keys().get(name) or keys.dynamic_only_broker_keys().get(name)
    return ConfigEntry(
        name=name,
        value=None if sensitive else to_text(value),
        source=synonyms[0].source if synonyms else Source.DEFAULT_CONFIG,
        is_sensitive=sensitive,
        read_only=exact is None or exact.dynamic is Dynamic.READ_ONLY,
        synonyms=synonyms,
        value_type=ValueType.UNKNOWN if key is None else key.value_type,
        documentation="" if key is None else key.doc,
    )


def key_of(name: str) -> AnyKey | None:
    """The key behind a name, which may carry a listener's prefix."""
    for table in (keys.broker_keys(), keys.dynamic_only_broker_keys()):
        for candidate in (name, *broker_synonyms(name)):
            if candidate in table:
                return table[candidate]
    return None


def broker_synonyms(name: str) -> tuple[str, ...]:
    """The names under which a broker key's value may be set, the strongest first."""
    key = keys.broker_keys().get(name)
    if key is not None:
        return key.synonyms or (name,)
    base = base_of_listener_key(name)
    if base is not None:
        return (name, next((item for item in MECHANISM_KEYS if base.endswith(item)), base))
    return (name,)


def layers_of(broker: BrokerConfigs, name: str, *, sensitive: bool) -> Iterator[Synonym]:
    """Where `name` and its synonyms are set, from the strongest; nothing before `name` itself."""
    table = keys.broker_keys()
    names = broker_synonyms(name)
    layers = (
        (broker.dynamic_broker, Source.DYNAMIC_BROKER_CONFIG),
        (broker.dynamic_default, Source.DYNAMIC_DEFAULT_BROKER_CONFIG),
        (broker.static, Source.STATIC_BROKER_CONFIG),
        ({n: default_text(table.get(n)) for n in names}, Source.DEFAULT_CONFIG),
    )
    found = False
    for texts, source in layers:
        for synonym in names:
            text = texts.get(synonym)
            if text is None:
                continue
            found = found or synonym == name
            if found:
                yield Synonym(synonym, None if sensitive else text, source)


def default_text(key: AnyKey | None) -> str | None:
    """A key's default as a synonym. Those that Kafka requires to be set have none to show."""
    return None if key is None or key.required else key.default_text
