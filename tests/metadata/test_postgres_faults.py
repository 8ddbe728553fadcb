"""The register while connections break, servers are killed and a standby takes over: real ones."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from automq.metadata.election import Elected, elect
from automq.metadata.log import Author
from automq.metadata.postgres import PostgresRegister, open_register, parse_uri
from automq.metadata.reader import MetadataReader
from automq.metadata.records.cluster import ClusterCreated
from automq.metadata.records.configs import ConfigResource, ConfigSet
from automq.metadata.register import Patience, SteadyRegister, Unfit, Unsettled
from automq.metadata.state import MetadataState, Policy, Stopped
from automq.metadata.writer import Deposed
from automq.world import SystemClock, World
from metadata.on_postgres import new_table, register_on
from metadata.test_schedules import setting
from support.postgres_server import USER, Postgres, postgres
from support.tcp_proxy import tcp_proxy
from support.transaction_pooler import transaction_pooler

SOON = Patience(first_ms=5, longest_ms=50)
POLICY = Policy(lazy_ms=3, probe_ms=40, snapshot_entries=20)
CHUNK = 8


@pytest.fixture
def real() -> World:
    return World(clock=SystemClock(), chance=random.Random(7))


async def test_a_create_whose_answer_was_lost_is_settled_by_the_next(
    database: Postgres, real: World
) -> None:
    table = new_table()
    async with tcp_proxy(database.port) as proxy:
        uri = f"postgresql://{USER}@127.0.0.1:{proxy.port}/postgres?table={table}&standby=none"
        register = open_register(parse_uri(uri), None, real.clock)
        steady = SteadyRegister(register, real, SOON)
        await steady.create("first", b"one")
        for number in range(20):
            key, mine = f"k{number}", b"mine %d" % number
            await register.read(key)
            proxy.swallow = True
            won = await steady.create(key, mine)
            assert not won, "the first attempt took effect"
            assert await steady.read(key) == mine
        await register.close()

    assert proxy.swallowed == 20


async def test_nothing_that_was_won_is_lost_when_the_server_is_killed_in_the_middle(
    real: World,
) -> None:
    won: dict[str, bytes] = {}
    with postgres() as server:
        async with register_on(server, real, "standby=none") as register:
            steady = SteadyRegister(register, real, SOON)

            async def create(creator: int) -> None:
                for number in range(10_000):
                    key, data = f"{creator}/{number}", real.new_uuid()
                    if await steady.create(key, data) or await steady.read(key) == data:
                        won[key] = data

            creators = [asyncio.ensure_future(create(number)) for number in range(4)]
            for _ in range(3):
                before = len(won)
                while len(won) < before + 50:  # noqa: ASYNC110 (a real server works meanwhile)
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            for creator in creators:
                creator.cancel()
            await asyncio.gather(*creators, return_exceptions=True)

            for key, data in won.items():
                assert await steady.read(key) == data


async def test_a_standby_that_takes_over_has_all_that_was_won(real: World) -> None:
    with postgres() as first, first.replica() as second:
        hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        uri = f"postgresql://{USER}@{hosts}/postgres?timeout_ms=2000"
        register = open_register(parse_uri(uri), None, real.clock)
        steady = SteadyRegister(register, real, SOON)
        before = [await steady.create(f"k{number}", b"%d" % number) for number in range(20)]
        await asyncio.to_thread(first.kill)
        second.sql("SELECT pg_promote()")
        # It has no standby yet, and one is required.
        with second.standby():
            after = [await steady.create(f"k{number}", b"other") for number in range(25)]
            found = [await steady.read(f"k{number}") for number in range(20)]
            await register.close()

    assert before == [True] * 20
    assert after == [False] * 20 + [True] * 5
    assert found == [b"%d" % number for number in range(20)]


async def test_a_standby_is_refused(real: World) -> None:
    with postgres() as first, first.replica() as second:
        register = open_register(parse_uri(second.uri()), None, real.clock)
        with pytest.raises(Unfit, match="it is a standby; name the server that takes writes"):
            await register.read("a")


async def test_a_pooler_that_shares_sessions_is_fine_before_a_lone_server(
    database: Postgres, real: World
) -> None:
    table = new_table()
    async with transaction_pooler(database.port, USER, "postgres") as pooler:
        uri = f"postgresql://{USER}@127.0.0.1:{pooler.port}/postgres?table={table}&standby=none"
        register = open_register(parse_uri(uri), None, real.clock)
        results = await asyncio.gather(*(register.create("a", b"%d" % at) for at in range(8)))
        assert results.count(True) == 1
        assert await register.read("a") == b"%d" % results.index(True)
        assert [it.key async for it in register.list("")] == ["a"]
        await register.delete("a")
        assert await register.read("a") is None
        await register.close()

    assert pooler.refused == []


async def test_a_pooler_is_refused_where_a_standby_may_take_over(
    database: Postgres, real: World
) -> None:
    with database.changed(synchronous_standby_names="somebody"):
        async with transaction_pooler(database.port, USER, "postgres") as pooler:
            uri = f"postgresql://{USER}@127.0.0.1:{pooler.port}/postgres?standby=required"
            register = open_register(parse_uri(uri), None, real.clock)
            with pytest.raises(Unfit, match="a pooler stands between, which may lead to another"):
                await register.read("a")


@dataclass(slots=True)
class Fight:
    """Controllers that depose each other on one table, each with sessions of its own."""

    world: World
    acknowledged: list[str] = field(default_factory=list)
    epochs: set[int] = field(default_factory=set)

    async def controller(self, register: PostgresRegister, node_id: int) -> None:
        steady = SteadyRegister(register, self.world, SOON)
        author = Author(node_id, self.world.new_uuid())
        genesis = [ClusterCreated(bytes(16), 0, CHUNK)]
        while True:
            result = await elect(steady, self.world, author, genesis=genesis)
            if isinstance(result, Elected):
                await self.serve(MetadataState(result, steady, self.world, POLICY))
            await asyncio.sleep(self.world.chance.uniform(0, 0.1))

    async def serve(self, state: MetadataState) -> None:
        self.epochs.add(state.epoch)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(state.serve())
                for _ in range(2):
                    group.create_task(self.client(state))
        except* (Deposed, Stopped):
            pass  # The other has won; the next election is this one's next try.

    async def client(self, state: MetadataState) -> None:
        while True:
            name = self.world.new_uuid().hex()
            await state.run(setting(ConfigSet(ConfigResource.GROUP, name, "k", "1", False)))
            self.acknowledged.append(name)
            # Who writes without rest on a fast machine takes every number before a candidate does.
            await asyncio.sleep(self.world.chance.uniform(0, 0.02))


async def test_controllers_that_fight_lose_nothing_that_was_acknowledged(
    database: Postgres, real: World
) -> None:
    table, fight = new_table(), Fight(real)
    async with (
        register_on(database, real, "standby=none", table=table) as one,
        register_on(database, real, "standby=none", table=table) as other,
    ):
        fighting = [
            asyncio.ensure_future(fight.controller(register, node_id))
            for node_id, register in enumerate((one, other))
        ]
        while len(fight.acknowledged) < 60 or len(fight.epochs) < 3:
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in fighting), fighting
        for task in fighting:
            task.cancel()
        await asyncio.gather(*fighting, return_exceptions=True)
        reader = MetadataReader(SteadyRegister(one, real, SOON))
        await reader.load()

    stored = {name for _, name in reader.image.cluster.configs}
    assert [name for name in fight.acknowledged if name not in stored] == []


async def test_a_server_that_stops_answering_is_given_up_in_time(
    database: Postgres, real: World
) -> None:
    async with tcp_proxy(database.port) as proxy:
        where = f"127.0.0.1:{proxy.port}/postgres?standby=none&timeout_ms=300"
        register = open_register(parse_uri(f"postgresql://{USER}@{where}"), None, real.clock)
        await register.read("a")
        proxy.is_silent = True
        for _ in range(2):
            # The session that is open, then a new one.
            with pytest.raises(Unsettled):
                await register.read("a")
        proxy.is_silent = False
        assert await register.read("a") is None
        await register.close()
