"""The register on a real PostgreSQL: which server it refuses, and what its verdicts wait for."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from automq.metadata.postgres import PostgresRegister, open_register, parse_uri
from automq.metadata.register import Patience, SteadyRegister, Unfit, Unsettled
from automq.world import World
from metadata.on_postgres import new_table, register_on
from support.certificates import authority_and_server
from support.postgres_server import PASSWORD, STANDBY, USER, Postgres, postgres
from support.server import free_port


@pytest.fixture
def synchronous(database: Postgres) -> Iterator[Postgres]:
    """The server, whose commits wait for a standby that is not there (yet)."""
    with database.changed(synchronous_standby_names=STANDBY):
        yield database
        database.end_waits()


HASTY = "timeout_ms=400"
"""The deadline of what is expected to hang."""


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_may_lose_commits_is_refused(
    database: Postgres, world: World, setting: str
) -> None:
    with database.changed(**{setting: "off"}):
        async with register_on(database, world) as register:
            with pytest.raises(Unfit, match=f"{setting} is off: a power cut would"):
                await register.create("a", b"one")


async def test_what_changes_while_a_session_is_open_is_seen_by_the_next_create(
    database: Postgres, world: World
) -> None:
    async with register_on(database, world) as register:
        assert await register.create("a", b"one")
        with database.changed(fsync="off"), pytest.raises(Unfit, match="fsync is off"):
            await register.create("b", b"one")
        assert await register.create("b", b"two")


async def test_without_its_standby_nothing_is_created_where_one_is_required(
    database: Postgres, world: World
) -> None:
    async with register_on(database, world, "standby=required") as register:
        with pytest.raises(Unfit, match="synchronous_standby_names is empty"):
            await register.create("a", b"one")


async def test_a_lone_server_is_believed_with_one_warning(
    database: Postgres, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with register_on(database, world) as register:
            await asyncio.gather(*(register.read(f"k{number}") for number in range(8)))
        async with register_on(database, world, "standby=none") as register:
            await register.read("a")

    (line,) = [record.getMessage() for record in caplog.records]
    assert "without a synchronous standby: do not fail over" in line


async def test_a_commit_is_synchronous_whatever_server_database_and_role_say(
    database: Postgres, world: World
) -> None:
    database.sql("CREATE DATABASE hasty")
    database.sql("ALTER DATABASE hasty SET synchronous_commit = off")
    database.sql("CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET synchronous_commit = off")
    uri = database.uri(HASTY, user="hasty", database="hasty")
    register = open_register(parse_uri(uri), None, world.clock)
    try:
        assert await register.create("a", b"one")
        with database.changed(synchronous_standby_names="nobody", synchronous_commit="off"):
            # It waits for a standby that never comes; otherwise it would be answered at once.
            with pytest.raises(Unsettled):
                await register.create("b", b"one")
            database.end_waits()
        assert await register.create("c", b"one")
    finally:
        await register.close()


async def make_table(server: Postgres, register: PostgresRegister, world: World) -> None:
    """The register's table is there: making it would wait for the standby as well."""
    with server.standby():
        await SteadyRegister(register, world, Patience(first_ms=1)).create("first", b"one")


async def test_a_row_that_no_standby_has_is_no_verdict(synchronous: Postgres, world: World) -> None:
    """The wait of the commit was ended: the row is seen, and a failover would lose it."""
    table = new_table()
    async with (
        register_on(synchronous, world, HASTY, "standby=required", table=table) as register,
        register_on(synchronous, world, "standby=none", table=table) as careless,
    ):
        await make_table(synchronous, register, world)
        with pytest.raises(Unsettled):
            await register.create("a", b"one")
        synchronous.end_waits()
        assert await careless.read("a") == b"one"

        with pytest.raises(Unsettled):
            await register.create("a", b"one")
        with pytest.raises(Unsettled):
            await register.read("a")

        with synchronous.standby():
            steady = SteadyRegister(register, world, Patience(first_ms=1))
            assert await steady.read("a") == b"one"
            assert not await register.create("a", b"one")


async def test_a_commit_whose_wait_for_the_standby_was_ended_has_not_won(
    synchronous: Postgres, world: World
) -> None:
    async with register_on(synchronous, world, "standby=required") as register:
        creating = asyncio.ensure_future(register.create("a", b"one"))
        await asyncio.to_thread(synchronous.until_a_commit_waits)
        synchronous.end_waits("pg_cancel_backend")
        with pytest.raises(Unsettled, match="it warns: cancel"):
            await creating


async def test_attempts_do_not_pile_up_behind_one_that_waits(
    synchronous: Postgres, world: World
) -> None:
    async with register_on(synchronous, world, HASTY, "standby=required") as register:
        await make_table(synchronous, register, world)
        for _ in range(4):
            with pytest.raises(Unsettled):
                await register.create("b", b"one")
        assert synchronous.commits_that_wait() == 1


async def test_the_server_is_never_told_to_cancel(synchronous: Postgres, world: World) -> None:
    async with register_on(synchronous, world, "standby=required") as register:
        creating = asyncio.ensure_future(register.create("a", b"one"))
        await asyncio.to_thread(synchronous.until_a_commit_waits)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        await asyncio.sleep(0.1)
        assert synchronous.commits_that_wait() == 1


async def test_an_unlogged_table_is_refused(database: Postgres, world: World) -> None:
    table = new_table()
    database.sql(f"CREATE UNLOGGED TABLE {table} (key text PRIMARY KEY, data bytea)")
    async with register_on(database, world, table=table) as register:
        with pytest.raises(Unfit, match=f"the table {table} is unlogged: a crash would empty it"):
            await register.read("a")


async def test_who_may_not_make_the_table_is_told_what_its_owner_runs(
    database: Postgres, world: World
) -> None:
    table = new_table()
    database.sql("CREATE ROLE guest LOGIN")
    uri = database.uri(f"table={table}", user="guest")
    register = open_register(parse_uri(uri), None, world.clock)
    try:
        assert await register.read("a") is None
        with pytest.raises(Unfit, match=f"may not make the table {table}") as refused:
            await register.create("a", b"one")
        database.sql(str(refused.value).partition("owner run: ")[2].partition(", and grant")[0])
        database.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO guest")
        assert await register.create("a", b"one")
    finally:
        await register.close()


async def test_a_database_that_is_not_there_ends_a_start_with_one_line(
    database: Postgres, world: World
) -> None:
    uri = database.uri(database="nowhere")
    steady = SteadyRegister(open_register(parse_uri(uri), None, world.clock), world)

    with pytest.raises(Unfit) as refused:
        await steady.read("a")

    where = f"127.0.0.1:{database.port}"
    assert str(refused.value) == f'PostgreSQL at {where}: database "nowhere" does not exist'


async def test_what_is_unfit_later_is_repeated(database: Postgres, world: World) -> None:
    async with register_on(database, world) as register:
        steady = SteadyRegister(register, world, Patience(first_ms=1))
        await steady.create("a", b"one")
        with database.changed(fsync="off"):
            creating = asyncio.ensure_future(steady.create("b", b"one"))
            await asyncio.sleep(0.05)
            assert not creating.done()
        assert await creating


async def test_the_host_that_answers_is_taken(database: Postgres, world: World) -> None:
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{database.port}"
    with database.changed(synchronous_standby_names="nobody"):
        uri = f"postgresql://{USER}@{hosts}/postgres"
        register = open_register(parse_uri(uri), None, world.clock)
        assert await register.read("a") is None
        await register.close()


async def test_everything_below_a_prefix_is_listed_and_deleted(
    database: Postgres, world: World
) -> None:
    async with register_on(database, world) as register:
        assert [it async for it in register.list("")] == []
        for key in ("meta/0/1", "meta/0/2", "meta1", "wal/1"):
            await register.create(key, key.encode() * 2)

        listed = {it.key: it.size_bytes async for it in register.list("meta/")}
        await register.delete_many(listed)
        left = [it.key async for it in register.list("")]

    assert listed == {"meta/0/1": 16, "meta/0/2": 16}
    assert left == ["meta1", "wal/1"]


async def test_large_values_come_back_as_they_were(database: Postgres, world: World) -> None:
    data = bytes(range(256)) * 32_768
    async with register_on(database, world) as register:
        assert await register.create("meta/part", data)
        assert await register.read("meta/part") == data


async def test_a_password_comes_from_the_configuration_and_is_not_shown(
    world: World, tmp_path: Path
) -> None:
    with postgres() as server:
        server.sql(f"ALTER ROLE {USER} PASSWORD '{PASSWORD}'")
        (server.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        server.kill()
        server.start()
        where = parse_uri(server.uri())
        right, wrong = (open_register(where, it, world.clock) for it in (PASSWORD, "falsch"))
        assert await right.read("a") is None
        with pytest.raises(Unfit, match="password authentication failed") as refused:
            await wrong.read("a")
        await right.close()

    assert "falsch" not in str(refused.value)


async def test_the_server_is_known_by_its_certificate(world: World, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    ca_file, _ = authority_and_server(tmp_path)
    another_ca_file, _ = authority_and_server(tmp_path / "another")
    with postgres() as server:
        server.kill()
        server.use_certificate(tmp_path / "server.pem")
        server.start("ssl=on")
        ca, wrong = f"sslrootcert={ca_file}", f"sslrootcert={another_ca_file}"
        good = open_register(parse_uri(server.uri("sslmode=verify-full", ca)), None, world.clock)
        assert await good.create("a", b"one")
        encrypted = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        assert server.sql(f"{encrypted} WHERE application_name = 'automq'") == "t"
        await good.close()
        bad = open_register(parse_uri(server.uri("sslmode=verify-full", wrong)), None, world.clock)
        with pytest.raises(Unfit, match=r"TLS: .*certificate verify failed"):
            await bad.read("a")
