"""Small things that tests ask of a broker through librdkafka."""

from confluent_kafka.admin import AdminClient, NewTopic

from support.broker import eventually

TIMEOUT_S = 30


def admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def new_topic(name: str, *, partitions: int = 1, config: dict[str, str] | None = None) -> NewTopic:
    return NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})


def create_topic(
    bootstrap: str, name: str, *, partitions: int = 1, config: dict[str, str] | None = None
) -> None:
    """Create a topic and wait until its partitions can be used."""
    topic = new_topic(name, partitions=partitions, config=config)
    client = admin(bootstrap)  # kept: librdkafka gives up what is under way when it goes
    client.create_topics([topic])[name].result(TIMEOUT_S)

    def ready() -> bool:
        found = client.list_topics(name, timeout=TIMEOUT_S).topics[name].partitions.values()
        return len(found) == partitions and all(p.leader >= 0 for p in found)

    eventually(ready, what=f"leaders of {name}")
