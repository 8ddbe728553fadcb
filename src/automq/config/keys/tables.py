"""The tables of Kafka's keys, built from `kafka.tsv` when first asked for."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from automq.config.key import (
    Check,
    Dynamic,
    Importance,
    Key,
    ListOf,
    Matches,
    NonEmpty,
    OneOf,
    Range,
    RangeOr,
    Value,
    ValueType,
    parse_text,
)
from automq.config.keys import automq, kafka, topics
from automq.config.keys.known import Known

AnyKey: TypeAlias = Key[Any]
KeyTable: TypeAlias = Mapping[str, AnyKey]

FACTS: Final = Path(__file__).with_name("kafka.tsv")
NO_EFFECT: Final = "Accepted and shown; has no effect here."

# What a bare `automq server` is: Kafka has no default for these, or one that is open to the world.
# But for the last: Kafka's 100 KiB keep a producer waiting for every answer to its bytes, and the
# system's own window, which grows with what is read, takes a quarter of the CPU of a produced byte
# away (benches/NOTES.md).
OUR_DEFAULTS: Final[dict[str, Value]] = {
    "node.id": 1,
    "process.roles": ("broker", "controller"),
    "listeners": ("PLAINTEXT://127.0.0.1:9092",),
    "controller.listener.names": (),
    "socket.receive.buffer.bytes": -1,
}

MODES: Final = {
    "ro": Dynamic.READ_ONLY,
    "pb": Dynamic.PER_BROKER,
    "cw": Dynamic.CLUSTER_WIDE,
}

# Kafka can change these while it runs; a broker here takes them at its next start, and says so.
FIXED_HERE: Final = frozenset(
    {"listeners", "listener.security.protocol.map", "principal.builder.class", "config.providers"}
)

THROTTLED: Final = Matches(
    r"\*|[0-9]+:[0-9]+",
    "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
    "{name} must be the literal '*' or a list of replicas in the following format: "
    "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
)
VOTERS: Final = Matches(r"[0-9]+@[^@]+:[0-9]+", "id@host:port,...", "Expected id@host:port, ...")
SERVERS: Final = Matches(r"[^@]+:[0-9]+", "host:port,...", "Expected host:port, ...")
OFFSET_RESET: Final = Matches(
    r"(?i)latest|earliest|by_duration:P(?=[\dT])(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?",
    "[latest, earliest, by_duration:PnDTnHnMn.nS]",
    "Invalid value `{value}` for configuration {name}. The value must be either 'earliest', "
    "'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
)
NAMED_CHECKS: Final[dict[str, tuple[Check, ...]]] = {
    "": (),
    "throttled": (THROTTLED,),
    "voters": (VOTERS,),
    "servers": (SERVERS,),
    "offset-reset": (OFFSET_RESET,),
    "nonempty": (NonEmpty(),),
    "gzip": (RangeOr(1, 9, other=-1),),
}


def parse_check(code: str) -> tuple[Check, ...]:
    if code in NAMED_CHECKS:
        return NAMED_CHECKS[code]
    if ".." in code:
        ends = (float(end) if "." in end else int(end) if end else None for end in code.split(".."))
        return (Range(*ends),)
    kind, _, listed = code.partition(":")
    valid = tuple(listed.split(",")) if listed else ()
    if kind.startswith("list"):
        return (ListOf(valid, may_be_empty="+" not in kind, may_be_null="?" in kind),)
    assert kind in ("in", "in-any-case"), code
    return (OneOf(valid, any_case=kind == "in-any-case"),)


def parse_key(line: str, docs: Mapping[str, str]) -> AnyKey:
    """One line of facts. `docs` says what the key does here; without an entry it has no effect."""
    _, name, kind, default, importance, mode, check, synonyms, internal = (
        line.split("\t") + [""] * 3
    )[:9]
    value_type = ValueType[kind]
    default_value = parse_text(name, default[1:], value_type) if default[0] == "=" else None
    return Key(
        name=name,
        value_type=value_type,
        default=OUR_DEFAULTS.get(name, default_value),
        required=default == "-",
        checks=parse_check(check),
        importance=Importance[importance],
        dynamic=Dynamic.READ_ONLY if name in FIXED_HERE else MODES[mode],
        synonyms=tuple(synonyms.split(",")) if synonyms else (),
        internal=bool(internal),
        doc=docs.get(name, NO_EFFECT),
        honoured=name in docs,
    )


@functools.cache
def fact_lines() -> tuple[str, ...]:
    return tuple(line for line in FACTS.read_text("utf-8").splitlines() if line[0] != "#")


def table(scope: str, docs: Callable[[], Mapping[str, str]]) -> KeyTable:
    said, prefix = docs(), scope + "\t"
    keys = (parse_key(line, said) for line in fact_lines() if line.startswith(prefix))
    return MappingProxyType({key.name: key for key in keys})


def known_docs() -> dict[str, str]:
    known = (item for item in vars(kafka).values() if isinstance(item, Known))
    return {item.name: item.doc for item in known}


@functools.cache
def broker_keys() -> KeyTable:
    """Every key that a broker is started with: Kafka's and ours."""
    ours = (item for item in vars(automq).values() if isinstance(item, Key))
    return MappingProxyType({**table("broker", known_docs), **{key.name: key for key in ours}})


@functools.cache
def dynamic_only_broker_keys() -> KeyTable:
    """Broker keys that exist only as dynamic configuration (replication throttles)."""
    return table("broker-dynamic", dict)


@functools.cache
def topic_keys() -> KeyTable:
    """Every key of a topic."""
    return table("topic", lambda: topics.TOPIC_DOCS)


@functools.cache
def group_keys() -> KeyTable:
    """Every key of a consumer, share or streams group."""
    return table("group", lambda: topics.GROUP_DOCS)


@functools.cache
def client_metrics_keys() -> KeyTable:
    """Every key of a client metrics subscription (KIP-714)."""
    return table("client-metrics", lambda: topics.CLIENT_METRICS_DOCS)
