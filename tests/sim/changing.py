"""Clients that change what topics are like: configs, and how many partitions."""

from collections.abc import Mapping

from automq.protocol import errors
from automq.protocol.messages.create_partitions_request import (
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from automq.protocol.messages.create_partitions_response import CreatePartitionsResponse
from automq.protocol.messages.describe_configs_request import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
)
from automq.protocol.messages.describe_configs_response import DescribeConfigsResponse
from automq.protocol.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from automq.protocol.messages.incremental_alter_configs_response import (
    IncrementalAlterConfigsResponse,
)
from sim.client import Client, Conversation, Lost
from sim.workload import Shop

TOPIC = 2
SET, DELETE = 0, 1
INVALID_PARTITIONS = errors.InvalidPartitions.code


class ConfigChanger:
    """Sets and unsets configs of one topic; what was acknowledged is so for whoever asks next."""

    def __init__(
        self, shop: Shop, name: str, topic: str, choices: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.shop = shop
        self.name = name
        self.topic = topic
        self.choices = choices
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)

    async def run(self) -> None:
        while not self.shop.is_closing:
            await self.shop.think(self.chance)
            key = self.chance.choice(sorted(self.choices))
            value = self.chance.choice([None, *self.choices[key]])
            await self._until_changed(key, value)
            try:
                await self._check(key, value)
            except Lost:
                continue

    async def _until_changed(self, key: str, value: str | None) -> None:
        change = AlterableConfig(key, DELETE if value is None else SET, value)
        resource = AlterConfigsResource(TOPIC, self.topic, [change])
        request = IncrementalAlterConfigsRequest([resource])
        while True:
            try:
                conversation = await self.client.conversation()
                response = await self.client.ask(request, IncrementalAlterConfigsResponse, 1)
            except Lost:
                continue
            code = response.responses[0].error_code
            if code == 0:
                return
            self.shop.check_error(f"{self.name}: set {key}", conversation, code)
            await self.shop.think(self.chance)

    async def _check(self, key: str, value: str | None) -> None:
        wanted = DescribeConfigsResource(TOPIC, self.topic, [key])

        def check(conversation: Conversation, response: DescribeConfigsResponse) -> None:
            result = response.results[0]
            if result.error_code != 0:
                self.shop.check_error(f"{self.name}: ask", conversation, result.error_code)
                return
            shown = {row.name: row.value for row in result.configs}.get(key)
            if value is not None and conversation.is_current and shown != value:
                self.shop.complain(f"{self.topic}: {key} was set to {value}, and is {shown}")

        request = DescribeConfigsRequest(resources=[wanted])
        await self.client.ask(request, DescribeConfigsResponse, 4, check=check)


async def grow_topic(client: Client, shop: Shop, topic: str, count: int) -> None:
    """Give a topic `count` partitions, or find that it has as many. Raises Lost."""
    request = CreatePartitionsRequest(
        topics=[CreatePartitionsTopic(topic, count, assignments=None)], timeout_ms=10_000
    )
    conversation = await client.conversation()
    response = await client.ask(request, CreatePartitionsResponse, 3, within_s=20)
    code = response.results[0].error_code
    if code not in (0, INVALID_PARTITIONS):
        shop.check_error(f"grow {topic}", conversation, code)
