"""Commands about configuration: what is compared before it is stored."""

import pytest

from automq.controller.configs import ConfigWish, set_configs
from automq.metadata.image import Image
from automq.metadata.records.configs import ConfigResource, ConfigSet
from automq.metadata.records.topics import TopicCreated
from automq.protocol import errors

TOPIC, BROKER, GROUP = ConfigResource.TOPIC, ConfigResource.BROKER, ConfigResource.GROUP


def image(*settings: ConfigSet) -> Image:
    it = Image()
    it.apply(TopicCreated(b"t" * 16, "t", False))
    for setting in settings:
        it.apply(setting)
    return it


def test_what_was_judged_on_what_is_set_now_is_stored() -> None:
    now = image(ConfigSet(TOPIC, "t", "a", "1", False), ConfigSet(TOPIC, "t", "b", "2", False))
    wish = ConfigWish(TOPIC, "t", {"a": "1", "b": "2"}, {"a": "7", "b": None, "c": None})
    decided = set_configs(now, wish)
    assert decided.reply
    assert decided.records == [
        ConfigSet(TOPIC, "t", "a", "7", False),
        ConfigSet(TOPIC, "t", "b", None, False),
    ]


def test_what_was_judged_on_something_else_is_judged_again() -> None:
    now = image(ConfigSet(TOPIC, "t", "a", "1", False))
    decided = set_configs(now, ConfigWish(TOPIC, "t", {}, {"a": "7"}))
    assert (decided.reply, decided.records) == (False, ())


def test_secrets_are_marked() -> None:
    wish = ConfigWish(BROKER, "", {}, {"password": "x", "plain": "y"}, frozenset({"password"}))
    records = set_configs(image(), wish).records
    assert records == [
        ConfigSet(BROKER, "", "password", "x", True),
        ConfigSet(BROKER, "", "plain", "y", False),
    ]


def test_what_does_not_exist_is_not_configured() -> None:
    with pytest.raises(errors.UnknownTopicOrPartition):
        set_configs(image(), ConfigWish(TOPIC, "x", {}, {"a": "1"}))
    with pytest.raises(errors.BrokerIdNotRegistered):
        set_configs(image(), ConfigWish(BROKER, "7", {}, {"a": "1"}))


def test_groups_are_configured_before_they_exist() -> None:
    assert set_configs(image(), ConfigWish(GROUP, "g", {}, {"a": "1"})).reply
