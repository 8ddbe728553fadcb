"""One contract for all registers, and what a steady one does about faults."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from automq.metadata.register import ObjectStoreRegister, Patience, Register, SteadyRegister
from automq.objectstore import Credentials, open_store
from automq.world import World
from metadata.on_postgres import register_on
from support.memory_register import Faults, MemoryRegister, Wire
from support.oss_server import OssServer, serving
from support.postgres_server import Postgres


@pytest.fixture(params=["memory", "wire", "memory store", "local directory", "oss", "postgres"])
async def any_register(
    request: pytest.FixtureRequest, world: World, tmp_path: Path
) -> AsyncIterator[Register]:
    match request.param:
        case "memory":
            yield MemoryRegister()
        case "wire":
            yield Wire(MemoryRegister(), world.chance, Faults(pause=5))
        case "oss":
            with serving(OssServer()) as oss:
                at = f"endpoint={oss.endpoint}&allow_http=true&path_style=true&region={oss.region}"
                keys = Credentials(*next(iter(oss.secrets.items())))
                store = open_store(f"oss://{oss.bucket}/p?{at}", world, credentials=keys)
                yield ObjectStoreRegister(store, "c/")
                await store.close()
        case "postgres":
            server: Postgres = request.getfixturevalue("database")
            async with register_on(server, world) as register:
                yield register
        case kind:
            uri = "memory://" if kind == "memory store" else f"file://{tmp_path}"
            store = open_store(uri, world)
            yield ObjectStoreRegister(store, "c/")
            await store.close()


async def test_a_key_is_created_once(any_register: Register) -> None:
    assert await any_register.create("meta/1/a", b"one")
    assert not await any_register.create("meta/1/a", b"two")
    assert await any_register.read("meta/1/a") == b"one"


async def test_of_many_creators_one_wins(any_register: Register) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(any_register.create("meta/1/a", b"%d" % at)) for at in range(20)]
    winners = [at for at, task in enumerate(tasks) if task.result()]

    assert len(winners) == 1
    assert await any_register.read("meta/1/a") == b"%d" % winners[0]


async def test_what_is_not_there_is_none(any_register: Register) -> None:
    assert await any_register.read("meta/1/absent") is None


async def test_a_deleted_key_is_absent_and_may_be_deleted_again(any_register: Register) -> None:
    await any_register.create("meta/1/a", b"one")
    await any_register.delete("meta/1/a")
    await any_register.delete("meta/1/a")

    assert await any_register.read("meta/1/a") is None
    assert await any_register.create("meta/1/a", b"two")


async def test_a_create_is_repeated_until_there_is_a_verdict(world: World) -> None:
    store, chance = MemoryRegister(), random.Random(3)
    wire = Wire(store, chance, Faults(lost=0.4, late=0.3, refused=0.2))
    steady = SteadyRegister(wire, world, Patience(first_ms=0))
    for number in range(100):
        won = await steady.create(f"k{number}", b"mine")
        assert won or store.data[f"k{number}"] == b"mine"


async def test_a_late_write_does_not_change_what_was_settled(world: World) -> None:
    store = MemoryRegister()
    wire = Wire(store, world.chance, Faults(late=0.5))
    steady = SteadyRegister(wire, world, Patience(first_ms=0))
    for number in range(50):
        await steady.create(f"k{number}", b"%d" % number)
    before = dict(store.data)
    while store.under_way:
        store.land(world.chance)

    assert store.data == before


async def test_one_line_when_it_fails_and_one_when_it_works_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(MemoryRegister(), world.chance, Faults(refused=1.0))
    steady = SteadyRegister(wire, world, Patience(first_ms=0))
    with caplog.at_level(logging.WARNING):
        async with asyncio.TaskGroup() as group:
            group.create_task(steady.create("k", b"x"))
            for _ in range(200):
                await asyncio.sleep(0)
            wire.faults = Faults()

    assert [record.getMessage() for record in caplog.records] == [
        "the metadata store does not answer: create k: refused",
        "the metadata store answers again",
    ]
