"""Apache's command-line tool for configs of topics and brokers."""

import re
from collections.abc import Iterator

import pytest

from clients.shell import Shell

BROKER = ("--entity-type", "brokers", "--entity-name", "1")
BROKERS = ("--entity-type", "brokers", "--entity-default")


def configs(shell: Shell, *what: str) -> dict[str, str]:
    """The configs that `--describe` lists, by key."""
    printed = shell("configs", "--describe", *what)
    return dict(re.findall(r"^  ([\w.]+)=(.*) sensitive=", printed, re.MULTILINE))


def synonyms(shell: Shell, key: str, *what: str) -> list[str]:
    """The sources of a key's value, the one in force first."""
    printed = shell("configs", "--describe", *what)
    (found,) = re.findall(rf"^  {re.escape(key)}=.* synonyms=\{{(.*)\}}$", printed, re.MULTILINE)
    return [source.split(":")[0] for source in found.split(", ")]


@pytest.fixture
def topic(shell: Shell, name: str) -> tuple[str, ...]:
    """The options that name a new topic."""
    shell.create_topic(name)
    return ("--entity-type", "topics", "--entity-name", name)


def test_a_new_topic_has_no_configs_of_its_own(shell: Shell, topic: tuple[str, ...]) -> None:
    assert configs(shell, *topic) == {}


def test_all_configs_of_a_topic_have_values_and_sources(
    shell: Shell, topic: tuple[str, ...]
) -> None:
    everything = configs(shell, *topic, "--all")
    assert everything["retention.ms"] == "604800000"
    assert everything["cleanup.policy"] == "delete"
    assert everything["max.message.bytes"] == "1048588"
    assert everything["compression.type"] == "producer"
    assert len(everything) > 25
    assert synonyms(shell, "max.message.bytes", *topic, "--all") == ["DEFAULT_CONFIG"]


def test_configs_of_a_topic_are_added_and_deleted(shell: Shell, topic: tuple[str, ...]) -> None:
    wanted = "retention.ms=5000,cleanup.policy=[compact,delete],segment.bytes=2000000"
    shell("configs", "--alter", *topic, "--add-config", wanted)
    assert configs(shell, *topic) == {
        "retention.ms": "5000",
        "cleanup.policy": "compact,delete",
        "segment.bytes": "2000000",
    }
    assert synonyms(shell, "retention.ms", *topic)[0] == "DYNAMIC_TOPIC_CONFIG"
    shell("configs", "--alter", *topic, "--delete-config", "retention.ms,segment.bytes")
    assert configs(shell, *topic) == {"cleanup.policy": "compact,delete"}


@pytest.mark.parametrize(
    "setting",
    ["retention.ms=abc", "retention.ms=-2", "cleanup.policy=shred", "no.such.key=1"],
)
def test_an_invalid_config_of_a_topic_is_refused(
    shell: Shell, topic: tuple[str, ...], setting: str
) -> None:
    refusal = shell.fails("configs", "--alter", *topic, "--add-config", setting)
    assert "InvalidConfigurationException" in refusal
    assert setting.partition("=")[0] in refusal
    assert configs(shell, *topic) == {}


def test_the_configs_of_an_unknown_topic_are_refused(shell: Shell) -> None:
    what = ("--entity-type", "topics", "--entity-name", "nobody")
    assert "doesn't exist" in shell("configs", "--describe", *what)
    refusal = shell.fails("configs", "--alter", *what, "--add-config", "retention.ms=1")
    assert "UnknownTopicOrPartitionException" in refusal


def test_all_configs_of_a_broker_are_described(shell: Shell) -> None:
    everything = configs(shell, *BROKER, "--all")
    assert everything["node.id"] == "1"
    assert everything["log.retention.hours"] == "168"
    assert everything["auto.create.topics.enable"] == "true"
    assert everything["group.initial.rebalance.delay.ms"] == "0"
    assert len(everything) > 150


@pytest.fixture
def restored(shell: Shell) -> Iterator[None]:
    """Takes back what a test sets on brokers."""
    yield
    for what in (BROKER, BROKERS):
        keys = ",".join(configs(shell, *what).keys() & {"log.cleaner.threads", "log.retention.ms"})
        if keys:
            shell("configs", "--alter", *what, "--delete-config", keys)


@pytest.mark.usefixtures("restored")
def test_a_config_of_one_broker_goes_before_that_of_all(shell: Shell) -> None:
    shell("configs", "--alter", *BROKERS, "--add-config", "log.cleaner.threads=2")
    shell("configs", "--alter", *BROKER, "--add-config", "log.cleaner.threads=1")
    assert configs(shell, *BROKERS)["log.cleaner.threads"] == "2"
    assert configs(shell, *BROKER)["log.cleaner.threads"] == "1"
    assert synonyms(shell, "log.cleaner.threads", *BROKER) == [
        "DYNAMIC_BROKER_CONFIG",
        "DYNAMIC_DEFAULT_BROKER_CONFIG",
        "DEFAULT_CONFIG",
    ]


@pytest.mark.usefixtures("restored")
def test_a_topic_inherits_what_is_set_for_all_brokers(shell: Shell, topic: tuple[str, ...]) -> None:
    shell("configs", "--alter", *BROKERS, "--add-config", "log.retention.ms=86400000")
    assert configs(shell, *topic, "--all")["retention.ms"] == "86400000"
    sources = synonyms(shell, "retention.ms", *topic, "--all")
    assert sources[0] == "DYNAMIC_DEFAULT_BROKER_CONFIG"


def test_a_config_that_needs_a_restart_is_refused(shell: Shell) -> None:
    refusal = shell.fails("configs", "--alter", *BROKER, "--add-config", "log.dirs=/nowhere")
    assert "Cannot update these configs dynamically" in refusal
