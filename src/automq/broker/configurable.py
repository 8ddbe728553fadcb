"""What has configuration, by Kafka's resource types, and who knows the rules of each.

One class a type: what is set, what DescribeConfigs tells, which changes a request comes to. They
decide nothing that is stored: `store` has the controller compare and store it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from automq.broker.broker import Broker
from automq.broker.loggers import LOGGERS_RESOURCE, Loggers
from automq.config import alter, describe
from automq.config.alter import Changes, Op
from automq.config.describe import ConfigEntry
from automq.controller.configs import ConfigWish
from automq.controller.topics import check_topic_name
from automq.metadata.records.configs import ConfigResource
from automq.protocol import errors

Wanted: TypeAlias = Sequence[tuple[str, str | None]]
Names: TypeAlias = Sequence[str] | None


class Configurable(Protocol):
    """A resource with stored configuration. `check_*` raise KafkaErrors."""

    resource: ClassVar[ConfigResource]

    @property
    def name(self) -> str: ...
    def check_described(self) -> None:
        """Whether it can be asked for."""
        ...

    def check_altered(self) -> None:
        """Whether it can be changed here."""
        ...

    def describe(self, names: Names) -> list[ConfigEntry]: ...
    def alter(self, ops: Sequence[Op]) -> Changes:
        """What IncrementalAlterConfigs comes to."""
        ...

    def replace(self, wanted: Wanted) -> Changes:
        """What AlterConfigs comes to."""
        ...


@dataclass(frozen=True, slots=True)
class Topic:
    resource: ClassVar = ConfigResource.TOPIC
    broker: Broker
    name: str

    def check_described(self) -> None:
        check_topic_name(self.name)
        if self.name not in self.broker.cluster.topic_ids:
            raise errors.UnknownTopicOrPartition(f"The topic '{self.name}' does not exist.")

    def check_altered(self) -> None:
        if not self.name:
            raise errors.InvalidRequest("Default topic resources are not allowed.")
        self.check_described()

    @property
    def settings(self) -> Mapping[str, str]:
        return self.broker.configs.settings(self.resource, self.name)

    @property
    def batch_bytes_max(self) -> int:
        return self.broker.config.budgets.batch_bytes_max

    def describe(self, names: Names) -> list[ConfigEntry]:
        return describe.describe_topic(self.broker.configs.broker, self.settings, names)

    def alter(self, ops: Sequence[Op]) -> Changes:
        configs = self.broker.configs.broker
        return alter.alter_topic(configs, self.settings, ops, batch_bytes_max=self.batch_bytes_max)

    def replace(self, wanted: Wanted) -> Changes:
        return alter.replace_topic(
            self.broker.configs.broker,
            self.settings,
            wanted,
            batch_bytes_max=self.batch_bytes_max,
        )


@dataclass(frozen=True, slots=True)
class Brokers:
    """This broker, or with an empty name the defaults of all."""

    resource: ClassVar = ConfigResource.BROKER
    broker: Broker
    name: str

    def check_described(self) -> None:
        if self.name:
            check_node_id(self.broker, self.name, "or empty string, ")

    def check_altered(self) -> None:
        if self.name:
            check_node_id(self.broker, self.name, "")

    def describe(self, names: Names) -> list[ConfigEntry]:
        configs = self.broker.configs.broker
        if self.name:
            return describe.describe_broker(configs, names)
        return describe.describe_brokers(configs, names)

    def alter(self, ops: Sequence[Op]) -> Changes:
        return alter.alter_broker(self.broker.configs.broker, ops, for_all=not self.name)

    def replace(self, wanted: Wanted) -> Changes:
        return alter.replace_broker(self.broker.configs.broker, wanted, for_all=not self.name)


@dataclass(frozen=True, slots=True)
class Group:
    resource: ClassVar = ConfigResource.GROUP
    broker: Broker
    name: str

    def check_described(self) -> None:
        if not self.name:
            raise errors.InvalidRequest("Group name must not be empty")

    def check_altered(self) -> None:
        if not self.name:
            raise errors.InvalidRequest("Default group resources are not allowed.")

    @property
    def settings(self) -> Mapping[str, str]:
        return self.broker.configs.settings(self.resource, self.name)

    def describe(self, names: Names) -> list[ConfigEntry]:
        return describe.describe_group(self.broker.configs.broker, self.settings, names)

    def alter(self, ops: Sequence[Op]) -> Changes:
        return alter.alter_group(self.broker.configs.broker, self.settings, ops)

    def replace(self, wanted: Wanted) -> Changes:
        return alter.replace_group(self.broker.configs.broker, self.settings, wanted)


@dataclass(frozen=True, slots=True)
class ClientMetrics:
    """A subscription to clients' metrics (KIP-714)."""

    resource: ClassVar = ConfigResource.CLIENT_METRICS
    broker: Broker
    name: str

    def check_described(self) -> None:
        if not self.name:
            raise errors.InvalidRequest("Client metrics subscription name must not be empty")

    def check_altered(self) -> None:
        self.check_described()

    @property
    def settings(self) -> Mapping[str, str]:
        return self.broker.configs.settings(self.resource, self.name)

    def describe(self, names: Names) -> list[ConfigEntry]:
        return describe.describe_client_metrics(self.settings, names)

    def alter(self, ops: Sequence[Op]) -> Changes:
        return alter.alter_client_metrics(self.settings, ops)

    def replace(self, wanted: Wanted) -> Changes:
        return alter.replace_client_metrics(self.settings, wanted)


KINDS: dict[int, Callable[[Broker, str], Configurable]] = {
    ConfigResource.TOPIC: Topic,
    ConfigResource.BROKER: Brokers,
    ConfigResource.GROUP: Group,
    ConfigResource.CLIENT_METRICS: ClientMetrics,
}


def configurable(broker: Broker, resource_type: int, name: str) -> Configurable:
    """The resource of a request. Raises InvalidRequest for a type that has no configuration."""
    kind = KINDS.get(resource_type)
    if kind is None:
        raise errors.InvalidRequest(f"Unknown resource type {resource_type}")
    return kind(broker, name)


def loggers(broker: Broker, name: str) -> Loggers:
    """This broker's loggers; `name` is its id. Raises InvalidRequest."""
    if not name:
        raise errors.InvalidRequest("Broker id must not be empty")
    check_node_id(broker, name, "")
    return Loggers()


def is_loggers(resource_type: int) -> bool:
    return resource_type == LOGGERS_RESOURCE


def check_node_id(broker: Broker, name: str, also: str) -> None:
    """Clients send what is about a broker to that broker."""
    try:
        node_id = int(name)
    except ValueError:
        raise errors.InvalidRequest(f"Node id must be an integer, but it is: {name}") from None
    if node_id != broker.node_id:
        raise errors.InvalidRequest(
            f"Unexpected broker id, expected {broker.node_id}, {also}but received {name}"
        )


async def store(
    broker: Broker,
    resource: Configurable,
    decide: Callable[[], Changes],
    *,
    validate_only: bool,
) -> None:
    """Store what `decide` says, unless something was changed meanwhile: then it decides again."""
    while True:
        before = broker.configs.settings(resource.resource, resource.name)
        changes = decide()
        if validate_only or not changes:
            return
        secret = frozenset(key for key in changes if is_secret(resource.resource, key))
        wish = ConfigWish(resource.resource, resource.name, before, changes, secret)
        if await broker.controller.set_configs(wish):
            return


def is_secret(resource: ConfigResource, key: str) -> bool:
    """Passwords, and broker keys that nobody knows: they may be a plug-in's password."""
    if resource is not ConfigResource.BROKER:
        return False
    known = describe.key_of(key)
    return known is None or known.sensitive
