"""The values in force, layer upon layer."""

import pytest

from automq.config import BrokerConfigs, NodeConfig, keys

HOUR_MS = 3_600_000


def broker(*overrides: str) -> BrokerConfigs:
    return BrokerConfigs.of(NodeConfig.load(overrides=overrides))


def test_a_topic_takes_what_it_sets_itself_before_anything_else() -> None:
    configs = broker("log.retention.ms=1").with_dynamic(
        default={"log.retention.ms": "2"}, broker={"log.retention.ms": "3"}
    )

    assert configs.topic_config({"retention.ms": "4"}).retention_ms == 4
    assert configs.topic_config({}).retention_ms == 3
    assert configs.with_dynamic(broker={}).topic_config({}).retention_ms == 2
    assert configs.with_dynamic(broker={}, default={}).topic_config({}).retention_ms == 1
    assert broker().topic_config({}).retention_ms == 7 * 24 * HOUR_MS


@pytest.mark.parametrize(
    ("overrides", "retention_ms"),
    [
        (["log.retention.hours=2"], 2 * HOUR_MS),
        (["log.retention.hours=2", "log.retention.minutes=3"], 3 * 60_000),
        (["log.retention.hours=2", "log.retention.minutes=3", "log.retention.ms=4"], 4),
        (["log.retention.hours=-1"], -1),
        (["log.retention.minutes=-1"], -1),
    ],
)
def test_the_finest_unit_wins(overrides: list[str], retention_ms: int) -> None:
    assert broker(*overrides).topic_config({}).retention_ms == retention_ms


def test_a_dynamic_value_hides_its_synonyms_in_the_file() -> None:
    configs = broker("log.roll.hours=5", "log.retention.minutes=5").with_dynamic(
        broker={"log.roll.ms": "77", "log.retention.ms": "88"}
    )

    assert configs.topic_config({}).segment_ms == 77
    assert configs.get(keys.kafka.LOG_RETENTION_MINUTES) is None


def test_topics_without_settings_share_one_configuration() -> None:
    configs = broker()

    assert configs.topic_config({}) is configs.topic_config({})


def test_a_topic_knows_its_cleanup_policy_and_timestamps() -> None:
    config = broker().topic_config(
        {"cleanup.policy": "compact,delete", "message.timestamp.type": "LogAppendTime"}
    )

    assert (config.is_compacted, config.is_deleted, config.is_log_append_time) == (True, True, True)


def test_a_change_leaves_the_configurations_before_it_alone() -> None:
    before = broker()
    after = before.with_dynamic(default={"message.max.bytes": "2000000"})

    assert before.default_topic_config.max_message_bytes == 1_048_588
    assert after.default_topic_config.max_message_bytes == 2_000_000


def test_a_stored_value_that_cannot_be_read_is_as_if_it_were_not_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configs = broker().with_dynamic(default={"message.max.bytes": "many"})
    topic = configs.topic_config({"retention.ms": "soon", "unheard.of": "1", "segment.ms": "5"})

    assert configs.get(keys.kafka.MESSAGE_MAX_BYTES) == 1_048_588
    assert (topic.retention_ms, topic.segment_ms) == (7 * 24 * HOUR_MS, 5)
    assert "Invalid value many for configuration message.max.bytes" in caplog.text


def test_groups_take_their_defaults_from_the_broker() -> None:
    configs = broker("group.consumer.session.timeout.ms=50000")

    assert configs.group_values({})["consumer.session.timeout.ms"] == 50_000
    assert (
        configs.group_values({"consumer.session.timeout.ms": "55000"})[
            "consumer.session.timeout.ms"
        ]
        == 55_000
    )
