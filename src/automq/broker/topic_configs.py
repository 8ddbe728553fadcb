"""The configuration in force: this broker's, and every topic's on top of it."""

from collections.abc import Iterable, Mapping

from automq.config.effective import BrokerConfigs, TopicConfig
from automq.metadata.cluster import ClusterImage
from automq.metadata.records.configs import ConfigResource

ALL_BROKERS = ""


class TopicConfigs:
    """Follows the cluster's stored configs; a change makes new values, nothing is mutated."""

    def __init__(self, *, broker: BrokerConfigs, cluster: ClusterImage, node_id: int) -> None:
        self._cluster = cluster
        self._node_name = str(node_id)
        self.broker = broker
        self._follow_broker()

    def of(self, topic: str) -> TopicConfig:
        """The configuration of a topic."""
        return self.broker.topic_config(self.settings(ConfigResource.TOPIC, topic))

    def settings(self, resource: ConfigResource, name: str) -> dict[str, str]:
        """What is set for a resource, as texts by key."""
        stored = self._cluster.config(resource, name)
        return {key: it.value for key, it in stored.items() if it.value is not None}

    def changed(self, resources: Iterable[tuple[ConfigResource, str]]) -> list[str] | None:
        """Take in changes; the topics whose configuration is another now, None for all."""
        topics: list[str] = []
        everything = False
        for resource, name in resources:
            if resource is ConfigResource.TOPIC:
                topics.append(name)
            elif resource is ConfigResource.BROKER and name in (ALL_BROKERS, self._node_name):
                everything = True
        if not everything:
            return topics
        self._follow_broker()
        return None

    def _follow_broker(self) -> None:
        default: Mapping[str, str] = self.settings(ConfigResource.BROKER, ALL_BROKERS)
        own: Mapping[str, str] = self.settings(ConfigResource.BROKER, self._node_name)
        self.broker = self.broker.with_dynamic(default=default, broker=own)
