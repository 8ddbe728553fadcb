"""What one node was started with: read from its sources, checked as a whole, typed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from automq.config import keys
from automq.config.key import ConfigError, Setting, Value
from automq.config.listeners import (
    ADVERTISED,
    LISTENERS,
    Listener,
    SecurityProtocol,
    check_advertised,
    parse_listeners,
    parse_protocol_map,
)
from automq.config.origins import Given, from_environment, from_file, from_overrides
from automq.config.rules import broker_rules, node_rules

T = TypeVar("T")

WAL_BYTES_MIN = 16 * keys.automq.MIB
PAGE_BYTES = 4096


def unlimited(uri: str) -> int | None:
    """The disk of a machine that nobody has looked at."""
    return None


class ConfigErrors(ConfigError):
    """Everything that is wrong with a configuration, one line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes of memory each buffer of the node may hold."""

    log_cache_bytes: int
    block_cache_bytes: int
    read_bytes: int
    request_bytes: int
    upload_bytes: int
    compaction_bytes: int
    batch_bytes_max: int


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One node's configuration. Nothing about it changes while the node runs.

    `static` holds the values as they were given, by key: what DescribeConfigs calls
    STATIC_BROKER_CONFIG. `listeners` are all of them, `advertised_listeners` those that clients are
    told. Paths are as given; nothing has been created.
    """

    static: Mapping[str, str]
    values: Mapping[str, Value]
    node_id: int
    roles: frozenset[str]
    listeners: tuple[Listener, ...]
    advertised_listeners: tuple[Listener, ...]
    inter_broker_listener: str
    data_dir: Path
    storage_uri: str
    wal_uri: str
    metadata_uri: str
    budgets: Budgets

    @classmethod
    def load(
        cls,
        *,
        file: str = "",
        file_name: str = "server.properties",
        environment: Mapping[str, str] | None = None,
        overrides: Iterable[str] = (),
        host_name: str = "localhost",
        memory_bytes: int = 8 << 30,
        processes: int = 1,
        disk_bytes_of: Callable[[str], int | None] = unlimited,
    ) -> "NodeConfig":
        """The configuration that the text of a properties file, the environment (`AUTOMQ_...`) and
        `key=value` overrides make together, each winning over the ones before.

        `host_name` is told to clients of a listener without a host. `memory_bytes` is what the
        machine's processes (`processes` of them) may use together; defaults of memory budgets
        follow from it. `disk_bytes_of` tells how large the disk is that a URI names, None where it
        does not matter. Raises ConfigErrors with a line for everything that is wrong.
        """
        errors: list[str] = []
        given: dict[str, Given] = {}
        for source in (
            from_file(file, file_name, errors),
            from_environment(environment or {}, errors),
            from_overrides(overrides, errors),
        ):
            given.update(source)
        values = parse_all(given, errors)
        if errors:
            raise ConfigErrors(errors)
        static = {name: item.value for name, item in given.items()}
        values |= wal_sizes(static, values, disk_bytes_of(wal_uri_of(values)))
        return build(static, values, host_name, memory_bytes // processes)

    def __repr__(self) -> str:
        """Without values, some of which are secret."""
        return f"NodeConfig(node_id={self.node_id}, sets={sorted(self.static)})"

    def get(self, key: Setting[T]) -> T:
        """The value of a key, the default if it was not given."""
        return cast(T, self.values[key.name])

    @property
    def is_broker(self) -> bool:
        return "broker" in self.roles

    @property
    def is_controller(self) -> bool:
        return "controller" in self.roles

    def internal_replication_factor(self, key: Setting[int], live_nodes: int) -> int:
        """The length of the placement list of an internal topic: min(wanted, live nodes)."""
        return max(1, min(self.get(key), live_nodes))


def parse_all(given: Mapping[str, Given], errors: list[str]) -> dict[str, Value]:
    """Every broker key's typed value; what cannot be parsed goes to `errors`."""
    table = keys.broker_keys()
    values: dict[str, Value] = {key.name: key.default for key in table.values()}
    for name, item in given.items():
        try:
            values[name] = item.key.parse(item.value)
        except ConfigError as error:
            shown = str(error) if not item.key.sensitive else f"Invalid value for {name}"
            errors.append(f"{item.origin}: {shown}")
    node_id, broker_id = keys.kafka.NODE_ID.name, keys.kafka.BROKER_ID.name
    if node_id in given and broker_id not in given:
        values[broker_id] = values[node_id]
    elif broker_id in given and node_id not in given:
        values[node_id] = values[broker_id]
    elif broker_id not in given:
        values[broker_id] = values[node_id]
    return values


def build(
    static: dict[str, str], values: dict[str, Value], host_name: str, memory_bytes: int
) -> NodeConfig:
    """Put the parts together and check them against each other. Raises ConfigErrors."""
    errors: list[str] = []
    budgets = budgets_of(values, memory_bytes)
    listeners, advertised, inter_broker = resolve_listeners(static, values, host_name, errors)
    data_dir = Path(str(values[keys.automq.DATA_DIR.name]))
    storage_uri = str(values[keys.automq.STORAGE_URI.name] or file_uri(data_dir / "store"))
    wal_uri = wal_uri_of(values)
    uris = (storage_uri, wal_uri, str(values[keys.automq.METADATA_URI.name] or storage_uri))
    config = NodeConfig(
        static=with_node_ids(static),
        values=values | derived_values(budgets, uris),
        node_id=cast(int, values[keys.kafka.NODE_ID.name]),
        roles=frozenset(cast(tuple[str, ...], values[keys.kafka.PROCESS_ROLES.name])),
        listeners=listeners,
        advertised_listeners=advertised,
        inter_broker_listener=inter_broker,
        data_dir=data_dir,
        storage_uri=storage_uri,
        wal_uri=wal_uri,
        metadata_uri=uris[2],
        budgets=budgets,
    )
    errors.extend(broker_rules(values))
    errors.extend(
        node_rules(
            values,
            static,
            uris=uris,
            log_cache_bytes=budgets.log_cache_bytes,
            batch_bytes_max=budgets.batch_bytes_max,
            memory_bytes=memory_bytes,
        )
    )
    if errors:
        raise ConfigErrors(errors)
    return config


def wal_uri_of(values: Mapping[str, Value]) -> str:
    data_dir = Path(str(values[keys.automq.DATA_DIR.name]))
    return str(values[keys.automq.WAL_URI.name] or file_uri(data_dir / "wal"))


def wal_sizes(
    static: Mapping[str, str], values: Mapping[str, Value], disk_bytes: int | None
) -> dict[str, Value]:
    """The sizes of the WAL that nobody has set, so that they suit the disk it is on."""
    capacity, segment, upload = (
        cast(int, values[key.name])
        for key in (
            keys.automq.WAL_CAPACITY_BYTES,
            keys.automq.WAL_SEGMENT_BYTES,
            keys.automq.UPLOAD_BYTES,
        )
    )
    if disk_bytes is None or keys.automq.WAL_CAPACITY_BYTES.name in static:
        return {}
    capacity = max(WAL_BYTES_MIN, min(capacity, disk_bytes // 4))
    segment = min(segment, capacity // 4)
    sizes: dict[str, Value] = {
        keys.automq.WAL_CAPACITY_BYTES.name: capacity,
        # A file is of whole pages.
        keys.automq.WAL_SEGMENT_BYTES.name: segment - segment % PAGE_BYTES,
        keys.automq.UPLOAD_BYTES.name: min(upload, capacity // 2),
    }
    return {name: size for name, size in sizes.items() if name not in static}


def with_node_ids(static: dict[str, str]) -> dict[str, str]:
    """As Kafka does, node.id given alone is broker.id as well, and the other way round."""
    node_id, broker_id = keys.kafka.NODE_ID.name, keys.kafka.BROKER_ID.name
    if node_id in static:
        return {broker_id: static[node_id]} | static
    if broker_id in static:
        return {node_id: static[broker_id]} | static
    return static


def file_uri(path: Path) -> str:
    return f"file://{path}" if path.is_absolute() else f"file://{Path.cwd() / path}"


def budgets_of(values: Mapping[str, Value], memory_bytes: int) -> Budgets:
    """Shares of the memory limit, small enough for a laptop, and less where the limit is small."""
    mib = keys.automq.MIB
    log_cache = values[keys.automq.LOG_CACHE_BYTES.name]
    if log_cache is None:
        log_cache = max(4 * mib, min(256 * mib, memory_bytes // 8))
    block_cache = values[keys.automq.BLOCK_CACHE_BYTES.name]
    if block_cache is None:
        block_cache = max(1 * mib, min(128 * mib, memory_bytes // 16))
    compaction = values[keys.automq.OBJECT_COMPACTION_MEMORY_BYTES.name]
    if compaction is None:
        compaction = max(16 * mib, min(128 * mib, memory_bytes // 16))
    reads = values[keys.automq.READ_MEMORY_BYTES.name]
    if reads is None:
        reads = max(4 * mib, min(128 * mib, memory_bytes // 16))
    requests = cast(int, values[keys.kafka.QUEUED_MAX_REQUEST_BYTES.name])
    if requests <= 0:
        requests = max(4 * mib, min(256 * mib, memory_bytes // 8))
    assert isinstance(log_cache, int), log_cache
    assert isinstance(block_cache, int), block_cache
    assert isinstance(compaction, int), compaction
    assert isinstance(reads, int), reads
    wal_bytes = cast(int, values[keys.automq.WAL_CAPACITY_BYTES.name])
    upload_bytes = cast(int, values[keys.automq.UPLOAD_BYTES.name])
    return Budgets(
        log_cache_bytes=log_cache,
        block_cache_bytes=block_cache,
        read_bytes=reads,
        request_bytes=requests,
        upload_bytes=min(upload_bytes, log_cache // 2),
        compaction_bytes=compaction,
        batch_bytes_max=min(log_cache // 2, wal_bytes // 4, reads),
    )


def derived_values(budgets: Budgets, uris: tuple[str, str, str]) -> dict[str, Value]:
    """What follows from other values, under its key, so that what is shown is what is in force."""
    storage_uri, wal_uri, metadata_uri = uris
    return {
        keys.automq.STORAGE_URI.name: storage_uri,
        keys.automq.WAL_URI.name: wal_uri,
        keys.automq.METADATA_URI.name: metadata_uri,
        keys.automq.UPLOAD_BYTES.name: budgets.upload_bytes,
        keys.automq.LOG_CACHE_BYTES.name: budgets.log_cache_bytes,
        keys.automq.BLOCK_CACHE_BYTES.name: budgets.block_cache_bytes,
        keys.automq.OBJECT_COMPACTION_MEMORY_BYTES.name: budgets.compaction_bytes,
        keys.automq.READ_MEMORY_BYTES.name: budgets.read_bytes,
    }


def resolve_listeners(
    static: Mapping[str, str], values: Mapping[str, Value], host_name: str, errors: list[str]
) -> tuple[tuple[Listener, ...], tuple[Listener, ...], str]:
    """The listeners, those that clients are told, and the name of the one between nodes."""
    texts = cast(tuple[str, ...], values[LISTENERS])
    told = cast(tuple[str, ...] | None, values[ADVERTISED])
    hidden = {
        name.upper()
        for name in cast(tuple[str, ...], values[keys.kafka.CONTROLLER_LISTENER_NAMES.name])
    }
    try:
        protocols = effective_protocols(static, values, texts, hidden)
        listeners = parse_listeners(LISTENERS, texts, protocols)
        advertised = listeners
        if told is not None:
            advertised = parse_listeners(ADVERTISED, told, protocols)
    except ConfigError as error:
        errors.append(str(error))
        return (), (), ""
    advertised = tuple(listener for listener in advertised if listener.name not in hidden)
    advertised = tuple(reachable(listener, host_name) for listener in advertised)
    roles = cast(tuple[str, ...], values[keys.kafka.PROCESS_ROLES.name])
    if "broker" in roles:
        errors.extend(check_advertised(listeners, advertised))
    return listeners, advertised, inter_broker_name(static, values, advertised, errors)


def effective_protocols(
    static: Mapping[str, str],
    values: Mapping[str, Value],
    texts: tuple[str, ...],
    hidden: set[str],
) -> dict[str, SecurityProtocol]:
    """The security map; unless given, controller listeners are PLAINTEXT if all others are."""
    key = keys.kafka.LISTENER_SECURITY_PROTOCOL_MAP.name
    protocols = parse_protocol_map(str(values[key]))
    names = {text.partition("://")[0].strip().upper() for text in texts} | hidden
    if key not in static and not names & {"SSL", "SASL_SSL", "SASL_PLAINTEXT"}:
        protocols |= dict.fromkeys(hidden, SecurityProtocol.PLAINTEXT)
    return protocols


def reachable(listener: Listener, host_name: str) -> Listener:
    """As Kafka does, a listener without a host is told to clients by the machine's name."""
    if listener.host == "":
        return Listener(listener.name, host_name, listener.port, listener.protocol)
    return listener


def inter_broker_name(
    static: Mapping[str, str],
    values: Mapping[str, Value],
    advertised: tuple[Listener, ...],
    errors: list[str],
) -> str:
    """The listener that nodes use among themselves, by name or by protocol."""
    by_name = keys.kafka.INTER_BROKER_LISTENER_NAME.name
    by_protocol = keys.kafka.SECURITY_INTER_BROKER_PROTOCOL.name
    if by_name in static and by_protocol in static:
        errors.append(f"Only one of {by_name} and {by_protocol} should be set.")
    wanted = str(values[by_name] or values[by_protocol]).upper()
    names = [listener.name for listener in advertised]
    if wanted not in names and by_name not in static and by_protocol not in static and names:
        return names[0]
    roles = cast(tuple[str, ...], values[keys.kafka.PROCESS_ROLES.name])
    if wanted not in names and "broker" in roles:
        errors.append(
            f"{by_name} must be a listener name defined in {ADVERTISED}. The valid options based "
            f"on currently configured listeners are {','.join(names)}"
        )
    return wanted
