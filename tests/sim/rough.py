"""Clients without manners: they do not wait for answers, or send what is damaged."""

from automq.protocol import errors
from automq.protocol.codec import encode_request
from automq.protocol.messages.produce_request import ProduceRequest
from automq.protocol.messages.produce_response import ProduceResponse
from sim.client import Client, Conversation, Lost
from sim.truth import PartitionTruth
from sim.workload import Batch, Shop, Writer, only_row, produce_request
from support.damage import damaged

REFUSED = {
    errors.CorruptMessage.code,
    errors.InvalidRecord.code,
    errors.InvalidTimestamp.code,
    errors.MessageTooLarge.code,
    errors.UnsupportedForMessageFormat.code,
    errors.UnsupportedCompressionType.code,
    errors.InvalidRequiredAcks.code,
    errors.UnknownTopicOrPartition.code,
    errors.UnknownProducerId.code,
    errors.InvalidTxnState.code,
    errors.InvalidProducerIdMapping.code,
    errors.InvalidRequest.code,
    errors.OutOfOrderSequenceNumber.code,
    errors.InvalidProducerEpoch.code,
}
"""What a producer may be told of a batch that is not right."""
UNCHECKED_BYTES = 16
"""Base offset, length and leader epoch of a batch: the broker writes them itself."""
UNANSWERED_MAX = 5
HEADER_BYTES = 8
"""The API and its version stay: what is damaged is a produce request."""


class Careless:
    """acks=0: what it sends is there or is not, and in the order of sending if it is."""

    def __init__(self, shop: Shop, name: str, at: PartitionTruth) -> None:
        self.shop = shop
        self.writer = Writer(shop, name, at)
        self.client = Client(shop.node, name)
        shop.truth.lossy.add(name)

    async def run(self) -> None:
        while not self.shop.is_closing:
            for _ in range(UNANSWERED_MAX):
                conversation = await self.client.conversation()
                conversation.send_unanswered(self._request(acks=0), self.writer.version)
                await self.writer.think()
            try:
                # What is answered shows that all before it on this connection was dealt with.
                await self.client.ask(self._request(acks=1), ProduceResponse, self.writer.version)
            except Lost:
                continue

    def _request(self, acks: int) -> ProduceRequest:
        return produce_request((self.writer.at, self.writer.make().records), acks=acks)


class Vandal:
    """Damaged batches and requests: refused, or the connection ends; nobody else suffers."""

    def __init__(self, shop: Shop, name: str, at: PartitionTruth) -> None:
        self.shop = shop
        self.name = name
        self.writer = Writer(shop, name, at)
        self.chance = self.writer.chance
        self.client = Client(shop.node, name)
        shop.truth.lossy.add(name)

    async def run(self) -> None:
        while not self.shop.is_closing:
            batch = self.writer.make()
            try:
                if self.chance.random() < 0.5:
                    await self._send_damaged_batch(batch)
                else:
                    await self._send_damaged_request(batch)
            except Lost:
                pass
            await self.writer.think()

    async def _send_damaged_batch(self, batch: Batch) -> None:
        at = self.writer.at
        records = damaged(batch.records, self.chance)

        def check(conversation: Conversation, response: ProduceResponse) -> None:
            row = only_row(response)
            if records[UNCHECKED_BYTES:] == batch.records[UNCHECKED_BYTES:]:
                return  # nothing that anybody looks at is damaged
            if row.error_code == 0:
                self.shop.complain(f"{at}: a damaged batch was taken at {row.base_offset}")
            elif row.error_code not in REFUSED:
                self.shop.check_error(f"{self.name}, damaged", conversation, row.error_code)

        await self.client.ask(
            produce_request((at, records)), ProduceResponse, self.writer.version, check=check
        )

    async def _send_damaged_request(self, batch: Batch) -> None:
        """Whatever is read out of it; nobody waits for what comes back."""
        version = self.writer.version
        request = produce_request((self.writer.at, batch.records))
        frame = bytes(encode_request(request, version, 1, self.name))
        body = frame[4 : 4 + HEADER_BYTES] + damaged(frame[4 + HEADER_BYTES :], self.chance)
        conversation = await self.client.conversation()
        conversation.send_raw(len(body).to_bytes(4, "big") + body)
        await self.writer.think()
        conversation.close()
