"""Which session's answer counts: never that of a server that was replaced."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from automq.metadata.postgres.links import IDLE_MS, LINKS_MAX, Judge, Links, Server, Session
from automq.metadata.postgres.register import PostgresRegister
from automq.metadata.postgres.sessions import Connector
from automq.metadata.postgres.simulated import SimulatedPostgres
from automq.metadata.postgres.simulated_backend import Backend, Machine, SimulatedConnection
from automq.metadata.register import Unfit, Unsettled
from automq.world import World

TIMEOUT_MS = 200


@pytest.fixture
async def postgres() -> AsyncIterator[SimulatedPostgres]:
    async with asyncio.TaskGroup() as servers:
        postgres = SimulatedPostgres(
            random.Random(3),
            lambda work, name: servers.create_task(work, name=name),
            latency_ms=0.0,
        )
        yield postgres
        postgres.bury_replaced()
        postgres.crash()


def links(world: World, *sessions: Session) -> Links:
    """Links that are given these sessions, one after the other."""
    given = iter(sessions)

    async def connect(judge: Judge) -> Session:
        return next(given)

    return Links(connect, world.clock, TIMEOUT_MS)


async def fail_over(postgres: SimulatedPostgres) -> tuple[Session, Session]:
    """A session to the server that was replaced and still answers, and one to the new one."""
    old = await postgres.session_to(postgres.newest)
    postgres.fail_over(old_answers=True)
    return old, await postgres.session_to(postgres.newest)


async def test_a_read_that_began_at_a_replaced_server_is_no_answer(
    postgres: SimulatedPostgres, world: World
) -> None:
    old, new = await fail_over(postgres)
    both = links(world, old, new)
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slowly(session: Session) -> bytes | None:
        asked.set()
        await go_on.wait()
        return await session.select("meta/0/closed")

    reading = asyncio.ensure_future(both.ask(slowly))
    await asked.wait()
    assert await both.ask(lambda it: it.insert("meta/0/closed", b"yes"))
    go_on.set()

    with pytest.raises(Unsettled, match="another server has taken over"):
        await reading
    assert await both.ask(lambda it: it.select("meta/0/closed")) == b"yes"


async def test_sessions_to_a_replaced_server_are_dropped_and_not_taken_again(
    postgres: SimulatedPostgres, world: World
) -> None:
    old, new = await fail_over(postgres)
    another = await postgres.session_to(postgres.replaced[0])
    some = links(world, old, new, another)
    assert await some.ask(lambda it: it.select("a")) is None
    both = [some.ask(lambda it: it.select("a")) for _ in range(2)]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, Unsettled)
    assert second is None
    assert not old.is_open

    new.abort()
    with pytest.raises(Unsettled, match="timeline 1, and 2 was met before: it was replaced"):
        await some.ask(lambda it: it.select("a"))
    assert not another.is_open


async def test_a_replaced_server_that_is_named_first_and_answers_again_is_passed_over(
    postgres: SimulatedPostgres, world: World
) -> None:
    old = postgres.newest
    postgres.fail_over(old_answers=True)
    listens = [postgres.newest, postgres.newest]
    dialled: list[Machine] = []

    async def dial(dsn: str, **options: object) -> SimulatedConnection:
        dialled.append(listens["db-2" in dsn])
        return SimulatedConnection(Backend(postgres, dialled[-1], 1))

    connector = Connector(postgres.location, None, connect=dial)
    some = Links(connector, world.clock, TIMEOUT_MS)
    assert await some.ask(lambda it: it.insert("a", b"one"))
    await some.close()
    listens[0] = old

    assert await some.ask(lambda it: it.select("a")) == b"one"
    assert dialled == [postgres.newest, old, postgres.newest]
    await some.close()


async def test_a_replaced_server_settles_no_create(
    postgres: SimulatedPostgres, world: World
) -> None:
    old, _ = await fail_over(postgres)
    lonely = links(world, old)

    with pytest.raises(Unsettled):
        await lonely.ask(lambda it: it.insert("a", b"one"))


async def test_another_database_cluster_is_unfit(postgres: SimulatedPostgres, world: World) -> None:
    one, other = [await postgres.session_to(postgres.newest) for _ in range(2)]
    other.server = Server("another", 1)
    both = links(world, one, other)
    await both.ask(lambda it: it.select("a"))
    one.abort()

    with pytest.raises(Unfit, match="the database cluster another, and the one before was 73"):
        await both.ask(lambda it: it.select("a"))


async def test_sessions_are_few_and_those_that_idle_are_closed(
    postgres: SimulatedPostgres, world: World
) -> None:
    opened: list[Session] = []

    async def connect(judge: Judge) -> Session:
        opened.append(await postgres.connect(judge))
        return opened[-1]

    some = Links(connect, world.clock, TIMEOUT_MS)
    register = PostgresRegister(some)
    await asyncio.gather(*(register.read(f"k{number}") for number in range(20)))
    assert len(opened) == LINKS_MAX

    world.clock.ms += IDLE_MS + 1  # type: ignore[attr-defined]
    await register.read("a")
    assert sum(session.is_open for session in opened) == 1
    await register.close()
    assert not any(session.is_open for session in opened)


async def test_that_all_servers_are_standbys_is_settled_by_a_takeover(
    postgres: SimulatedPostgres, world: World
) -> None:
    async def dial(dsn: str, **options: object) -> SimulatedConnection:
        return SimulatedConnection(Backend(postgres, postgres.newest, 1, is_standby=True))

    lone = replace(postgres.location, hosts=postgres.location.hosts[:1])
    with pytest.raises(Unsettled, match=r"db-1:5432: it is .*; db-2:5432: it is a") as both:
        await Connector(postgres.location, None, connect=dial).open()
    with pytest.raises(Unfit, match="it is a standby; name the server that takes writes"):
        await Connector(lone, None, connect=dial).open()

    assert not isinstance(both.value, Unfit)
