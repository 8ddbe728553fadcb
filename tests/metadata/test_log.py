"""The log end to end: election, appends, snapshots, closing, restarts. No faults here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from automq.metadata.decision import Decision
from automq.metadata.election import Elected, Lost, elect
from automq.metadata.image import Image
from automq.metadata.log import (
    Author,
    DamagedLog,
    chunk_of,
    closed_key,
    decode_entry,
    encode_all,
    encode_entry,
    entry_key,
)
from automq.metadata.reader import MetadataReader
from automq.metadata.records import UnknownRecord
from automq.metadata.records.cluster import ClusterCreated, FeatureSet
from automq.metadata.register import SteadyRegister
from automq.metadata.state import MetadataState, Policy, Stopped, StoredEntry
from automq.metadata.writer import Deposed, MetadataWriter
from automq.world import World
from support.memory_register import MemoryRegister

CHUNK = 8
GENESIS = [ClusterCreated(bytes(16), 1, CHUNK)]
QUICK = Policy(lazy_ms=5, probe_ms=0, snapshot_entries=6)


def author(node_id: int) -> Author:
    return Author(node_id, bytes([node_id]) * 16)


async def win(register: SteadyRegister, world: World, node_id: int = 1) -> Elected:
    elected = await elect(register, world, author(node_id), genesis=GENESIS)
    assert isinstance(elected, Elected)
    return elected


@asynccontextmanager
async def serving(
    register: SteadyRegister, world: World, node_id: int = 1, policy: Policy = QUICK
) -> AsyncIterator[MetadataState]:
    state = MetadataState(await win(register, world, node_id), register, world, policy)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(state.serve())
        yield state
        task.cancel()


async def set_level(state: MetadataState, name: str, level: int) -> None:
    await state.run(lambda image: Decision([FeatureSet(name, level)], None))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


def snapshot_of(image: Image) -> bytes:
    return bytes(encode_all(image.snapshot_records()))


async def test_the_first_controller_creates_the_cluster(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    elected = await win(register, world)

    assert elected.reader.image.cluster.created == GENESIS[0]
    assert list(store.data) == ["meta/0000000000/00000000000000"]


async def test_what_was_stored_is_read_by_the_next(register: SteadyRegister, world: World) -> None:
    async with serving(register, world) as state:
        await set_level(state, "group.version", 1)

    reader = MetadataReader(register)
    await reader.load()

    assert reader.image.cluster.features == {"group.version": 1}


async def test_a_newer_controller_deposes_the_older(register: SteadyRegister, world: World) -> None:
    old = await win(register, world, node_id=1)
    new = await win(register, world, node_id=2)

    with pytest.raises(Deposed, match="node 2 was elected"):
        await old.writer.append(b"")
    assert new.writer.epoch == old.writer.epoch + 1


async def test_an_idle_controller_learns_that_it_was_deposed(
    register: SteadyRegister, world: World
) -> None:
    old = await win(register, world, node_id=1)
    await win(register, world, node_id=2)

    with pytest.raises(Deposed):
        await old.writer.probe()


async def test_an_idle_controller_writes_nothing(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    elected = await win(register, world)
    before = dict(store.data)

    await elected.writer.probe()

    assert store.data == before


async def test_a_candidate_that_was_overtaken_follows_the_winner(
    register: SteadyRegister, world: World
) -> None:
    slow = MetadataReader(register)
    await slow.load()
    await win(register, world, node_id=2)

    lost = await elect(register, world, author(1), genesis=GENESIS, reader=slow)

    assert isinstance(lost, Lost)
    assert lost.winner.node_id == 2


async def test_a_stale_entry_in_its_place_is_passed_by(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    await win(register, world, node_id=1)
    new = await win(register, world, node_id=2)
    stale = encode_entry(
        encode_all([FeatureSet("group.version", 9)]),
        number=new.writer.position + 1,
        epoch=new.writer.epoch - 1,
        author=author(1),
        nonce=bytes(16),
        previous=new.writer.checksum,
        written_ms=0,
    )
    await store.create(entry_key(new.writer.position + 1, CHUNK), stale)

    number = await new.writer.append(encode_all([FeatureSet("group.version", 1)]))
    reader = MetadataReader(register)
    await reader.load()

    assert number == 3
    assert reader.image.cluster.features == {"group.version": 1}


async def test_snapshots_let_chunks_be_closed_and_entries_deleted(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    async with serving(register, world) as state:
        for level in range(1, 60):
            await set_level(state, "group.version", level)
        await until(lambda: closed_key(3) in store.data)
        await state.snapshot()

    reader = MetadataReader(register)
    await reader.load()

    assert reader.image.cluster.features == {"group.version": 59}
    assert entry_key(0, CHUNK) not in store.data
    assert snapshot_of(reader.image) == snapshot_of(state.image)


async def test_a_restart_reads_only_what_follows_the_newest_snapshot(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    async with serving(register, world) as state:
        for level in range(1, 40):
            await set_level(state, "group.version", level)
        await state.snapshot()
        await until(lambda: closed_key(2) in store.data)
    newest = state.stored.snapshots[-1].position

    reader = MetadataReader(register)
    await reader._load_base()

    assert reader.position >= newest - QUICK.snapshot_entries * 2


async def test_an_interrupted_clean_up_is_finished_by_the_next_controller(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    kept: dict[str, bytes] = {}
    async with serving(register, world) as state:
        for level in range(1, 30):
            await set_level(state, "group.version", level)
            kept.update(store.data)
        await until(lambda: closed_key(1) in store.data)
    chunk = max(n for n in range(10) if closed_key(n) in store.data)
    first = [entry_key(number, CHUNK) for number in range(chunk * CHUNK, chunk * CHUNK + 3)]
    store.data.update({key: kept[key] for key in first})

    async with serving(register, world, node_id=2) as state:
        await state.drained()
        await until(lambda: first[0] not in store.data)

    assert not [key for key in first if key in store.data]


async def test_commands_of_one_moment_share_an_entry(
    register: SteadyRegister, world: World
) -> None:
    heard: list[StoredEntry] = []
    async with serving(register, world) as state:
        state.on_stored(heard.append)
        async with asyncio.TaskGroup() as group:
            for level in range(1, 20):
                group.create_task(set_level(state, f"f{level}", level))

    assert len(heard) <= 2
    assert sum(len(entry.records) for entry in heard) == 19


async def test_a_lazy_command_waits_for_company(register: SteadyRegister, world: World) -> None:
    heard: list[StoredEntry] = []
    policy = Policy(lazy_ms=3_600_000, probe_ms=0)
    async with serving(register, world, policy=policy) as state:
        state.on_stored(heard.append)
        async with asyncio.TaskGroup() as group:
            lazy = state.run_lazy(lambda image: Decision([FeatureSet("a", 1)], "lazy"))
            task = group.create_task(lazy)
            for _ in range(20):
                await asyncio.sleep(0)
            assert not heard
            await set_level(state, "b", 1)
            assert await task == "lazy"

    assert len(heard) == 1


async def test_a_read_waits_for_what_it_saw(register: SteadyRegister, world: World) -> None:
    async with serving(register, world) as state:
        heard: list[StoredEntry] = []
        state.on_stored(heard.append)
        async with asyncio.TaskGroup() as group:
            group.create_task(set_level(state, "a", 1))
            await asyncio.sleep(0)
            seen = await state.run(lambda image: Decision((), dict(image.cluster.features)))
            assert seen == {"a": 1}
            assert len(heard) == 1


async def test_a_refused_command_stores_nothing(register: SteadyRegister, world: World) -> None:
    def refuse(image: Image) -> Decision[None]:
        raise ValueError("no")

    async with serving(register, world) as state:
        before = state.position
        with pytest.raises(ValueError, match="no"):
            await state.run(refuse)
        await state.drained()
        assert state.position == before


async def test_a_refusal_waits_until_what_it_rests_on_is_stored(
    register: SteadyRegister, world: World
) -> None:
    def refuse(image: Image) -> Decision[None]:
        raise ValueError(f"a is {image.cluster.features['a']}")

    async with serving(register, world) as state, asyncio.TaskGroup() as group:
        heard: list[StoredEntry] = []
        state.on_stored(heard.append)
        group.create_task(set_level(state, "a", 1))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="a is 1"):
            await state.run(refuse)
        assert len(heard) == 1


async def test_commands_together_are_one_entry_even_if_the_last_is_refused(
    register: SteadyRegister, world: World
) -> None:
    def refuse(image: Image) -> Decision[None]:
        raise ValueError(f"a is {image.cluster.features['a']}")

    heard: list[StoredEntry] = []
    async with serving(register, world) as state:
        state.on_stored(heard.append)
        with pytest.raises(ValueError, match="a is 1"):
            await state.run_together([lambda image: Decision([FeatureSet("a", 1)], None), refuse])

    assert [len(entry.records) for entry in heard] == [1]


async def test_after_a_deposition_everything_waiting_fails(
    register: SteadyRegister, world: World
) -> None:
    state = MetadataState(await win(register, world, 1), register, world, QUICK)
    await win(register, world, 2)

    async with asyncio.TaskGroup() as group:
        served = group.create_task(_outcome(state))
        with pytest.raises(Deposed):
            await set_level(state, "a", 1)
        assert isinstance(await served, Deposed)
    with pytest.raises(Deposed):
        await set_level(state, "b", 1)


async def test_who_asks_whether_it_was_replaced_is_told_without_an_entry(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    async with serving(register, world) as state:
        before = dict(store.data)
        await asyncio.gather(state.confirm(), state.confirm())
        assert store.data == before
        await asyncio.gather(set_level(state, "a", 1), state.confirm())

    state = MetadataState(await win(register, world, 1), register, world, QUICK)
    await win(register, world, 2)
    async with asyncio.TaskGroup() as group:
        served = group.create_task(_outcome(state))
        with pytest.raises(Deposed, match="node 2 was elected"):
            await state.confirm()
        assert isinstance(await served, Deposed)
    with pytest.raises(Deposed):
        await state.confirm()


async def test_what_is_under_way_already_does_not_say_that_nobody_came_since(
    register: SteadyRegister, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[asyncio.Event] = []

    async def probe(_: MetadataWriter) -> None:
        answers.append(asyncio.Event())
        await answers[-1].wait()

    monkeypatch.setattr(MetadataWriter, "probe", probe)
    async with serving(register, world) as state, asyncio.TaskGroup() as group:
        first = group.create_task(state.confirm())
        await until(lambda: len(answers) == 1)
        second = group.create_task(state.confirm())
        await asyncio.sleep(0)
        answers[0].set()
        await first
        await until(lambda: len(answers) == 2)
        assert not second.done()
        answers[1].set()


async def _outcome(state: MetadataState) -> BaseException | None:
    try:
        await state.serve()
    except Deposed as why:
        return why
    return None


async def test_commands_fail_once_the_controller_stopped(
    register: SteadyRegister, world: World
) -> None:
    async with serving(register, world) as state:
        await set_level(state, "a", 1)

    with pytest.raises(Stopped):
        await set_level(state, "a", 1)


async def test_a_flipped_bit_is_found(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    await win(register, world)
    key = entry_key(0, CHUNK)
    data = bytearray(store.data[key])
    data[70] ^= 1
    store.data[key] = bytes(data)

    with pytest.raises(DamagedLog, match="metadata entry 0: the checksum"):
        await MetadataReader(register).load()


async def test_an_unknown_record_stops_the_reader_with_one_line(
    register: SteadyRegister, world: World
) -> None:
    elected = await win(register, world)
    await elected.writer.append(b"\x03\x80\x07\x01\x00")

    with pytest.raises(UnknownRecord, match="metadata entry 1: record key 896 version 7"):
        await MetadataReader(register).load()


async def test_a_missing_chunk_marker_does_not_hide_a_missing_snapshot(
    register: SteadyRegister, world: World, store: MemoryRegister
) -> None:
    async with serving(register, world) as state:
        for level in range(1, 40):
            await set_level(state, "group.version", level)
        await until(lambda: closed_key(2) in store.data)
    for key in [key for key in store.data if key.startswith("meta/snapshots/")]:
        del store.data[key]

    with pytest.raises(DamagedLog, match="is missing"):
        await MetadataReader(register).load()


def test_an_entry_names_its_number_and_its_predecessor() -> None:
    data = encode_entry(
        encode_all([FeatureSet("a", 1)]),
        number=77,
        epoch=3,
        author=author(4),
        nonce=b"n" * 16,
        previous=b"p" * 16,
        written_ms=5,
    )
    entry = decode_entry(data, 77)
    assert (entry.number, entry.epoch, entry.author) == (77, 3, author(4))
    assert (entry.nonce, entry.previous, entry.written_ms) == (b"n" * 16, b"p" * 16, 5)
    assert entry.records == (FeatureSet("a", 1),)
    assert chunk_of(77, 8) == 9
    with pytest.raises(DamagedLog, match="says that it is entry 77"):
        decode_entry(data, 78)
