"""Clients that produce, delete records and create topics, each as its protocol asks."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from automq._native import Buf, build_batch
from automq.protocol import errors
from automq.protocol.messages.create_topics_request import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from automq.protocol.messages.create_topics_response import CreateTopicsResponse
from automq.protocol.messages.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from automq.protocol.messages.delete_records_response import DeleteRecordsResponse
from automq.protocol.messages.init_producer_id_request import InitProducerIdRequest
from automq.protocol.messages.init_producer_id_response import InitProducerIdResponse
from automq.protocol.messages.produce_request import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from automq.protocol.messages.produce_response import PartitionProduceResponse, ProduceResponse
from sim.client import Client, Conversation, Lost
from sim.node import Node
from sim.truth import PartitionTruth, Truth, Value, encode_value
from sim.wide import is_wide

IN_FLIGHT_MAX = 5
BYTES_MAX = 1 << 20
ENOUGH_RECORDS = 800
PRODUCE_VERSIONS = (3, 7, 9, 12)
OUT_OF_SEQUENCE = (
    errors.OutOfOrderSequenceNumber.code,
    errors.DuplicateSequenceNumber.code,
    errors.UnknownProducerId.code,
    errors.InvalidProducerEpoch.code,
)
TRANSIENT = (
    errors.NotLeaderOrFollower.code,
    errors.LeaderNotAvailable.code,
    errors.RequestTimedOut.code,
    errors.CoordinatorNotAvailable.code,
    errors.CoordinatorLoadInProgress.code,
    errors.NotCoordinator.code,
    errors.NotController.code,
    errors.StaleBrokerEpoch.code,
)

Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


@dataclass(slots=True)
class Shop:
    """What all clients share."""

    node: Node
    truth: Truth
    seed: int
    record_bytes_max: int
    pause_s: float
    is_forgetful: bool = False
    """The node forgets silent producers: what they send again is not known as that any more."""
    storage_errors_allowed: bool = False
    """The store says of objects that they are not there."""
    is_closing: bool = False
    """No new work: what has begun is finished."""

    async def think(self, chance: random.Random) -> None:
        """A pause between requests: longer once the run has enough of them."""
        slower = 1 if self.truth.acknowledged < ENOUGH_RECORDS else 10
        await asyncio.sleep(chance.expovariate(1 / (self.pause_s * slower)))

    def chance(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def complain(self, what: str) -> None:
        self.truth.complain(what)

    def check_error(self, who: str, conversation: Conversation, code: int) -> None:
        """An error that a client may only get while something moves, or from an old incarnation."""
        if code == errors.KafkaStorageError.code and self.storage_errors_allowed:
            return
        if code not in TRANSIENT and conversation.is_current:
            self.complain(f"{who}: error {errors.by_code(code).__name__}")


@dataclass(slots=True)
class Batch:
    """Records that are sent together, as often as it takes."""

    values: list[Value]
    records: bytes
    answer: "asyncio.Future[ProduceResponse] | None" = None
    conversation: Conversation | None = None
    sends: int = 0


def produce_request(*batches: tuple[PartitionTruth, bytes], acks: int = -1) -> ProduceRequest:
    """One request for batches of several partitions, at most one of each."""
    topics: dict[str, TopicProduceData] = {}
    for at, records in batches:
        topic = topics.setdefault(at.topic, TopicProduceData(name=at.topic, partition_data=[]))
        topic.partition_data.append(PartitionProduceData(index=at.index, records=Buf(records)))
    return ProduceRequest(acks=acks, timeout_ms=5_000, topic_data=list(topics.values()))


def only_row(response: ProduceResponse) -> PartitionProduceResponse:
    return response.responses[0].partition_responses[0]


class Writer:
    """Makes batches of numbered records for one partition."""

    def __init__(self, shop: Shop, name: str, at: PartitionTruth) -> None:
        self.shop = shop
        self.name = name
        self.at = at
        self.chance = shop.chance(name)
        self.version = self.chance.choice(PRODUCE_VERSIONS)
        self.next_number = 0
        self.first_of_id = 0
        """The number of the first record of the producer id in use."""

    def make(self, producer_id: int = -1, producer_epoch: int = 0) -> Batch:
        count = self.chance.choice([1, 1, 2, 5])
        first = self.next_number
        self.next_number += count
        now_ms = self.shop.node.clock.now_ms()
        values = [(self.name, number) for number in range(first, first + count)]
        padding = self.chance.randint(0, self.shop.record_bytes_max)
        rows: list[Row] = [(now_ms, None, encode_value(value, padding), []) for value in values]
        if producer_id < 0:
            return Batch(values, bytes(build_batch(rows)))
        sequence = first - self.first_of_id
        records = build_batch(
            rows,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=sequence,
        )
        return Batch(values, bytes(records))

    async def think(self) -> None:
        await self.shop.think(self.chance)


class PlainProducer:
    """acks=all without idempotence, one request at a time: at least once, in order.

    It writes to several partitions; a request has a batch for each that is due.
    """

    def __init__(self, shop: Shop, name: str, partitions: Sequence[PartitionTruth]) -> None:
        self.writers = [Writer(shop, f"{name}-{at}", at) for at in partitions]
        self.shop = shop
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name, late=True)
        self.version = self.chance.choice(PRODUCE_VERSIONS)

    async def run(self) -> None:
        while not self.shop.is_closing:
            count = self.chance.randint(1, len(self.writers))
            due = self.chance.sample(self.writers, count)
            await self._send([(writer, writer.make()) for writer in due])
            await self.shop.think(self.chance)

    async def _send(self, due: list[tuple[Writer, Batch]]) -> None:
        """Send until all are acknowledged."""
        while True:
            due = await self._send_once(due)
            if not due:
                return
            await asyncio.sleep(self.chance.uniform(0, 0.3))

    async def _send_once(self, due: list[tuple[Writer, Batch]]) -> list[tuple[Writer, Batch]]:
        """Those that have to be sent again."""
        request = produce_request(
            *((writer.at, batch.records) for writer, batch in due),
            acks=self.chance.choice([-1, -1, 1]),
        )
        conversation = await self.client.conversation()
        try:
            response = await self.client.ask(request, ProduceResponse, self.version)
        except Lost:
            return due
        rows = {
            (topic.name, row.index): row
            for topic in response.responses
            for row in topic.partition_responses
        }
        again = []
        for writer, batch in due:
            row = rows[writer.at.topic, writer.at.index]
            if row.error_code == 0:
                self.shop.truth.note_acked(writer.at, batch.values, row.base_offset)
            else:
                self.shop.check_error(writer.name, conversation, row.error_code)
                again.append((writer, batch))
        return again


class IdempotentProducer:
    """Up to five requests in flight, each record exactly once and in order."""

    def __init__(self, shop: Shop, name: str, at: PartitionTruth) -> None:
        self.writer = Writer(shop, name, at)
        self.client = Client(shop.node, name, late=True)
        self.producer_id = -1
        self.producer_epoch = 0
        self.pending: list[Batch] = []
        names = shop.truth.lossy if shop.is_forgetful else shop.truth.idempotent
        names.add(name)

    async def run(self) -> None:
        shop = self.writer.shop
        self.producer_id = await new_producer_id(self.client, shop)
        while not shop.is_closing or self.pending:
            if not await self._flow():
                await self._start_again()

    async def _flow(self) -> bool:
        """Send and take answers while all goes well; False when something has to be repeated."""
        writer, shop = self.writer, self.writer.shop
        conversation = await self.client.conversation()
        while True:
            while len(self.pending) < IN_FLIGHT_MAX and not shop.is_closing:
                batch = writer.make(self.producer_id, self.producer_epoch)
                self.pending.append(batch)
                self._send(conversation, batch)
                if writer.chance.random() < 0.5:
                    break
            if not self.pending:
                return True
            # With one in flight nothing is behind it: the next can come from a new producer id.
            if len(self.pending) == 1 and writer.chance.random() < 0.02:
                return await self._take_first() and await self._begin_anew()
            if not await self._take_first():
                return False
            await writer.think()

    async def _begin_anew(self) -> bool:
        """As a client that was started again: another id, and sequences from 0 on.

        Or, as a client that has met a gap (KIP-360): the same id in its next epoch.
        """
        if is_wide(self.writer.shop.seed) and self.writer.chance.random() < 0.5:
            self.producer_epoch += 1
        else:
            self.producer_id = await new_producer_id(self.client, self.writer.shop)
            self.producer_epoch = 0
        self.writer.first_of_id = self.writer.next_number
        return True

    def _send(self, conversation: Conversation, batch: Batch) -> None:
        batch.conversation = conversation
        batch.sends += 1
        batch.answer = conversation.send(
            produce_request((self.writer.at, batch.records)), ProduceResponse, self.writer.version
        )

    async def _take_first(self, *, alone: bool = False) -> bool:
        """Wait for the oldest; True when it is acknowledged. `alone`: nothing else is in flight."""
        batch = self.pending[0]
        assert batch.answer is not None
        assert batch.conversation is not None
        try:
            async with asyncio.timeout(self.writer.chance.choice([2.0, 10.0, 30.0])):
                row = only_row(await asyncio.shield(batch.answer))
        except (Lost, TimeoutError):
            batch.conversation.close(late=self.writer.chance.random() < 0.3)
            return False
        if row.error_code == 0:
            self.pending.pop(0)
            self.writer.shop.truth.note_acked(self.writer.at, batch.values, row.base_offset)
            return True
        self._check_error(batch, row.error_code, alone=alone)
        return False

    def _check_error(self, batch: Batch, code: int, *, alone: bool) -> None:
        assert batch.conversation is not None
        if code in OUT_OF_SEQUENCE and (not alone or self.writer.shop.is_forgetful):
            return
        self.writer.shop.check_error(f"{batch.values[0]}", batch.conversation, code)

    async def _start_again(self) -> None:
        """Something failed: once nothing is in flight, repeat in order, one by one."""
        failed = False
        for batch in self.pending:
            assert batch.answer is not None
            try:
                async with asyncio.timeout(10):
                    row = only_row(await asyncio.shield(batch.answer))
            except (Lost, TimeoutError):
                # Whatever is behind it on this connection is as unknown.
                assert batch.conversation is not None
                batch.conversation.close(late=self.writer.chance.random() < 0.3)
                break
            if row.error_code == 0 and failed:
                self.writer.shop.complain(f"{batch.values[0]} was taken, but not those before it")
            failed = failed or row.error_code != 0
        while self.pending:
            await asyncio.sleep(self.writer.chance.uniform(0, 0.3))
            self._send(await self.client.conversation(), self.pending[0])
            await self._take_first(alone=True)


async def new_producer_id(client: Client, shop: Shop) -> int:
    """A fresh producer id; none is ever given twice."""
    request = InitProducerIdRequest(transactional_id=None)
    while True:
        try:
            response = await client.ask(request, InitProducerIdResponse, 4)
        except Lost:
            continue
        if response.error_code == 0:
            return response.producer_id
        await asyncio.sleep(0.2)


class Deleter:
    """DeleteRecords, a little further each time."""

    def __init__(self, shop: Shop, name: str, at: PartitionTruth) -> None:
        self.shop = shop
        self.name = name
        self.at = at
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)

    async def run(self) -> None:
        while not self.shop.is_closing:
            await asyncio.sleep(self.chance.expovariate(1 / 3))
            try:
                await self._delete()
            except Lost:
                continue

    async def _delete(self) -> None:
        at = self.at
        if at.end_seen == 0:
            return
        offset = self.chance.randint(at.start_seen, at.end_seen)
        if self.chance.random() < 0.7:
            offset = min(offset, at.start_seen + 20)
        at.start_wanted = max(at.start_wanted, offset)
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsTopic(at.topic, [DeleteRecordsPartition(at.index, offset)])],
            timeout_ms=5_000,
        )

        def check(conversation: Conversation, response: DeleteRecordsResponse) -> None:
            row = response.topics[0].partitions[0]
            if row.error_code == errors.OffsetOutOfRange.code and not conversation.is_current:
                return
            if row.error_code != 0:
                self.shop.check_error(self.name, conversation, row.error_code)
                return
            if row.low_watermark < offset:
                self.shop.complain(f"{at}: {offset} deleted, but it starts at {row.low_watermark}")
            at.start_seen = max(at.start_seen, row.low_watermark)

        await self.client.ask(request, DeleteRecordsResponse, 2, check=check)


async def create_topic(
    client: Client, shop: Shop, name: str, partitions: int, **configs: str
) -> bool:
    """Create a topic, however often it takes; False when it was there already. Raises Lost."""
    topic = CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=1,
        configs=[
            CreatableTopicConfig(key.replace("_", "."), value) for key, value in configs.items()
        ],
    )
    request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
    while True:
        conversation = await client.conversation()
        response = await client.ask(request, CreateTopicsResponse, 7, within_s=20)
        code = response.topics[0].error_code
        if code == errors.TopicAlreadyExists.code:
            return False
        if code == 0:
            return True
        shop.check_error(f"create {name}", conversation, code)
        await asyncio.sleep(0.2)
