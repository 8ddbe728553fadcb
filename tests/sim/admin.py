"""Clients that commit offsets, and clients that create and delete topics."""

import asyncio

from automq.protocol import errors
from automq.protocol.messages.delete_topics_request import DeleteTopicsRequest
from automq.protocol.messages.delete_topics_response import DeleteTopicsResponse
from automq.protocol.messages.find_coordinator_request import FindCoordinatorRequest
from automq.protocol.messages.find_coordinator_response import FindCoordinatorResponse
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from automq.protocol.messages.metadata_response import MetadataResponse
from automq.protocol.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from automq.protocol.messages.offset_commit_response import OffsetCommitResponse
from automq.protocol.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from automq.protocol.messages.offset_fetch_response import OffsetFetchResponse
from automq.protocol.messages.produce_response import ProduceResponse
from sim.changing import grow_topic
from sim.client import Client, Conversation, Lost
from sim.truth import PartitionTruth
from sim.workload import Shop, Writer, create_topic, only_row, produce_request

COMMIT_VERSION, FETCH_VERSION = 8, 8
UNKNOWN = errors.UnknownTopicOrPartition.code


async def find_coordinator(client: Client, group: str) -> None:
    """Ask until somebody leads the group's partition; the first who asks creates the topic."""
    request = FindCoordinatorRequest(key_type=0, coordinator_keys=[group])
    while True:
        try:
            found = await client.ask(request, FindCoordinatorResponse, 4)
        except Lost:
            continue
        if found.coordinators[0].error_code == 0:
            return
        await asyncio.sleep(0.2)


class Committer:
    """One group that commits growing offsets and reads them back."""

    def __init__(
        self, shop: Shop, group: str, at: PartitionTruth, *, is_forgotten: bool = False
    ) -> None:
        self.shop = shop
        self.group = group
        self.is_forgotten = is_forgotten
        """Somebody deletes it, or it expires: what was committed may be gone."""
        self.at = at
        self.chance = shop.chance(group)
        self.client = Client(shop.node, group)
        self.tried = 0
        self.known = -1
        """The newest offset that was acknowledged or shown: it never goes back."""

    async def run(self) -> None:
        await find_coordinator(self.client, self.group)
        while not self.shop.is_closing:
            await self.shop.think(self.chance)
            try:
                await (self._commit() if self.chance.random() < 0.7 else self.fetch())
            except Lost:
                continue

    async def _commit(self) -> None:
        self.tried += 1
        offset = self.tried
        wanted = OffsetCommitRequestPartition(self.at.index, committed_offset=offset)
        request = OffsetCommitRequest(
            group_id=self.group,
            topics=[OffsetCommitRequestTopic(name=self.at.topic, partitions=[wanted])],
        )

        def check(conversation: Conversation, response: OffsetCommitResponse) -> None:
            code = response.topics[0].partitions[0].error_code
            if code == 0:
                self.known = max(self.known, offset)
            else:
                self.shop.check_error(self.group, conversation, code)

        await self.client.ask(request, OffsetCommitResponse, COMMIT_VERSION, check=check)

    async def fetch(self) -> bool:
        """Read the offset back; whether there was an answer without an error. Raises Lost."""
        floor = self.known
        topic = OffsetFetchRequestTopics(name=self.at.topic, partition_indexes=[self.at.index])
        request = OffsetFetchRequest(
            groups=[OffsetFetchRequestGroup(group_id=self.group, topics=[topic])]
        )
        is_answered = False

        def check(conversation: Conversation, response: OffsetFetchResponse) -> None:
            nonlocal is_answered
            answer = response.groups[0]
            row = answer.topics[0].partitions[0] if answer.topics else None
            code = answer.error_code or (row.error_code if row is not None else 0)
            if code != 0 or row is None:
                self.shop.check_error(self.group, conversation, code)
                return
            is_answered = True
            found = row.committed_offset
            if not conversation.is_current or self.is_forgotten:
                return
            if found < floor:
                self.shop.complain(f"{self.group}: committed {floor}, and then {found} is read")
            if found > self.tried:
                self.shop.complain(f"{self.group}: {found} is read, only {self.tried} was tried")
            self.known = max(self.known, found)

        await self.client.ask(request, OffsetFetchResponse, FETCH_VERSION, check=check)
        return is_answered


class Churner:
    """Creates a topic, writes into it, deletes it, and begins again under the same name."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop = shop
        self.name = name
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)
        self.lives = 0

    async def run(self) -> None:
        while not self.shop.is_closing:
            await asyncio.sleep(self.chance.expovariate(1))
            await self._until_done(self._create)
            if self.chance.random() < 0.3:
                await self._until_done(self._grow)
            at = PartitionTruth(self.name, 0)
            for _ in range(self.chance.randint(0, 5)):
                await self._produce(at)
            await self._until_done(self._delete)
            self.lives += 1

    async def _until_done(self, attempt: object) -> None:
        assert callable(attempt)
        while True:
            try:
                await attempt()
            except Lost:
                await asyncio.sleep(0.2)
            else:
                return

    async def _create(self) -> None:
        await create_topic(self.client, self.shop, self.name, self.chance.randint(1, 3))
        await self._check_known(is_known=True)

    async def _grow(self) -> None:
        await grow_topic(self.client, self.shop, self.name, self.chance.randint(2, 5))

    async def _delete(self) -> None:
        request = DeleteTopicsRequest(topic_names=[self.name], timeout_ms=10_000)
        while True:
            conversation = await self.client.conversation()
            response = await self.client.ask(request, DeleteTopicsResponse, 5, within_s=20)
            code = response.responses[0].error_code
            # One that was replaced may not know yet that the topic was made.
            if code == 0 or (code == UNKNOWN and conversation.is_current):
                break
            self.shop.check_error(f"delete {self.name}", conversation, code)
            await asyncio.sleep(0.2)
        await self._check_known(is_known=False)

    async def _check_known(self, *, is_known: bool) -> None:
        """What was acknowledged is so for whoever asks next."""
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=self.name)], allow_auto_topic_creation=False
        )

        def check(conversation: Conversation, response: MetadataResponse) -> None:
            code = response.topics[0].error_code
            if conversation.is_current and (code == 0) is not is_known:
                self.shop.complain(f"{self.name}: known is {not is_known}, should be {is_known}")

        await self.client.ask(request, MetadataResponse, 12, check=check)

    async def _produce(self, at: PartitionTruth) -> None:
        """Records of a new topic begin at offset 0, whatever had the name before."""
        writer = Writer(self.shop, f"{self.name}.{self.lives}", at)
        writer.next_number = len(at.acked)
        batch = writer.make()
        conversation = await self.client.conversation()
        try:
            response = await self.client.ask(
                produce_request((at, batch.records)), ProduceResponse, 9, within_s=5
            )
        except Lost:
            at.start_wanted = 1  # perhaps it is there: offsets cannot be foreseen any more
            return
        row = only_row(response)
        if row.error_code != 0:
            self.shop.check_error(f"produce to {self.name}", conversation, row.error_code)
            return
        if at.start_wanted == 0 and row.base_offset != at.end_seen:
            self.shop.complain(
                f"{self.name}: {at.end_seen} records written, the next is at {row.base_offset}"
            )
        at.end_seen = row.base_offset + len(batch.values)
