"""What IncrementalAlterConfigs, AlterConfigs and CreateTopics store, or why they store nothing.

Each `alter_...` takes what is set now and what is asked, and returns the changes to store: by key,
the new text, or None for a key that is no longer set. Nothing is stored here. What is refused is
refused whole, with Kafka's code and words: INVALID_CONFIG from the rules of topics, groups and
lists, INVALID_REQUEST from those of brokers and client metrics (KAFKA-13609).
"""

import enum
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, cast

import msgspec

from automq.config import keys
from automq.config.effective import BrokerConfigs, overlay
from automq.config.key import (
    ConfigError,
    Dynamic,
    Value,
    ValueType,
    base_of_listener_key,
    to_text,
)
from automq.config.keys.tables import FIXED_HERE, AnyKey, KeyTable
from automq.config.rules import batch_limit, broker_rules
from automq.protocol import errors

Settings: TypeAlias = Mapping[str, str]
Changes: TypeAlias = dict[str, str | None]


CLUSTER_LISTENER_KEYS: Final = frozenset(
    {"max.connections", "max.connection.creation.rate", "num.network.threads"}
)
METRICS_MATCH: Final = frozenset(
    {
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    }
)
METRICS_INTERVAL_MS: Final = (100, 3_600_000)
# A group's value lies between two keys of the broker: (group key, broker key, whether it is least).
GROUP_BOUNDS: Final = tuple(
    (f"{kind}.{name}", f"group.{kind}.{end}.{name}", end == "min")
    for kind, names in {
        "consumer": ("heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"),
        "share": (
            "heartbeat.interval.ms",
            "session.timeout.ms",
            "record.lock.duration.ms",
            "delivery.count.limit",
            "partition.max.record.locks",
            "assignment.interval.ms",
        ),
        "streams": ("heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"),
    }.items()
    for name in names
    for end in ("min", "max")
)


class OpType(enum.IntEnum):
    """What to do with a key, by its number in IncrementalAlterConfigs."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Op(msgspec.Struct, frozen=True):
    """One change that a client asks for. `op` is the number it sent."""

    name: str
    op: int
    value: str | None


def alter_topic(
    broker: BrokerConfigs, current: Settings, ops: Sequence[Op], *, batch_bytes_max: int
) -> Changes:
    """The changes to a topic's settings. Raises InvalidConfig or InvalidRequest."""
    check_ops(ops)
    after = apply_ops(current, ops, keys.topic_keys())
    check_topic(broker, after, before=current, batch_bytes_max=batch_bytes_max)
    return changes_between(current, after)


def replace_topic(
    broker: BrokerConfigs,
    current: Settings,
    wanted: Sequence[tuple[str, str | None]],
    *,
    batch_bytes_max: int,
) -> Changes:
    """The changes that leave a topic with exactly the `wanted` settings (AlterConfigs)."""
    after = no_doubles(wanted)
    check_topic(broker, after, before=current, batch_bytes_max=batch_bytes_max)
    return changes_between(current, after)


def new_topic(
    broker: BrokerConfigs, wanted: Sequence[tuple[str, str | None]], *, batch_bytes_max: int
) -> dict[str, str]:
    """What a new topic sets (CreateTopics). Raises InvalidConfig or InvalidRequest."""
    nulls = [name for name, text in wanted if text is None]
    if nulls:
        raise errors.InvalidConfig(f"Null value not supported for topic configs: {','.join(nulls)}")
    after = no_doubles(wanted)
    check_topic(broker, after, before={}, batch_bytes_max=batch_bytes_max)
    return after


def check_topic(
    broker: BrokerConfigs, settings: Settings, *, before: Settings, batch_bytes_max: int
) -> None:
    """Refuse settings that a topic cannot have: names, types, ranges, values against each other.

    `batch_bytes_max` is the largest batch the node's WAL and caches can hold: none is ever split.
    """
    table = keys.topic_keys()
    for name in settings:
        if name not in table:
            raise errors.InvalidConfig(f"Unknown topic config name: {name}")
    try:
        own = {name: table[name].parse(text) for name, text in settings.items()}
    except ConfigError as error:
        raise errors.InvalidConfig(str(error)) from None
    values = {**broker.topic_defaults, **own}
    check_lags(values)
    check_remote(values, before)
    largest = cast(int, own.get("max.message.bytes", 0))
    if largest > batch_bytes_max:
        refusal = ConfigError.of("max.message.bytes", largest, batch_limit(batch_bytes_max))
        raise errors.InvalidConfig(str(refusal))


def check_lags(values: Mapping[str, Value]) -> None:
    shortest = cast(int, values["min.compaction.lag.ms"])
    longest = cast(int, values["max.compaction.lag.ms"])
    if shortest > longest:
        raise errors.InvalidConfig(
            f"conflict topic config setting min.compaction.lag.ms ({shortest}) > "
            f"max.compaction.lag.ms ({longest})"
        )


def check_remote(values: Mapping[str, Value], before: Settings) -> None:
    """Tiered storage (KIP-405) is not offered: all data is in the object store already."""
    if values["remote.storage.enable"]:
        raise errors.InvalidConfig(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )
    was_enabled = before.get("remote.storage.enable", "false").strip().lower() == "true"
    if was_enabled and not values["remote.log.delete.on.disable"]:
        raise errors.InvalidConfig(
            "It is invalid to disable remote storage without deleting remote data; set "
            "remote.log.delete.on.disable=true as well."
        )


def alter_broker(broker: BrokerConfigs, ops: Sequence[Op], *, for_all: bool) -> Changes:
    """The changes to the dynamic settings of this broker, or of all brokers if `for_all`.

    Raises InvalidRequest, or InvalidConfig for an operation that the key's type does not have.
    Whether the resource names this broker is for the caller to check.
    """
    check_ops(ops)
    current = broker.dynamic_default if for_all else broker.dynamic_broker
    table = {**keys.broker_keys(), **keys.dynamic_only_broker_keys()}
    after = apply_ops(current, ops, table, of_broker=True)
    check_broker(broker, after, for_all=for_all)
    # A key set to what it was is stored again: it makes brokers load files anew (KAFKA-14136).
    return changes_between(current, after) | {
        op.name: after[op.name] for op in ops if op.op == OpType.SET
    }


def replace_broker(
    broker: BrokerConfigs, wanted: Sequence[tuple[str, str | None]], *, for_all: bool
) -> Changes:
    """The changes that leave exactly the `wanted` dynamic settings (AlterConfigs)."""
    current = broker.dynamic_default if for_all else broker.dynamic_broker
    after = no_doubles(wanted)
    check_broker(broker, after, for_all=for_all)
    return changes_between(current, after) | dict(after)


def check_broker(broker: BrokerConfigs, settings: Settings, *, for_all: bool) -> None:
    """Refuse dynamic settings that a broker cannot have."""
    check_dynamic(settings)
    check_broker_types(settings)
    if for_all:
        alone = [name for name in settings if needs_a_broker(name)]
        refuse_names(
            alone,
            "Cannot update these configs at default cluster level, broker id must be specified",
        )
        layers: tuple[Settings, Settings] = (settings, broker.dynamic_broker)
    else:
        layers = (broker.dynamic_default, settings)
    values, _ = overlay(broker.base, broker.static, layers)
    for broken in broker_rules(values):
        raise errors.InvalidRequest(broken)


def check_dynamic(settings: Settings) -> None:
    table = keys.broker_keys()
    fixed = [
        name
        for name in settings
        if name in table and table[name].dynamic is Dynamic.READ_ONLY and name not in FIXED_HERE
    ]
    refuse_names(fixed, "Cannot update these configs dynamically")
    here = [name for name in settings if name in FIXED_HERE]
    refuse_names(here, "These configs take effect at the next start; set them in the broker's file")
    security = [name for name in settings if name in table and is_listener_security(table[name])]
    refuse_names(
        security,
        "These security configs can be dynamically updated only per-listener using the listener "
        "prefix",
    )


def is_listener_security(key: AnyKey) -> bool:
    return key.name.startswith("ssl.") and key.dynamic is Dynamic.PER_BROKER


def check_broker_types(settings: Settings) -> None:
    table = {**keys.broker_keys(), **keys.dynamic_only_broker_keys()}
    for name, text in settings.items():
        key = table.get(base_of_listener_key(name) or name)
        if key is None:
            continue  # a plug-in's key: nobody knows its type
        try:
            value = key.parse(text)
        except ConfigError as error:
            shown = str(error) if not key.sensitive else f"Invalid value for configuration {name}"
            raise errors.InvalidRequest(shown) from None
        if key.value_type is ValueType.CLASS and value != key.default:
            raise errors.InvalidRequest(
                str(ConfigError.of(name, text, f"Class {text} could not be found."))
            )


def needs_a_broker(name: str) -> bool:
    base = base_of_listener_key(name)
    if base is not None:
        return base not in CLUSTER_LISTENER_KEYS
    key = keys.broker_keys().get(name)
    return key is not None and key.dynamic is Dynamic.PER_BROKER


def alter_group(broker: BrokerConfigs, current: Settings, ops: Sequence[Op]) -> Changes:
    """The changes to a group's settings. Raises InvalidConfig or InvalidRequest."""
    check_ops(ops)
    after = apply_ops(current, ops, keys.group_keys())
    check_group(broker, after)
    return changes_between(current, after)


def replace_group(
    broker: BrokerConfigs, current: Settings, wanted: Sequence[tuple[str, str | None]]
) -> Changes:
    """The changes that leave a group with exactly the `wanted` settings (AlterConfigs)."""
    after = no_doubles(wanted)
    check_group(broker, after)
    return changes_between(current, after)


def check_group(broker: BrokerConfigs, settings: Settings) -> None:
    """Refuse settings that a group cannot have."""
    table = keys.group_keys()
    for name in settings:
        if name not in table:
            raise errors.InvalidConfig(f"Unknown group config name: {name}")
    try:
        own = {name: table[name].parse(text) for name, text in settings.items()}
    except ConfigError as error:
        raise errors.InvalidConfig(str(error)) from None
    for name, bound, is_least in GROUP_BOUNDS:
        check_group_bound(broker, own, name, bound, is_least=is_least)
    check_group_bound(
        broker,
        own,
        "streams.num.standby.replicas",
        "group.streams.max.standby.replicas",
        is_least=False,
    )
    values = broker.group_values(settings)
    for kind in ("consumer", "share", "streams"):
        session, beat = f"{kind}.session.timeout.ms", f"{kind}.heartbeat.interval.ms"
        if cast(int, values[session]) <= cast(int, values[beat]):
            raise errors.InvalidConfig(f"{session} must be greater than {beat}")


def check_group_bound(
    broker: BrokerConfigs, own: Mapping[str, Value], name: str, bound: str, *, is_least: bool
) -> None:
    if name not in own:
        return
    value, limit = cast(int, own[name]), cast(int, broker.values[bound])
    if is_least and value < limit:
        raise errors.InvalidConfig(f"{name} must be greater than or equal to {bound}")
    if not is_least and value > limit:
        raise errors.InvalidConfig(f"{name} must be less than or equal to {bound}")


def alter_client_metrics(current: Settings, ops: Sequence[Op]) -> Changes:
    """The changes to a client metrics subscription (KIP-714). Raises as the others do."""
    check_ops(ops)
    after = apply_ops(current, ops, keys.client_metrics_keys())
    check_client_metrics(after)
    return changes_between(current, after)


def replace_client_metrics(current: Settings, wanted: Sequence[tuple[str, str | None]]) -> Changes:
    """The changes that leave a subscription with exactly the `wanted` settings (AlterConfigs)."""
    after = no_doubles(wanted)
    check_client_metrics(after)
    return changes_between(current, after)


def check_client_metrics(settings: Settings) -> None:
    """Refuse settings that a client metrics subscription cannot have."""
    table = keys.client_metrics_keys()
    for name in settings:
        if name not in table:
            raise errors.InvalidRequest(f"Unknown client metrics configuration: {name}")
    try:
        own = {name: table[name].parse(text) for name, text in settings.items()}
    except ConfigError as error:
        raise errors.InvalidConfig(str(error)) from None
    interval_ms = cast(int, own.get("interval.ms", METRICS_INTERVAL_MS[0]))
    if not METRICS_INTERVAL_MS[0] <= interval_ms <= METRICS_INTERVAL_MS[1]:
        raise errors.InvalidRequest(
            f"Invalid value {interval_ms} for interval.ms, "
            "interval must be between 100 and 3600000 (1 hour)"
        )
    for pattern in cast(tuple[str, ...], own.get("match", ())):
        check_match(pattern)


def check_match(pattern: str) -> None:
    name, _, expression = pattern.partition("=")
    try:
        if name.strip() not in METRICS_MATCH or not expression or "=" in expression:
            raise ValueError
        re.compile(expression.strip())
    except (ValueError, re.error):
        raise errors.InvalidConfig(f"Illegal client matching pattern: {pattern}") from None


def check_ops(ops: Sequence[Op]) -> None:
    """What no resource accepts: a key twice, an unknown operation, a value that is missing."""
    if any(count > 1 for count in Counter(op.name for op in ops).values()):
        raise errors.InvalidRequest("Error due to duplicate config keys")
    nulls = [op.name for op in ops if op.op != OpType.DELETE and op.value is None]
    if nulls:
        raise errors.InvalidRequest(f"Null value not supported for : {', '.join(nulls)}")
    for op in ops:
        if op.op not in OpType.__members__.values():
            raise errors.InvalidRequest(f"Unknown operations type {op.op}")


def no_doubles(wanted: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    check_ops([Op(name, OpType.SET, text) for name, text in wanted])
    return {name: cast(str, text) for name, text in wanted}


def apply_ops(
    current: Settings, ops: Sequence[Op], table: KeyTable, *, of_broker: bool = False
) -> dict[str, str]:
    """The settings after `ops`. Raises InvalidConfig for a list operation on what is no list."""
    after = dict(current)
    for op in ops:
        if op.op == OpType.DELETE:
            after.pop(op.name, None)
        elif op.op == OpType.SET:
            after[op.name] = cast(str, op.value)
        else:
            key = list_key(op, table, of_broker=of_broker)
            text = after.get(op.name, to_text(key.default) or "")
            change: Callable[[list[str], list[str]], list[str]]
            change = appended if op.op == OpType.APPEND else subtracted
            items = [item for item in text.split(",") if item]
            after[op.name] = ",".join(change(items, cast(str, op.value).split(",")))
    return after


def list_key(op: Op, table: KeyTable, *, of_broker: bool) -> AnyKey:
    key, kind = table.get(op.name), OpType(op.op)
    if key is not None and key.value_type is ValueType.LIST:
        return key
    if not of_broker:
        raise errors.InvalidConfig(
            f"Can't {kind.name} to key {op.name} because its type is not LIST."
        )
    if key is None:
        raise errors.InvalidConfig(f"Unknown config name: {op.name}")
    raise errors.InvalidConfig(
        f"Config value {kind.name.lower()} is not allowed for config key: {op.name}"
    )


def appended(items: list[str], more: list[str]) -> list[str]:
    return items + [item for item in dict.fromkeys(more) if item not in items]


def subtracted(items: list[str], less: list[str]) -> list[str]:
    return [item for item in items if item not in less]


def changes_between(before: Settings, after: Settings) -> Changes:
    """What has to be stored to come from one to the other."""
    changes: Changes = {name: text for name, text in after.items() if before.get(name) != text}
    return changes | dict.fromkeys(name for name in before if name not in after)


def refuse_names(names: Iterable[str], why: str) -> None:
    listed = ", ".join(sorted(names))
    if listed:
        raise errors.InvalidRequest(f"{why}: [{listed}]")
