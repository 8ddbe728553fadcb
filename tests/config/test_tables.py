"""The tables of keys, and what our code says of them."""

from automq.config import Dynamic, Key, TopicConfig, ValueType, keys
from automq.config.keys.known import Known
from automq.config.keys.tables import NO_EFFECT, OUR_DEFAULTS
from automq.config.keys.topics import CLIENT_METRICS_DOCS, GROUP_DOCS, TOPIC_DOCS

KNOWN = [item for item in vars(keys.kafka).values() if isinstance(item, Known)]
OURS = [item for item in vars(keys.automq).values() if isinstance(item, Key)]


def test_every_documented_key_of_kafka_is_there() -> None:
    assert len(keys.broker_keys()) == 360 + len(OURS)
    assert len(keys.topic_keys()) == 34
    assert len(keys.group_keys()) == 17
    assert len(keys.client_metrics_keys()) == 3
    assert len(keys.dynamic_only_broker_keys()) == 3


def test_every_key_that_our_code_names_exists_and_has_the_type_it_expects() -> None:
    table = keys.broker_keys()

    assert [item.name for item in KNOWN if table[item.name].value_type not in item.types] == []


def test_every_key_that_may_be_absent_is_typed_so() -> None:
    table = keys.broker_keys()
    absent = {item.name for item in KNOWN if table[item.name].default is None}

    assert absent == {item.name for item in KNOWN if item.may_be_null}


def test_what_is_said_of_a_key_is_said_of_one_that_exists() -> None:
    assert TOPIC_DOCS.keys() <= keys.topic_keys().keys()
    assert GROUP_DOCS.keys() <= keys.group_keys().keys()
    assert CLIENT_METRICS_DOCS.keys() <= keys.client_metrics_keys().keys()


def test_a_key_without_meaning_here_says_so() -> None:
    key = keys.broker_keys()["log.preallocate"]

    assert (key.honoured, key.doc) == (False, NO_EFFECT)


def test_every_default_obeys_the_rules_of_its_key() -> None:
    tables = (keys.broker_keys(), keys.topic_keys(), keys.group_keys(), keys.client_metrics_keys())
    for key in (key for table in tables for key in table.values()):
        if key.default is not None and key.name not in OUR_DEFAULTS:
            key.check(key.default)


def test_our_own_keys_have_our_prefix_and_say_what_they_do() -> None:
    assert all(key.name.startswith("automq.") and key.doc for key in OURS)
    assert all(key.dynamic is Dynamic.READ_ONLY for key in OURS)


def test_secrets_are_passwords() -> None:
    words = ("secret", "token", "password")
    secret = {key.name for key in OURS if any(word in key.name for word in words)}

    assert secret == {key.name for key in OURS if key.value_type is ValueType.PASSWORD}


def test_a_topic_configuration_has_a_field_for_every_topic_key() -> None:
    worked_out = {"is_compacted", "is_deleted", "is_log_append_time"}
    fields = set(TopicConfig.__struct_fields__) - worked_out

    assert fields == {name.replace(".", "_") for name in keys.topic_keys()}
