"""docs/reference/protocol.md: the APIs that are served and their versions, from the handlers."""

import re
from collections.abc import Iterator

from automq.broker.dispatch import Api, load_apis
from automq.protocol.apis import ApiKey

HEAD = """\
# Protocol

<!-- Written by tools/make_docs.py; do not edit. -->

What this broker serves, and so what ApiVersions tells clients. The schemas of all messages of
Apache Kafka 4.3.1 are in the codec, in all their versions; an API is served, and advertised, once
it has a handler.

## Served

| key | API | versions | |
|---|---|---|---|
"""

NOT_SERVED = """
## Not served

A client that sends one of these is disconnected, as Kafka does with what it does not know. Of keys
that only Kafka's own brokers and controllers use among themselves none is planned.

"""

BETWEEN_NODES = {
    *("LEADER_AND_ISR", "STOP_REPLICA", "UPDATE_METADATA", "CONTROLLED_SHUTDOWN", "VOTE"),
    *("BEGIN_QUORUM_EPOCH", "END_QUORUM_EPOCH", "DESCRIBE_QUORUM", "ALTER_PARTITION", "ENVELOPE"),
    *("FETCH_SNAPSHOT", "BROKER_REGISTRATION", "BROKER_HEARTBEAT", "UNREGISTER_BROKER"),
    *("ALLOCATE_PRODUCER_IDS", "CONTROLLER_REGISTRATION", "ASSIGN_REPLICAS_TO_DIRS"),
    *("ADD_RAFT_VOTER", "REMOVE_RAFT_VOTER", "UPDATE_RAFT_VOTER", "ALTER_REPLICA_LOG_DIRS"),
}
FIRST_ADVERTISED = {"Produce": 0}
"""librdkafka takes Produce below version 3 as its sign that compression works (KAFKA-18659)."""


def page() -> str:
    """The text of the page."""
    served = load_apis()
    rows = "\n".join(row(served[key]) for key in sorted(served))
    return HEAD + rows + "\n" + NOT_SERVED + "\n".join(others(set(served))) + "\n"


def row(api: Api) -> str:
    first = FIRST_ADVERTISED.get(api.name, api.first_version)
    versions = f"{first} to {api.last_version}" if first < api.last_version else f"{first}"
    note = f"advertised from {first}, decoded from {api.first_version}"
    return f"| {api.key} | {api.name} | {versions} | {note if first < api.first_version else ''} |"


def others(served: set[int]) -> Iterator[str]:
    for title, between in (("Clients and tools", False), ("Between nodes of Kafka", True)):
        names = [
            f"{camel(key.name)} ({key.value})"
            for key in ApiKey
            if key.value not in served and (key.name in BETWEEN_NODES) is between
        ]
        yield f"**{title}**: {', '.join(names)}.\n"


def camel(name: str) -> str:
    return re.sub(r"(^|_)([A-Z0-9]+)", lambda m: m[2].capitalize(), name)
