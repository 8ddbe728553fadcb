"""What a node is started with."""

from pathlib import Path

import pytest

from automq.config import ConfigErrors, Listener, NodeConfig, SecurityProtocol, keys

MIB = 1 << 20
PLAINTEXT = SecurityProtocol.PLAINTEXT


def refused(**sources: object) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        NodeConfig.load(**sources)  # type: ignore[arg-type]
    return list(caught.value.lines)


def test_a_bare_node_has_both_roles_and_listens_on_loopback_only() -> None:
    config = NodeConfig.load()

    assert config.node_id == 1
    assert config.roles == {"broker", "controller"}
    assert config.listeners == (Listener("PLAINTEXT", "127.0.0.1", 9092, PLAINTEXT),)
    assert config.advertised_listeners == config.listeners
    assert config.inter_broker_listener == "PLAINTEXT"
    assert config.get(keys.kafka.OFFSETS_TOPIC_NUM_PARTITIONS) == 50


def test_a_bare_node_keeps_everything_under_its_data_directory() -> None:
    config = NodeConfig.load(overrides=["automq.data.dir=/var/lib/automq"])

    assert config.data_dir == Path("/var/lib/automq")
    assert config.storage_uri == "file:///var/lib/automq/store"
    assert config.wal_uri == "file:///var/lib/automq/wal"
    assert config.metadata_uri == config.storage_uri
    assert config.get(keys.automq.WAL_URI) == config.wal_uri


def test_the_metadata_log_is_kept_where_the_data_is() -> None:
    config = NodeConfig.load(overrides=["automq.storage.uri=s3://bucket/prefix"])

    assert config.metadata_uri == "s3://bucket/prefix"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file() -> None:
    config = NodeConfig.load(
        file="num.partitions=1\nfetch.max.bytes=2000\nlog.segment.bytes=3000000",
        environment={"AUTOMQ_NUM_PARTITIONS": "4", "AUTOMQ_FETCH_MAX_BYTES": "5000"},
        overrides=["num.partitions=7"],
    )

    assert config.get(keys.kafka.NUM_PARTITIONS) == 7
    assert config.get(keys.kafka.FETCH_MAX_BYTES) == 5000
    assert config.get(keys.kafka.LOG_SEGMENT_BYTES) == 3_000_000


def test_the_last_of_repeated_lines_wins() -> None:
    config = NodeConfig.load(file="num.partitions=1\nnum.partitions=2")

    assert config.get(keys.kafka.NUM_PARTITIONS) == 2


@pytest.mark.parametrize("variable", ["AUTOMQ_AUTOMQ_WAL_IOPS", "AUTOMQ_WAL_IOPS"])
def test_our_own_keys_need_no_double_prefix_in_the_environment(variable: str) -> None:
    config = NodeConfig.load(environment={variable: "77"})

    assert config.get(keys.automq.WAL_IOPS) == 77


def test_two_variables_for_one_key_must_agree() -> None:
    lines = refused(environment={"AUTOMQ_AUTOMQ_WAL_IOPS": "1", "AUTOMQ_WAL_IOPS": "2"})

    assert lines == [
        "environment: AUTOMQ_WAL_IOPS and AUTOMQ_AUTOMQ_WAL_IOPS both set automq.wal.iops, "
        "to different values; expected one of them"
    ]


def test_variables_of_a_listener_name_the_listener_and_the_key() -> None:
    config = NodeConfig.load(environment={"AUTOMQ_LISTENER_NAME_SASL_SSL_SSL_KEYSTORE_TYPE": "PEM"})

    assert config.static["listener.name.sasl_ssl.ssl.keystore.type"] == "PEM"


def test_what_kubernetes_says_of_a_service_called_automq_is_no_configuration() -> None:
    config = NodeConfig.load(
        environment={
            "AUTOMQ_SERVICE_HOST": "10.0.0.1",
            "AUTOMQ_PORT": "tcp://10.0.0.1:9092",
            "AUTOMQ_PORT_9092_TCP_ADDR": "10.0.0.1",
            "AUTOMQ_CONSOLE_SERVICE_PORT_HTTP": "80",
        }
    )

    assert config.static == {}


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    lines = refused(
        file="# comment\nnum.partition=1",
        environment={"AUTOMQ_STORAGE_URL": "file:///x"},
        overrides=["lissteners=x", "frobnicate=1"],
    )

    assert lines == [
        "server.properties:2: Unknown configuration num.partition: did you mean num.partitions?",
        "environment: AUTOMQ_STORAGE_URL: Unknown configuration storage.url: did you mean "
        "automq.storage.uri?",
        "--set: Unknown configuration lissteners: did you mean listeners?",
        "--set: Unknown configuration frobnicate: see docs/reference/config.md for all keys",
    ]


def test_keys_of_old_kafka_versions_are_told_apart_from_mistakes() -> None:
    assert refused(file="zookeeper.connect=localhost:2181") == [
        "server.properties:1: Unknown configuration zookeeper.connect: "
        "ZooKeeper left Kafka with 4.0; delete it"
    ]


def test_an_override_without_a_value_is_refused() -> None:
    assert refused(overrides=["num.partitions"]) == ["--set num.partitions: expected key=value"]


def test_every_bad_value_is_named_in_one_run() -> None:
    assert refused(overrides=["num.partitions=0", "automq.wal.iops=fast"]) == [
        "--set num.partitions: Invalid value 0 for configuration num.partitions: "
        "Value must be at least 1",
        "--set automq.wal.iops: Invalid value fast for configuration automq.wal.iops: "
        "Not a number of type INT",
    ]


def test_a_password_is_not_repeated_anywhere() -> None:
    config = NodeConfig.load(overrides=["automq.s3.secret.access.key=hunter2"])
    lines = refused(overrides=["delegation.token.secret.key=hunter2"])

    assert config.get(keys.automq.S3_SECRET_ACCESS_KEY) == "hunter2"
    assert "hunter2" not in repr(config) + str(config)
    assert "hunter2" not in "".join(lines)


def test_an_uri_with_a_secret_is_refused_without_repeating_it() -> None:
    (line, *_) = refused(overrides=["automq.storage.uri=s3://key:hunter2@bucket"])

    assert line.startswith("Invalid value s3://***")
    assert "hunter2" not in line


@pytest.mark.parametrize("given", ["node.id=5", "broker.id=5"])
def test_node_id_and_broker_id_are_one(given: str) -> None:
    config = NodeConfig.load(overrides=[given])

    assert (config.node_id, config.get(keys.kafka.BROKER_ID)) == (5, 5)
    assert config.static == {"node.id": "5", "broker.id": "5"}


def test_different_node_and_broker_ids_are_refused() -> None:
    assert refused(overrides=["node.id=1", "broker.id=2"]) == [
        "You must set `node.id` to the same value as `broker.id`."
    ]


def test_controller_listeners_are_not_told_to_clients() -> None:
    config = NodeConfig.load(
        file="""
        listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093
        controller.listener.names=CONTROLLER
        advertised.listeners=PLAINTEXT://kafka.example.com:19092
        """
    )

    assert [listener.name for listener in config.listeners] == ["PLAINTEXT", "CONTROLLER"]
    assert [str(listener) for listener in config.advertised_listeners] == [
        "PLAINTEXT://kafka.example.com:19092"
    ]


def test_names_of_listeners_are_free_if_the_map_has_them() -> None:
    config = NodeConfig.load(
        file="""
        listeners=inside://[::1]:9092,OUTSIDE://127.0.0.1:9093
        listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT
        inter.broker.listener.name=OUTSIDE
        """
    )

    assert config.listeners[0] == Listener("INSIDE", "::1", 9092, PLAINTEXT)
    assert config.inter_broker_listener == "OUTSIDE"


def test_a_listener_without_a_host_is_advertised_by_the_machines_name() -> None:
    config = NodeConfig.load(overrides=["listeners=PLAINTEXT://:9092"], host_name="box7")

    assert config.listeners[0].host == ""
    assert config.advertised_listeners[0].host == "box7"


@pytest.mark.parametrize(
    ("listeners", "why"),
    [
        ("localhost:9092", "Expected NAME://host:port"),
        ("FOO://localhost:9092", "No security protocol is defined for listener FOO"),
        ("PLAINTEXT://localhost:70000", "Expected a port from 0 to 65535"),
        ("PLAINTEXT://a:1,PLAINTEXT://a:2", "Each listener must have a different name"),
        ("PLAINTEXT://a:1,SSL://a:1", "Each listener must have a different port"),
        ("SSL://a:1", "SSL is not available in this version"),
        ("", "must not be empty"),
    ],
)
def test_impossible_listeners_are_refused(listeners: str, why: str) -> None:
    lines = refused(overrides=[f"listeners={listeners}"])

    assert any(why in line and "listeners" in line for line in lines), lines


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["listeners=PLAINTEXT://0.0.0.0:1"], "Clients cannot connect to 0.0.0.0"),
        (["advertised.listeners=PLAINTEXT://0.0.0.0:1"], "Clients cannot connect to 0.0.0.0"),
        (["advertised.listeners=SSL://a:1"], "Expected a name that listeners defines: PLAINTEXT"),
        (["controller.listener.names=PLAINTEXT"], "There must be at least one broker advertised"),
        (["inter.broker.listener.name=X"], "inter.broker.listener.name must be a listener name"),
        (["listener.security.protocol.map=A:B"], "Expected NAME:PROTOCOL"),
        (["process.roles=king"], "String must be one of: broker, controller"),
        (["node.id=-1"], "Value must be at least 0"),
        (["min.insync.replicas=0"], "Value must be at least 1"),
        (["log.retention.ms=0"], "log.retention.ms must be unlimited (-1)"),
        (["log.roll.ms=0"], "log.roll.ms must be greater than or equal to 1"),
        (["queued.max.request.bytes=1000"], "must be larger or equal to socket.request.max.bytes"),
        (["connections.max.idle.ms=50"], "should always be less than connections.max.idle.ms=50"),
        (["group.min.session.timeout.ms=2000000"], "at least group.min.session.timeout.ms"),
        (["group.coordinator.rebalance.protocols=consumer"], "Disabling the 'CLASSIC' protocol"),
        (["automq.wal.segment.bytes=600000000"], "at most a quarter of automq.wal.capacity.bytes"),
        (["message.max.bytes=200000000"], "Value must be no more than 134217728, half of the log"),
        (["automq.upload.bytes=1200000000"], "at most half of automq.wal.capacity.bytes"),
        (["automq.log.cache.bytes=9000000000"], "less than the memory limit"),
        (["automq.storage.uri=ftp://x"], "Expected a URI that starts with one of file://, s3://"),
        (["automq.wal.uri=ftp://x"], "Expected a URI that starts with one of file://, s3://"),
        (["automq.storage.uri=file://relative"], "Expected file:///absolute/path"),
        (["authorizer.class.name=X"], "no authorizer is available"),
        (["principal.builder.class=X"], "Class X could not be found"),
        (["max.connections.per.ip=0"], "only if max.connections.per.ip.overrides"),
        (["max.connections.per.ip.overrides=x"], "Expected host:count"),
    ],
)
def test_impossible_combinations_are_refused(overrides: list[str], why: str) -> None:
    lines = refused(overrides=overrides)

    assert any(why in line for line in lines), lines


def test_memory_budgets_follow_a_small_limit() -> None:
    budgets = NodeConfig.load(memory_bytes=256 * MIB).budgets

    assert budgets.log_cache_bytes == 32 * MIB
    assert budgets.block_cache_bytes == 16 * MIB
    assert budgets.read_bytes == 16 * MIB
    assert budgets.upload_bytes == 16 * MIB
    assert budgets.batch_bytes_max == 16 * MIB


def test_memory_budgets_stay_small_on_a_large_machine() -> None:
    budgets = NodeConfig.load(memory_bytes=512 << 30).budgets

    assert budgets.log_cache_bytes == 256 * MIB
    assert budgets.block_cache_bytes == 128 * MIB
    assert budgets.read_bytes == 128 * MIB


def test_the_processes_of_a_machine_share_its_memory() -> None:
    budgets = NodeConfig.load(memory_bytes=1024 * MIB, processes=4).budgets

    assert budgets.log_cache_bytes == 32 * MIB


def test_a_budget_that_was_set_is_taken_and_shown() -> None:
    config = NodeConfig.load(overrides=["automq.log.cache.bytes=20000000"])

    assert config.budgets.log_cache_bytes == 20_000_000
    assert config.get(keys.automq.LOG_CACHE_BYTES) == 20_000_000


def test_internal_topics_take_no_more_replicas_than_there_are_nodes() -> None:
    config = NodeConfig.load()
    wanted = keys.kafka.OFFSETS_TOPIC_REPLICATION_FACTOR

    assert config.internal_replication_factor(wanted, live_nodes=1) == 1
    assert config.internal_replication_factor(wanted, live_nodes=9) == 3


@pytest.mark.parametrize(
    ("disk_gib", "capacity_mib", "segment_mib"),
    [(100.0, 2048, 64), (4.0, 1024, 64), (0.5, 128, 32), (0.01, 16, 4)],
)
def test_the_wal_takes_a_quarter_of_its_disk(
    disk_gib: float, capacity_mib: int, segment_mib: int
) -> None:
    config = NodeConfig.load(disk_bytes_of=lambda uri: int(disk_gib * (1 << 30)))
    assert config.get(keys.automq.WAL_CAPACITY_BYTES) == capacity_mib << 20
    assert config.get(keys.automq.WAL_SEGMENT_BYTES) == segment_mib << 20


def test_the_disk_is_that_of_the_wal_and_what_is_set_stays() -> None:
    asked: list[str] = []

    def small(uri: str) -> int:
        asked.append(uri)
        return 1 << 30

    config = NodeConfig.load(
        overrides=["automq.wal.uri=file:///mnt/wal", "automq.wal.capacity.bytes=536870912"],
        disk_bytes_of=small,
    )
    assert asked == ["file:///mnt/wal"]
    assert config.get(keys.automq.WAL_CAPACITY_BYTES) == 536870912
