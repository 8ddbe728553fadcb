"""What a broker asks of the active controller."""

from collections.abc import Sequence
from typing import Protocol

from automq.controller.configs import ConfigWish
from automq.controller.leaders import PartitionAt, StreamAt
from automq.controller.topics import TopicMade, TopicWish


class ControllerClient(Protocol):
    """The controller, as a broker sees it; on one node the controller itself.

    Every reply is given only after it, and all it rests on, is stored, and after this broker's
    followers were told of the stored records: what a reply speaks of can be used at once. Raises
    KafkaErrors.
    """

    async def create_topic(self, wish: TopicWish, *, validate_only: bool) -> TopicMade: ...

    async def delete_topic(self, topic_id: bytes) -> None: ...

    async def create_partitions(
        self,
        name: str,
        count: int,
        assignments: Sequence[Sequence[int]] | None,
        *,
        validate_only: bool,
    ) -> None: ...

    async def set_configs(self, wish: ConfigWish) -> bool:
        """Store config values that have been validated, all or none; see `configs.set_configs`."""
        ...

    async def create_state_stream(self, topic_id: bytes, index: int) -> StreamAt:
        """Give the partition a state stream, open at its leader."""
        ...

    def partition_at(self, topic_id: bytes, index: int) -> PartitionAt | None:
        """The streams of a partition, as stored with its last change of leader."""
        ...

    def trim_later(self, stream_id: int, start_offset: int) -> None:
        """The stream's data below `start_offset` is no longer needed; no hurry."""
        ...

    async def reserve_producer_ids(self) -> range:
        """A new block of producer ids for this node."""
        ...
