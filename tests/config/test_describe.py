"""Descriptions, where the comparison with Kafka's answers does not reach."""

from automq.config import BrokerConfigs, NodeConfig, ValueType, keys
from automq.config.describe import (
    Source,
    describe_broker,
    describe_client_metrics,
    describe_topic,
)


def broker(*overrides: str) -> BrokerConfigs:
    return BrokerConfigs.of(NodeConfig.load(overrides=overrides))


def test_only_the_settings_that_were_asked_for_are_described() -> None:
    entries = describe_topic(broker(), {}, ["segment.ms", "nonsense"])

    assert [entry.name for entry in entries] == ["segment.ms"]


def test_no_password_is_ever_shown() -> None:
    configs = broker(
        "automq.s3.secret.access.key=hunter2", "ssl.key.password=hunter2"
    ).with_dynamic(
        broker={"listener.name.a.ssl.key.password": "hunter2", "plugin.password": "hunter2"}
    )
    entries = describe_broker(configs)

    assert "hunter2" not in repr(entries)
    assert {entry.name for entry in entries if entry.is_sensitive} >= {
        "automq.s3.secret.access.key",
        "listener.name.a.ssl.key.password",
        "plugin.password",
        "ssl.key.password",
    }


def test_a_listeners_key_has_the_type_of_the_key_behind_it_and_that_as_a_synonym() -> None:
    configs = broker("ssl.keystore.type=PEM").with_dynamic(
        broker={"listener.name.a.ssl.keystore.type": "PKCS12"}
    )
    (entry,) = describe_broker(configs, ["listener.name.a.ssl.keystore.type"])

    assert entry.value_type is ValueType.STRING
    assert [(item.name, item.value) for item in entry.synonyms] == [
        ("listener.name.a.ssl.keystore.type", "PKCS12"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.type", "JKS"),
    ]


def test_our_own_keys_show_what_is_in_force() -> None:
    (entry,) = describe_broker(broker(), [keys.automq.LOG_CACHE_BYTES.name])

    assert (entry.value, entry.source) == ("268435456", Source.DEFAULT_CONFIG)
    assert entry.is_default
    assert entry.read_only


def test_a_bare_nodes_identity_is_a_default() -> None:
    (entry,) = describe_broker(broker(), ["node.id"])

    assert (entry.value, entry.source, entry.synonyms) == ("1", Source.DEFAULT_CONFIG, ())


def test_every_entry_of_a_key_that_is_known_is_documented() -> None:
    assert all(entry.documentation for entry in describe_broker(broker()))
    assert all(entry.documentation for entry in describe_topic(broker(), {}))


def test_a_client_metrics_subscription_shows_what_it_sets_and_the_defaults() -> None:
    entries = {it.name: it for it in describe_client_metrics({"interval.ms": "1000"})}

    assert entries["interval.ms"].value == "1000"
    assert entries["interval.ms"].source is Source.DYNAMIC_CLIENT_METRICS_CONFIG
    assert (entries["match"].value, entries["match"].source) == ("", Source.DEFAULT_CONFIG)
