"""docs/reference/config.md: every key, from the tables of automq.config."""

from collections.abc import Iterable, Iterator

from automq.config import keys
from automq.config.keys.tables import FIXED_HERE, OUR_DEFAULTS, AnyKey
from automq.config.rules import UNSUPPORTED

HEAD = """\
# Configuration

<!-- Written by tools/make_docs.py; do not edit. -->

A node takes its configuration from a properties file (`automq server --config FILE`), then from
environment variables, then from `--set key=value`; the later wins. The variable of a key is
`AUTOMQ_` and the key in upper case with `_` for `.`: `num.partitions` is `AUTOMQ_NUM_PARTITIONS`.
The prefix of our own keys need not be repeated: `automq.storage.uri` is `AUTOMQ_STORAGE_URI`.

Keys that Kafka has are called as in Kafka and have its types, defaults and rules (those of Apache
Kafka 4.3). Every value is checked before anything is created: what is wrong is one line that
names the key, the value and what would be right, and the exit status is 2. An unknown key is an
error.

Keys marked *cluster-wide* or *per-broker* can be changed while brokers run (`kafka-configs.sh`);
a value set that way wins over the file. A topic takes what it sets itself, then what is set for
its broker, then what is set for all brokers, then the file, then the default.
"""

HONOURED = """
## Kafka's broker keys that are honoured
"""
TOPICS = """
## Topic keys

The broker key is the one whose value a topic takes that does not set its own.
"""
NO_EFFECT = """
## Kafka's keys without effect

These are about broker disks, replication between brokers, or features that this version does not
have. They are accepted, checked and shown as Kafka does, and change nothing.
"""
REFUSED = """
## Refused

Values that would promise something this version does not do are refused at start.
"""


def page() -> str:
    """The text of the page."""
    broker = [key for key in keys.broker_keys().values() if not key.internal]
    ours = [key for key in broker if key.name.startswith("automq.")]
    kafkas = [key for key in broker if not key.name.startswith("automq.")]
    lines = [HEAD, "## Our own keys\n", *table(ours)]
    lines += [HONOURED, *table([key for key in kafkas if key.honoured])]
    topic = [key for key in keys.topic_keys().values() if not key.internal]
    lines += [TOPICS, *topic_table([key for key in topic if key.honoured])]
    lines += [NO_EFFECT]
    for title, scope in (
        ("Broker", kafkas),
        ("Topic", topic),
        ("Group", keys.group_keys().values()),
        ("Client metrics", keys.client_metrics_keys().values()),
        ("Broker, only while running", keys.dynamic_only_broker_keys().values()),
    ):
        names = [f"`{key.name}`" for key in scope if not key.honoured]
        lines.append(f"**{title}**: {', '.join(names)}\n")
    lines += [REFUSED, *refused(kafkas)]
    return "\n".join(lines) + "\n"


def table(shown: Iterable[AnyKey]) -> Iterator[str]:
    yield "| key | type | default | valid | change | |"
    yield "|---|---|---|---|---|---|"
    for key in shown:
        cells = (f"`{key.name}`", key.value_type.name.lower(), default(key), valid(key))
        yield f"| {' | '.join(cells)} | {key.dynamic.value} | {cell(key.doc)} |"


def topic_table(shown: Iterable[AnyKey]) -> Iterator[str]:
    yield "| key | type | default | valid | broker key | |"
    yield "|---|---|---|---|---|---|"
    for key in shown:
        names = ", ".join(f"`{name.partition('*')[0]}`" for name in key.synonyms)
        cells = (f"`{key.name}`", key.value_type.name.lower(), default(key), valid(key), names)
        yield f"| {' | '.join(cells)} | {cell(key.doc)} |"


def default(key: AnyKey) -> str:
    text = key.default_text
    differs = " (Kafka's differs)" if key.name in OUR_DEFAULTS and text else ""
    return f"`{cell(text)}`{differs}" if text else ""


def valid(key: AnyKey) -> str:
    return cell(key.valid_values)


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def refused(kafkas: Iterable[AnyKey]) -> Iterator[str]:
    for name, why in UNSUPPORTED.items():
        yield f"* `{name}`: {why}."
    yield "* `listeners` with a protocol other than PLAINTEXT."
    classes = ", ".join(f"`{key.name}`" for key in kafkas if key.value_type.name == "CLASS")
    yield f"* Any Java class but Kafka's default: {classes}."
    fixed = ", ".join(f"`{name}`" for name in sorted(FIXED_HERE))
    yield f"* Changes while running of {fixed}: these take effect at the next start."
