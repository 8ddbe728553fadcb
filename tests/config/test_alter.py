"""What alterations store, where the comparison with Kafka's answers does not reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automq.config import BrokerConfigs, NodeConfig
from automq.config.alter import (
    Op,
    OpType,
    alter_broker,
    alter_group,
    alter_topic,
    new_topic,
    replace_broker,
    replace_client_metrics,
    replace_group,
    replace_topic,
)
from automq.protocol.errors import InvalidConfig, InvalidRequest, KafkaError

BATCH_BYTES_MAX = 10_000_000
SET, DELETE, APPEND, SUBTRACT = OpType.SET, OpType.DELETE, OpType.APPEND, OpType.SUBTRACT


def broker(**dynamic: str) -> BrokerConfigs:
    configs = BrokerConfigs.of(NodeConfig.load())
    return configs.with_dynamic(broker={k.replace("_", "."): v for k, v in dynamic.items()})


def alter(current: dict[str, str], *ops: Op) -> dict[str, str | None]:
    return alter_topic(broker(), current, ops, batch_bytes_max=BATCH_BYTES_MAX)


def test_only_what_changes_is_stored() -> None:
    current = {"retention.ms": "1", "segment.ms": "2"}

    changes = alter(current, Op("retention.ms", SET, "1"), Op("segment.ms", SET, "3"))

    assert changes == {"segment.ms": "3"}


def test_deleting_a_setting_stores_that_it_is_gone() -> None:
    current = {"retention.ms": "1"}

    changes = alter(current, Op("retention.ms", DELETE, None), Op("segment.ms", DELETE, None))

    assert changes == {"retention.ms": None}


def test_a_list_starts_from_its_default() -> None:
    assert alter({}, Op("cleanup.policy", APPEND, "compact")) == {
        "cleanup.policy": "delete,compact"
    }
    assert alter({}, Op("cleanup.policy", SUBTRACT, "delete")) == {"cleanup.policy": ""}


def test_appending_what_is_there_changes_nothing() -> None:
    assert alter({"cleanup.policy": "compact"}, Op("cleanup.policy", APPEND, "compact")) == {}


def test_a_key_may_be_changed_once_in_a_request() -> None:
    with pytest.raises(InvalidRequest, match="duplicate config keys"):
        alter({}, Op("segment.ms", SET, "1"), Op("segment.ms", DELETE, None))


def test_a_value_must_be_given_unless_it_is_deleted() -> None:
    with pytest.raises(InvalidRequest, match=r"Null value not supported for : segment\.ms"):
        alter({}, Op("segment.ms", SET, None))


def test_an_operation_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Unknown operations type 9"):
        alter({}, Op("segment.ms", 9, "1"))


def test_a_batch_that_the_node_could_not_hold_is_refused_when_it_is_allowed() -> None:
    with pytest.raises(InvalidConfig, match="Value must be no more than 10000000"):
        alter({}, Op("max.message.bytes", SET, "10000001"))


def test_values_are_checked_against_those_of_the_broker() -> None:
    configs = broker(log_cleaner_min_compaction_lag_ms="100")

    with pytest.raises(InvalidConfig, match=r"min\.compaction\.lag\.ms \(100\) >"):
        alter_topic(
            configs, {}, [Op("max.compaction.lag.ms", SET, "50")], batch_bytes_max=BATCH_BYTES_MAX
        )


def test_a_refused_setting_leaves_room_for_a_good_one_later() -> None:
    current = {"retention.ms": "1"}
    with pytest.raises(InvalidConfig):
        alter(current, Op("segment.ms", SET, "5"), Op("retention.ms", SET, "x"))

    assert current == {"retention.ms": "1"}


def test_the_older_request_replaces_all_settings() -> None:
    changes = replace_topic(
        broker(),
        {"retention.ms": "1", "segment.ms": "2"},
        [("segment.ms", "3")],
        batch_bytes_max=BATCH_BYTES_MAX,
    )

    assert changes == {"retention.ms": None, "segment.ms": "3"}


def test_a_new_topic_stores_what_it_sets() -> None:
    wanted = [("retention.ms", " 5 "), ("cleanup.policy", "compact")]

    assert new_topic(broker(), wanted, batch_bytes_max=BATCH_BYTES_MAX) == dict(wanted)


def test_a_new_topic_cannot_set_nothing() -> None:
    with pytest.raises(InvalidConfig, match="Null value not supported for topic configs: a,b"):
        new_topic(broker(), [("a", None), ("b", None)], batch_bytes_max=BATCH_BYTES_MAX)


def test_a_brokers_setting_is_stored_again_even_if_it_is_the_same() -> None:
    changes = alter_broker(broker(log_roll_ms="5"), [Op("log.roll.ms", SET, "5")], for_all=False)

    assert changes == {"log.roll.ms": "5"}


def test_a_setting_for_all_is_checked_below_those_of_this_broker() -> None:
    configs = broker(log_cleaner_max_compaction_lag_ms="50")

    with pytest.raises(InvalidRequest, match=r"min\.compaction\.lag\.ms \(100\)"):
        alter_broker(configs, [Op("log.cleaner.min.compaction.lag.ms", SET, "100")], for_all=True)


def test_read_only_keys_are_refused_by_the_older_request_too() -> None:
    with pytest.raises(InvalidRequest, match=r"Cannot update these configs dynamically: \[node.id"):
        replace_broker(broker(), [("node.id", "3")], for_all=False)


def test_our_own_keys_are_read_only() -> None:
    with pytest.raises(InvalidRequest, match=r"dynamically: \[automq\.upload\.bytes\]"):
        alter_broker(broker(), [Op("automq.upload.bytes", SET, "3")], for_all=False)


def test_a_bad_password_is_not_repeated() -> None:
    ops = [Op("listener.name.a.ssl.key.password", APPEND, "hunter2")]
    with pytest.raises(KafkaError) as caught:
        alter_broker(broker(), ops, for_all=False)

    assert "hunter2" not in str(caught.value)


def test_groups_and_subscriptions_are_replaced_too() -> None:
    group = replace_group(
        broker(),
        {"share.isolation.level": "read_committed"},
        [("streams.session.timeout.ms", "50000")],
    )
    metrics = replace_client_metrics({"interval.ms": "1000"}, [("metrics", "*")])

    assert group == {"share.isolation.level": None, "streams.session.timeout.ms": "50000"}
    assert metrics == {"interval.ms": None, "metrics": "*"}


def test_a_groups_session_must_outlive_its_heartbeat() -> None:
    configs = BrokerConfigs.of(
        NodeConfig.load(overrides=["group.consumer.max.heartbeat.interval.ms=60000"])
    )

    with pytest.raises(InvalidConfig, match=r"must be greater than consumer\.heartbeat"):
        alter_group(configs, {}, [Op("consumer.heartbeat.interval.ms", SET, "46000")])


OPS = st.lists(
    st.builds(
        Op,
        st.sampled_from(["retention.ms", "cleanup.policy", "segment.bytes", "nonsense"]),
        st.integers(0, 5),
        st.none() | st.sampled_from(["1", "delete", "compact", "9999999", ""]),
    ),
    max_size=3,
)


@given(OPS)
def test_what_is_stored_is_always_valid(ops: list[Op]) -> None:
    current = {"cleanup.policy": "compact"}
    try:
        changes = alter(current, *ops)
    except KafkaError as error:
        refused = error.code in (InvalidConfig.code, InvalidRequest.code)
        changes = {}
    else:
        refused = False
    after = {name: text for name, text in {**current, **changes}.items() if text is not None}

    stored = list(after.items())

    assert refused or new_topic(broker(), stored, batch_bytes_max=BATCH_BYTES_MAX) == after
