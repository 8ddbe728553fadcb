"""Topics that come into being because somebody asked for them: one creation for all who ask."""

import asyncio
import logging
from collections.abc import Iterable
from typing import TypeAlias

from automq.broker.internal_topics import OFFSETS_TOPIC, is_internal, offsets_topic
from automq.config.node_config import NodeConfig
from automq.controller.client import ControllerClient
from automq.controller.topics import TopicWish, check_topic_name
from automq.protocol import errors
from automq.world import World
from automq.world.background import Background

log = logging.getLogger(__name__)

Outcome: TypeAlias = "asyncio.Future[errors.KafkaError | None]"

WAIT_MS = 1_000
"""How long a request waits for a topic that it has created; then it says that there is no leader
yet, and its client asks again."""


class AutoTopics:
    """Creates topics on demand. A creation goes on when those who wait for it have gone."""

    def __init__(
        self,
        *,
        controller: ControllerClient,
        config: NodeConfig,
        world: World,
        background: Background,
    ) -> None:
        self._controller = controller
        self._config = config
        self._world = world
        self._background = background
        self._under_way: dict[str, Outcome] = {}

    async def create(self, names: Iterable[str]) -> dict[str, errors.KafkaError]:
        """Create topics that do not exist; why some are not there (yet), by name.

        LeaderNotAvailable: it is still being created. InvalidTopicException and whatever else the
        controller refuses with. UnknownTopicOrPartition: nobody may create it by asking for it.
        """
        refused: dict[str, errors.KafkaError] = {}
        started: dict[str, Outcome] = {}
        for name in names:
            try:
                started[name] = self._start(name)
            except errors.KafkaError as error:
                refused[name] = error
        if not started:
            return refused
        await asyncio.wait(started.values(), timeout=WAIT_MS / 1000)
        for name, outcome in started.items():
            done = outcome.done()
            why = outcome.result() if done else errors.LeaderNotAvailable(f"creating {name}")
            if why is not None:
                refused[name] = why
        return refused

    def _start(self, name: str) -> Outcome:
        outcome = self._under_way.get(name)
        if outcome is None:
            wish = self._wish(name)
            outcome = asyncio.get_running_loop().create_future()
            self._under_way[name] = outcome
            self._background.spawn(f"create {name}", self._create(wish, outcome))
        return outcome

    def _wish(self, name: str) -> TopicWish:
        check_topic_name(name)
        if name == OFFSETS_TOPIC:
            return offsets_topic(self._config, self._world.new_uuid())
        if is_internal(name):
            raise errors.UnknownTopicOrPartition(f"{name} is created by its coordinator alone")
        return TopicWish(name=name, topic_id=self._world.new_uuid())

    async def _create(self, wish: TopicWish, outcome: Outcome) -> None:
        why: errors.KafkaError | None = errors.UnknownServerError(f"creating {wish.name} failed")
        try:
            why = await self._ask_controller(wish)
        finally:
            del self._under_way[wish.name]
            outcome.set_result(why)

    async def _ask_controller(self, wish: TopicWish) -> errors.KafkaError | None:
        try:
            made = await self._controller.create_topic(wish, validate_only=False)
        except errors.TopicAlreadyExists:
            return None
        except errors.KafkaError as error:
            log.info("topic %s is not created: %s", wish.name, error)
            return error
        log.info("created topic %s on demand: %d partitions", made.name, made.partitions)
        return None
