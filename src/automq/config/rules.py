"""Rules between values: what no single key can check. Each broken rule is one line."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

from automq.config import keys
from automq.config.key import ConfigError, Value, ValueType
from automq.config.listeners import parse_protocol_map

INNER: Final = ("memory", "sim")  # for tests and simulation
HOUR_MS: Final = 3_600_000
STORES: Final = ("file", "s3", "oss", "gs", "az", "memory", "sim")
REGISTERS: Final = (*STORES, "postgresql")
REGISTERED: Final = tuple(f"registered+{it}" for it in ("s3", "oss", "gs", "az", "file"))
UNSHOWN: Final = (*INNER, *REGISTERED)
WALS: Final = ("file", "s3", "oss", "gs", "az", "object+file", *REGISTERED, "sim")
LISTENER_PREFIX: Final = "listener.name."

# Settings that would promise protection or a plug-in that is not here: refused, not ignored.
UNSUPPORTED: Final = {
    "authorizer.class.name": "no authorizer is available in this version",
    "config.providers": "not supported; give secrets as environment variables",
    "delegation.token.secret.key": "delegation tokens are not available in this version",
}


def broker_rules(values: Mapping[str, Value]) -> Iterator[str]:
    """What Kafka checks whenever broker values change, at start or while running."""
    number = partial(_number, values)
    if number("log.roll.ms", 1) < 1:
        yield "log.roll.ms must be greater than or equal to 1"
    if number("log.roll.jitter.ms", 0) < 0:
        yield "log.roll.jitter.ms must be greater than or equal to 0"
    if _retention_ms(values) == 0:
        yield "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"
    lags = [number(f"log.cleaner.{end}.compaction.lag.ms") for end in ("min", "max")]
    if lags[0] > lags[1]:
        yield (
            f"conflict topic config setting min.compaction.lag.ms ({lags[0]}) > "
            f"max.compaction.lag.ms ({lags[1]})"
        )
    if not number("log.cleaner.threads") > 0:
        yield str(ConfigError.of("log.cleaner.threads", 0, "Value must be at least 1"))
    if number("max.connections.per.ip") == 0 and not values["max.connections.per.ip.overrides"]:
        yield (
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides "
            "property is set."
        )
    yield from _overrides(str(values["max.connections.per.ip.overrides"]))


def node_rules(
    values: Mapping[str, Value],
    static: Mapping[str, str],
    *,
    uris: tuple[str, str, str],
    log_cache_bytes: int,
    batch_bytes_max: int,
    memory_bytes: int,
) -> Iterator[str]:
    """What is checked once, at start. `uris` are those of the store, the WAL and the metadata."""
    yield from _identity(values, static)
    yield from _unsupported(values, static)
    yield from _relations(values)
    yield from _sizes(values, log_cache_bytes, batch_bytes_max, memory_bytes)
    names = ("automq.storage.uri", "automq.wal.uri", "automq.metadata.uri")
    for name, uri, schemes in zip(names, uris, (STORES, WALS, REGISTERS), strict=True):
        yield from _uri(name, uri, schemes)


def _number(values: Mapping[str, Value], name: str, if_null: int = 0) -> int:
    value = values[name]
    return if_null if value is None else cast(int, value)


def _retention_ms(values: Mapping[str, Value]) -> int:
    if values["log.retention.ms"] is not None:
        return cast(int, values["log.retention.ms"])
    if values["log.retention.minutes"] is not None:
        return 60_000 * cast(int, values["log.retention.minutes"])
    return HOUR_MS * cast(int, values["log.retention.hours"])


def _overrides(text: str) -> Iterator[str]:
    for item in filter(None, (part.strip() for part in text.split(","))):
        host, _, count = item.rpartition(":")
        if not (host and count.strip().isdigit()):
            yield str(
                ConfigError.of("max.connections.per.ip.overrides", item, "Expected host:count, ...")
            )


def _identity(values: Mapping[str, Value], static: Mapping[str, str]) -> Iterator[str]:
    if values["node.id"] != values["broker.id"]:
        yield "You must set `node.id` to the same value as `broker.id`."
    if cast(int, values["node.id"]) < 0:
        yield str(ConfigError.of("node.id", values["node.id"], "Value must be at least 0"))
    if "CLASSIC" not in {
        word.upper()
        for word in cast(tuple[str, ...], values["group.coordinator.rebalance.protocols"])
    }:
        yield "Disabling the 'CLASSIC' protocol is not supported."


def _unsupported(values: Mapping[str, Value], static: Mapping[str, str]) -> Iterator[str]:
    table = keys.broker_keys()
    for name, why in UNSUPPORTED.items():
        if name in static and values[name]:
            shown = "[hidden]" if table[name].sensitive else static[name]
            yield str(ConfigError.of(name, shown, why))
    for name, text in static.items():
        key = table.get(name)
        if key is not None and key.value_type is ValueType.CLASS and values[name] != key.default:
            yield str(
                ConfigError.of(name, text, f"Class {text} could not be found; no Java is run here")
            )
    try:
        protocols = parse_protocol_map(str(values["listener.security.protocol.map"]))
    except ConfigError:
        return  # reported with the listeners
    for text in cast(tuple[str, ...], values["listeners"]):
        protocol = protocols.get(text.partition("://")[0].strip().upper())
        if protocol is not None and protocol.name != "PLAINTEXT":
            wanted = f"{protocol.name} is not available in this version; expected PLAINTEXT"
            yield str(ConfigError.of("listeners", text, wanted))


def _relations(values: Mapping[str, Value]) -> Iterator[str]:
    number = partial(_number, values)
    idle_ms = number("connections.max.idle.ms")
    delay_ms = number("connection.failed.authentication.delay.ms")
    if 0 <= idle_ms <= delay_ms:
        yield (
            f"connection.failed.authentication.delay.ms={delay_ms} should always be less than "
            f"connections.max.idle.ms={idle_ms} to prevent failed authentication responses from "
            "timing out"
        )
    queued = number("queued.max.request.bytes")
    if 0 < queued < number("socket.request.max.bytes"):
        yield "queued.max.request.bytes must be larger or equal to socket.request.max.bytes"
    for prefix in ("group", "group.consumer", "group.share", "group.streams"):
        shortest = number(f"{prefix}.min.session.timeout.ms")
        longest = number(f"{prefix}.max.session.timeout.ms")
        if shortest > longest:
            yield str(
                ConfigError.of(
                    f"{prefix}.max.session.timeout.ms",
                    longest,
                    f"Expected at least {prefix}.min.session.timeout.ms={shortest}",
                )
            )
    beat, session = number("broker.heartbeat.interval.ms"), number("broker.session.timeout.ms")
    if 2 * beat > session:
        yield str(
            ConfigError.of(
                "broker.heartbeat.interval.ms",
                beat,
                f"Expected at most half of broker.session.timeout.ms={session}",
            )
        )


def _sizes(
    values: Mapping[str, Value], log_cache_bytes: int, batch_bytes_max: int, memory_bytes: int
) -> Iterator[str]:
    """A batch is never split: the largest allowed one must fit into the WAL and the log cache."""
    number = partial(_number, values)
    capacity = number("automq.wal.capacity.bytes")
    segment = number("automq.wal.segment.bytes")
    if 4 * segment > capacity:
        wanted = f"Expected at most a quarter of automq.wal.capacity.bytes={capacity}"
        yield str(ConfigError.of("automq.wal.segment.bytes", segment, wanted))
    largest = number("message.max.bytes")
    if largest > batch_bytes_max:
        yield str(ConfigError.of("message.max.bytes", largest, batch_limit(batch_bytes_max)))
    if 2 * number("automq.upload.bytes") > capacity:
        wanted = f"Expected at most half of automq.wal.capacity.bytes={capacity}"
        yield str(ConfigError.of("automq.upload.bytes", number("automq.upload.bytes"), wanted))
    caches = log_cache_bytes + number("automq.block.cache.bytes")
    if caches > memory_bytes:
        wanted = (
            f"Expected less than the memory limit of {memory_bytes} bytes, block cache included"
        )
        yield str(ConfigError.of("automq.log.cache.bytes", log_cache_bytes, wanted))


def batch_limit(batch_bytes_max: int) -> str:
    """What is said of a batch limit that this node could not keep."""
    return (
        f"Value must be no more than {batch_bytes_max}, half of the log cache and a quarter of the "
        "WAL (automq.log.cache.bytes, automq.wal.capacity.bytes)"
    )


def _uri(name: str, uri: str, schemes: tuple[str, ...]) -> Iterator[str]:
    parts = urlsplit(uri)
    shown = uri.replace(parts.netloc, "***", 1) if "@" in parts.netloc else uri
    if parts.scheme not in schemes:
        wanted = ", ".join(f"{scheme}://" for scheme in schemes if scheme not in UNSHOWN)
        yield str(ConfigError.of(name, shown, f"Expected a URI that starts with one of {wanted}"))
    elif parts.scheme == "postgresql":
        if ":" in parts.netloc.rpartition("@")[0]:
            wanted = "A URI is logged and must hold no secret; use automq.postgres.password"
            yield str(ConfigError.of(name, shown, wanted))
    elif "@" in parts.netloc:
        keys = "automq.oss.access.key.id" if parts.scheme == "oss" else "automq.s3.access.key.id"
        wanted = f"A URI is logged and must hold no secret; use {keys} and its secret"
        yield str(ConfigError.of(name, shown, wanted))
    elif parts.scheme.endswith("file") and (parts.netloc or not parts.path):
        yield str(ConfigError.of(name, shown, f"Expected {parts.scheme}:///absolute/path"))
