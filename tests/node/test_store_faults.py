"""What a store in trouble does to clients: for each fault, what they see, and that all recovers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from automq._native import read_records
from automq.broker.fetching import CLOCK_S, PATIENCE_S
from automq.objectstore import Throttled, Unavailable
from automq.objectstore.metrics import READS
from automq.objectstore.simulated import Effect, Fault
from automq.protocol import errors
from crash.load import PARTITIONS, Load
from crash.readers import SteadyReader
from support import s3_servers
from support.broker import eventually
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce
from support.s3_proxy import Mischief, S3Proxy, s3_proxy
from support.s3_servers import Moto
from support.server import Server, running
from support.storage import KIB, Machine
from support.virtual_node import VirtualClient, VirtualNode, virtual_node
from support.virtual_time import virtual

SMALL = (
    "automq.log.cache.bytes=4194304",
    "automq.block.cache.bytes=1048576",
    "automq.upload.bytes=262144",
    "automq.upload.interval.ms=1000",
)
TEN_MINUTES_S = 600.0


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def say(client: VirtualClient, number: int) -> int:
    """Produce one record that names its number; its offset."""
    row = only(await client.ask(produce(b"%06d" % number + bytes(40 * KIB)), PRODUCE_VERSION))
    assert row.error_code == 0, row
    return int(row.base_offset)


async def numbers_in(node: VirtualNode) -> list[int]:
    """The number of every record, read one fetch after the other."""
    client, found = node.client(), list[int]()
    while True:
        began_s = now_s()
        row = only(
            await client.ask(fetch(len(found), partition_max_bytes=256 * KIB), FETCH_VERSION)
        )
        assert row.error_code == 0, row
        new = [int((record.value or b"")[:6]) for record in read_records(row.records or b"")]
        if not new:
            if now_s() - began_s > PATIENCE_S - CLOCK_S:
                continue  # the store takes longer than a fetch waits
            assert row.high_watermark == len(found)
            return found
        found += new


async def talk(client: VirtualClient, told: list[int], until_s: float) -> None:
    """Produce one record after the other until it is late enough, and one more answer."""
    while now_s() < until_s:
        assert await say(client, len(told)) == len(told)
        told.append(len(told))
        await asyncio.sleep(0.1)


@virtual
async def test_a_store_that_is_down_for_ten_minutes_holds_producers_back_and_loses_nothing() -> (
    None
):
    machine, told = Machine(), list[int]()
    async with virtual_node(machine, *SMALL) as node:
        await node.create_topic()
        machine.store.inject(Fault(Effect.FAIL, times=None, error=Unavailable))
        began = now_s()
        talking = asyncio.create_task(talk(node.client(), told, began + TEN_MINUTES_S))
        await asyncio.sleep(TEN_MINUTES_S - 1)
        # Memory is full of what could not be uploaded: the producer waits, and is told nothing.
        held_at = len(told)
        assert 50 < held_at < 110, held_at
        machine.store.heal()
        await talking
        # How much of the last second is left for more is up to when the upload is tried again.
        assert held_at < len(told) <= held_at + 20
        assert now_s() - began < TEN_MINUTES_S + 10
        await talk(node.client(), told, now_s() + 30)
        assert len(told) > held_at + 200, "as fast as before"
        assert await numbers_in(node) == told
    async with virtual_node(machine, *SMALL) as node:
        assert await numbers_in(node) == told


@virtual
async def test_a_store_that_throttles_costs_time_and_no_record() -> None:
    machine, told = Machine(), list[int]()
    async with virtual_node(machine, *SMALL) as node:
        await node.create_topic()
        machine.store.inject(Fault(Effect.FAIL, times=None, probability=0.8, error=Throttled))
        await talk(node.client(), told, now_s() + 60)
        assert len(told) > 100
        during = len(machine.store.calls)
        assert during < 1000, "a store that asks for less is not asked for more"
        machine.store.heal()
        await talk(node.client(), told, now_s() + 30)
        assert await numbers_in(node) == told
    async with virtual_node(machine, *SMALL) as node:
        assert await numbers_in(node) == told


@virtual
async def test_a_store_that_takes_five_seconds_does_not_slow_producers_or_readers_at_the_tail() -> (
    None
):
    machine, told = Machine(), list[int]()
    async with virtual_node(machine, *SMALL) as node:
        await node.create_topic()
        slow = Fault(Effect.DELAY, times=None, wait_ms=(5_000, 5_000))
        machine.store.inject(slow)
        client = node.client()
        for number in range(200):
            began = now_s()
            told.append(await say(client, number))
            row = only(await client.ask(fetch(number), FETCH_VERSION))
            assert len(row.records or b"") > 0
            assert now_s() - began < 0.1
            await asyncio.sleep(2)
        began = now_s()
        assert await numbers_in(node) == told
        assert now_s() - began > 5, "old data was read from the store"


@virtual
async def test_a_slow_store_answers_old_reads_late_and_they_are_right() -> None:
    machine, told = Machine(), list[int]()
    async with virtual_node(machine, *SMALL) as node:
        await node.create_topic()
        await talk(node.client(), told, now_s() + 40)
        machine.store.inject(Fault(Effect.DELAY, READS, times=None, wait_ms=(5_000, 5_000)))
        began = now_s()
        row = only(await node.client().ask(fetch(0, max_wait_ms=500), FETCH_VERSION))
        assert row.error_code in (0, errors.KafkaStorageError.code)
        assert now_s() - began < 20
        machine.store.heal()
        assert await numbers_in(node) == told


# -- over HTTP, with a proxy between the broker and a real S3 server


@pytest.fixture
def proxy(moto_server: Moto) -> Iterator[S3Proxy]:
    with s3_proxy(moto_server.endpoint) as between:
        yield between


@pytest.fixture
def server(proxy: S3Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name, value in s3_servers.environment().items():
        monkeypatch.setenv(name, value)
    with running(
        tmp_path,
        f"automq.storage.uri={s3_servers.uri(proxy, prefix=tmp_path.name)}",
        f"automq.metadata.uri=file://{tmp_path}/metadata",
        "automq.upload.interval.ms=100",
    ) as broker:
        yield broker


@pytest.mark.parametrize(
    "mischief", [Mischief.SLOW_DOWN, Mischief.EXPIRED_TOKEN, Mischief.LOSE_ANSWER]
)
def test_producers_go_on_while_uploads_are_refused_and_all_of_it_arrives(
    server: Server, proxy: S3Proxy, mischief: Mischief
) -> None:
    load = Load(server, per_s=100)
    load.progresses()
    proxy.mischief = mischief
    # Told is an upload that fails twice; three failures may be those of three uploads.
    eventually(lambda: "repeating until it works" in server.log, what="uploads are in trouble")
    load.progresses()
    proxy.heal()
    load.progresses()
    eventually(lambda: "works again" in server.log, what="the end of the trouble is told")
    # Nothing of it is in memory any more.
    server.stop()
    server.start()
    load.finish()


@pytest.mark.parametrize("mischief", [Mischief.CUT_BODY, Mischief.WRONG_BYTES])
def test_damaged_answers_are_never_served_and_do_not_stay(
    server: Server, proxy: S3Proxy, mischief: Mischief
) -> None:
    load = Load(server, per_s=100)
    load.progresses()
    server.stop()
    server.start()
    # Partitions are opened behind the start, and that reads as well: it would wait for the store.
    load.progresses()
    proxy.only, proxy.mischief = frozenset({"GET"}), mischief
    late = SteadyReader(server.bootstrap, "numbers", PARTITIONS)
    late.start()
    eventually(lambda: proxy.hits[mischief] >= 3, what="reads are damaged")
    load.progresses()
    proxy.heal()
    load.finish()
    eventually(lambda: late.count >= load.ledger.count, what="everything is read after all")
    late.finish()
    assert not late.complaints, late.complaints[:5]
    values = {index: [*rows.values()] for index, rows in late.seen.items()}
    assert all([*map(number, rows)] == [*range(len(rows))] for rows in values.values())


def number(value: bytes) -> int:
    """What a record of the load says that it is."""
    return int(value.split(b" ", 1)[0])
