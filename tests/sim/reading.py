"""Clients that read: on at the end, again from some old offset, many partitions at once."""

import asyncio
from collections.abc import Callable, Sequence

from automq.broker.fetching import CLOCK_S, PATIENCE_S
from automq.protocol import errors
from automq.protocol.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic
from automq.protocol.messages.fetch_response import FetchResponse
from automq.protocol.messages.list_offsets_request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from automq.protocol.messages.list_offsets_response import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
)
from sim.client import Client, Conversation, Lost
from sim.truth import PartitionTruth
from sim.workload import BYTES_MAX, Shop

Check = Callable[[Conversation, ListOffsetsPartitionResponse], None]

EARLIEST, LATEST, MAX_TIMESTAMP = -2, -1, -3
FETCH_VERSIONS = (5, 7, 11, 12)


class Reader:
    """Reads one partition: to its end and on, or again and again from some old offset."""

    def __init__(self, shop: Shop, name: str, at: PartitionTruth, *, is_cold: bool) -> None:
        self.shop = shop
        self.name = name
        self.at = at
        self.is_cold = is_cold
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)
        self.position = 0
        self.was_slow = False
        """Whether the last answer took as long as one may that has nothing in it."""
        self.isolation_level = self.chance.choice([0, 0, 1])
        self.version = self.chance.choice(FETCH_VERSIONS)

    async def run(self) -> None:
        while not self.shop.is_closing:
            try:
                await self._read_some()
            except Lost:
                await asyncio.sleep(self.chance.uniform(0, 0.3))
            await self.shop.think(self.chance)

    async def _read_some(self) -> None:
        if self.is_cold and self.chance.random() < 0.3:
            self.position = self.chance.randint(self.at.start_seen, max(self.at.end_seen, 1))
        kind = self.chance.random()
        if kind < 0.1:
            await list_offset(self.client, self.shop, self.at, EARLIEST)
        elif kind < 0.2:
            await list_offset(self.client, self.shop, self.at, LATEST)
        elif kind < 0.25 and self.at.stamps:
            await self._find_timestamp()
        else:
            wait_ms = self.chance.choice([0, 10, 500])
            bytes_max = self.chance.choice([1, 2_000, 20_000])
            await self.fetch(bytes_max, wait_ms)

    async def _find_timestamp(self) -> None:
        """Which record is the first that is not older than some time near those there are."""
        known = list(self.at.stamps.values())
        timestamp = self.chance.choice(known) + self.chance.choice([-1, 0, 0, 1])
        before = dict(self.at.stamps)

        def check(conversation: Conversation, row: ListOffsetsPartitionResponse) -> None:
            if conversation.is_current:
                self.shop.truth.check_found(self.at, timestamp, row.offset, before)

        await ask_offset(self.client, self.shop, self.at, timestamp, check)

    async def fetch(self, bytes_max: int, wait_ms: int) -> bool:
        """Read on from `position`; False when there was nothing, or an error. Raises Lost."""
        before = self.position
        floor = self.at.floor
        wanted = FetchPartition(
            partition=self.at.index, fetch_offset=before, partition_max_bytes=bytes_max
        )
        request = fetch_request({self.at.topic: [wanted]}, wait_ms, BYTES_MAX)
        request.isolation_level = self.isolation_level
        began_s = asyncio.get_running_loop().time()

        def check(conversation: Conversation, response: FetchResponse) -> None:
            data = response.responses[0].partitions[0]
            if data.error_code not in (0, errors.OffsetOutOfRange.code):
                self.shop.check_error(self.name, conversation, data.error_code)
            waited_s = asyncio.get_running_loop().time() - began_s
            self.was_slow = waited_s > PATIENCE_S - CLOCK_S  # the store took too long
            moved = self.shop.truth.note_fetched(
                conversation,
                self.at,
                before,
                data,
                floor,
                may_be_empty=self.was_slow,
            )
            self.position = moved

        await self.client.ask(request, FetchResponse, self.version, check=check)
        if self.position < 0:
            self.position = max(await list_offset(self.client, self.shop, self.at, EARLIEST), 0)
        return self.position > before


def fetch_request(
    topics: dict[str, list[FetchPartition]], wait_ms: int, bytes_max: int
) -> FetchRequest:
    return FetchRequest(
        replica_id=-1,
        max_wait_ms=wait_ms,
        min_bytes=1,
        max_bytes=bytes_max,
        topics=[FetchTopic(topic=name, partitions=rows) for name, rows in topics.items()],
    )


class WideReader:
    """Reads many partitions by one request, which may not have room for all of them."""

    def __init__(self, shop: Shop, name: str, partitions: Sequence[PartitionTruth]) -> None:
        self.shop = shop
        self.name = name
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)
        self.positions = {(at.topic, at.index): (at, 0) for at in partitions}
        self.version = self.chance.choice(FETCH_VERSIONS)

    async def run(self) -> None:
        while not self.shop.is_closing:
            try:
                await self._fetch()
            except Lost:
                await asyncio.sleep(self.chance.uniform(0, 0.3))
            await self.shop.think(self.chance)

    async def _fetch(self) -> None:
        topics: dict[str, list[FetchPartition]] = {}
        for (name, index), (_, position) in self.positions.items():
            wanted = FetchPartition(
                partition=index,
                fetch_offset=position,
                partition_max_bytes=self.chance.choice([1, 5_000]),
            )
            topics.setdefault(name, []).append(wanted)
        floors = {key: at.floor for key, (at, _) in self.positions.items()}

        def check(conversation: Conversation, response: FetchResponse) -> None:
            for topic in response.responses:
                for data in topic.partitions:
                    key = topic.topic, data.partition_index
                    at, position = self.positions[key]
                    if data.error_code not in (0, errors.OffsetOutOfRange.code):
                        self.shop.check_error(self.name, conversation, data.error_code)
                    moved = self.shop.truth.note_fetched(
                        conversation, at, position, data, floors[key], may_be_empty=True
                    )
                    self.positions[key] = at, moved if moved >= 0 else at.start_wanted

        wait_ms = self.chance.choice([0, 100])
        request = fetch_request(topics, wait_ms, self.chance.choice([1, 10_000, 50_000]))
        await self.client.ask(request, FetchResponse, self.version, check=check)


async def list_offset(client: Client, shop: Shop, at: PartitionTruth, which: int) -> int:
    """The start or end of a partition, checked; -1 for an error. Raises Lost."""
    floor = at.floor

    def check(conversation: Conversation, row: ListOffsetsPartitionResponse) -> None:
        if conversation.is_current:
            check_bound = shop.truth.check_start if which == EARLIEST else shop.truth.check_end
            check_bound(at, row.offset, floor)

    return await ask_offset(client, shop, at, which, check)


async def ask_offset(
    client: Client, shop: Shop, at: PartitionTruth, timestamp: int, check: Check
) -> int:
    """ListOffsets of one partition; -1 for an error, else checked. Raises Lost."""
    wanted = ListOffsetsPartition(partition_index=at.index, timestamp=timestamp)
    request = ListOffsetsRequest(
        replica_id=-1, topics=[ListOffsetsTopic(name=at.topic, partitions=[wanted])]
    )

    def check_row(conversation: Conversation, response: ListOffsetsResponse) -> None:
        row = response.topics[0].partitions[0]
        if row.error_code != 0:
            shop.check_error(client.name, conversation, row.error_code)
        else:
            check(conversation, row)

    response = await client.ask(request, ListOffsetsResponse, 7, check=check_row)
    row = response.topics[0].partitions[0]
    return row.offset if row.error_code == 0 else -1
