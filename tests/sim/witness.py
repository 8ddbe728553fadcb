"""A client that waits for long, and asks another process whether what it was told is so."""

import asyncio

from automq.protocol import errors
from automq.protocol.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from automq.protocol.messages.create_topics_response import CreateTopicsResponse
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from automq.protocol.messages.metadata_response import MetadataResponse
from sim.client import Client, Conversation, Lost
from sim.workload import Shop

PATIENCE_S = 300.0
TOPICS_MAX = 40


class Witness:
    """Topics that it was told of are there for ever, whoever told it and whoever is asked."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop = shop
        self.name = name
        self.chance = shop.chance(name)
        self.created: list[str] = []
        self.tried = 0

    async def run(self) -> None:
        while not self.shop.is_closing:
            await asyncio.sleep(self.chance.expovariate(1))
            if len(self.created) < TOPICS_MAX:
                self.tried += 1
                await self._create(f"{self.name}-{self.tried}")
            await self._check()

    async def _create(self, topic: str) -> None:
        """On a connection that is kept for as long as it takes, to a process that may be old."""
        client = Client(self.shop.node, self.name)
        wanted = CreatableTopic(name=topic, num_partitions=1, replication_factor=1)
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=int(PATIENCE_S * 1000))
        patience_s = 10.0 if self.shop.is_closing else PATIENCE_S
        try:
            response = await client.ask(request, CreateTopicsResponse, 7, within_s=patience_s)
        except Lost:
            return
        if response.topics[0].error_code in (0, errors.TopicAlreadyExists.code):
            self.created.append(topic)
        client.close()

    async def _check(self) -> None:
        known = list(self.created)
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=it) for it in known], allow_auto_topic_creation=False
        )

        def check(conversation: Conversation, response: MetadataResponse) -> None:
            for row in response.topics:
                if row.error_code != 0 and conversation.is_current:
                    self.shop.complain(f"{row.name} was created, and is not known")

        client = Client(self.shop.node, self.name)
        try:
            await client.ask(request, MetadataResponse, 12, check=check)
        except Lost:
            return
        client.close()
