"""A client that fills the log with records that nobody will ever need."""

import asyncio

from automq.objectstore.simulated import Effect, Fault
from automq.protocol.messages.produce_response import ProduceResponse
from sim.admin import Churner
from sim.client import Client, Lost
from sim.truth import PartitionTruth
from sim.workload import Writer, only_row, produce_request

BATCHES = 10
REQUESTS_MAX = 400
UPLOAD_BEGINS_S = 0.5
PATIENCE_S = 2.0
FLOOD_S_MAX, DELETE_S_MAX = 60.0, 20.0


class Flooder(Churner):
    """Writes into a topic, while nothing can be uploaded, until nothing more is taken; deletes it.

    What is left of the log then holds nothing but records of a stream that is gone: it must be let
    go, or nobody could ever write again. In a seed in which nobody else writes.
    """

    async def run(self) -> None:
        while not self.shop.is_closing:
            await asyncio.sleep(self.chance.expovariate(1 / 2))
            await self._until_done(self._create)
            self._forbid_uploads()
            refused = await self._flood()
            try:
                # A node that is started meanwhile may have something to upload before it serves.
                async with asyncio.timeout(DELETE_S_MAX):
                    await self._until_done(self._delete)
            except TimeoutError:
                pass
            self.shop.node.store.heal()
            await self._until_done(self._delete)
            self.lives += 1
            await self._until_taken(refused)

    def _forbid_uploads(self) -> None:
        operations = frozenset({"put"})
        self.shop.node.store.inject(Fault(Effect.FAIL, operations, "data/", times=None))

    async def _flood(self) -> bytes:
        """The batch that was not taken any more."""
        client = Client(self.shop.node, self.name)
        writer = Writer(self.shop, f"{self.name}.{self.lives}", PartitionTruth(self.name, 0))
        batches = sorted((writer.make().records for _ in range(BATCHES)), key=len)
        try:
            # Its upload begins, and stays: what comes then is not uploaded before it is deleted.
            # Whoever starts now uploads before it listens: it must not be waited for any longer.
            async with asyncio.timeout(FLOOD_S_MAX):
                await self._produce_to(client, batches[0])
                await asyncio.sleep(UPLOAD_BEGINS_S)
                for _ in range(REQUESTS_MAX):
                    await self._produce_to(client, batches[-1])
        except (Lost, TimeoutError):
            pass
        client.close()
        return batches[-1]

    async def _produce_to(self, client: Client, records: bytes) -> int:
        request = produce_request((PartitionTruth(self.name, 0), records))
        response = await client.ask(request, ProduceResponse, 9, within_s=PATIENCE_S)
        return only_row(response).error_code

    async def _until_taken(self, records: bytes) -> None:
        """What had no room has room again, in bounded time."""
        await self._until_done(self._create)
        while True:
            try:
                if await self._produce_to(self.client, records) == 0:
                    break
            except Lost:
                continue
            await asyncio.sleep(0.2)
        await self._until_done(self._delete)
