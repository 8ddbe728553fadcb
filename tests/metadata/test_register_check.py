"""What a check says of a register: by one in memory that breaks its promises, and on a server."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from automq.cli import cli
from automq.metadata.register import Unsettled
from automq.metadata.register_check import RegisterTrial, examine_register
from automq.objectstore.check import Finding, Outcome
from automq.world import World
from support.memory_register import MemoryRegister
from support.postgres_server import Postgres, postgres
from support.virtual_time import LoopClock, virtual

FIRST = Finding("synchronous commits", Outcome.OK, "")


async def findings_of(register: MemoryRegister) -> dict[str, Finding]:
    """By what was tried; nothing that was written stays."""
    trial = RegisterTrial([register, register], World(LoopClock(), random.Random(1)))
    told = [it async for it in examine_register(trial, FIRST)]
    await trial.clean()
    assert not [key for key in register.data if key.startswith("check/")]
    assert sum(len(it.speeds) for it in told) == 2
    return {it.what: it for check in told for it in check.findings}


@virtual
async def test_a_register_that_keeps_its_promises_is_fit_and_keeps_what_it_had() -> None:
    register = MemoryRegister()
    register.data["meta/0"] = b"an entry"
    found = await findings_of(register)
    assert len(found) == 6
    assert {it.outcome for it in found.values()} == {Outcome.OK}
    assert register.data == {"meta/0": b"an entry"}


@virtual
async def test_a_register_on_which_everyone_wins_is_unfit() -> None:
    class Overwriting(MemoryRegister):
        async def create(self, key: str, data: bytes) -> bool:
            self.data[key] = data
            return True

    found = await findings_of(Overwriting())
    assert found["create if absent"].text == "the second creator was not refused"
    assert "32 of 32 creators at once won" in found["race of 32 creators"].text
    assert found["race of 32 creators"].outcome is Outcome.UNFIT


@virtual
async def test_a_register_that_loses_answers_now_and_then_is_fit() -> None:
    class Losing(MemoryRegister):
        chance = random.Random(3)

        async def create(self, key: str, data: bytes) -> bool:
            won = self.create_now(key, data)
            if self.chance.random() < 0.1:
                raise Unsettled("the answer was lost")
            return won

    found = await findings_of(Losing())
    assert {it.outcome for it in found.values()} == {Outcome.OK}


@virtual
async def test_a_register_that_forgets_to_list_is_unfit() -> None:
    class Short(MemoryRegister):
        async def list(self, prefix: str) -> Any:
            async for info in super().list(prefix):
                if not info.key.endswith("7"):
                    yield info

    found = await findings_of(Short())
    assert [what for what, it in found.items() if it.outcome is not Outcome.OK] == [
        "list and delete"
    ]


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


def check(uri: str, *words: str) -> Result:
    return CliRunner().invoke(cli, ["storage", "check", uri, *words])


def tables(database: Postgres) -> str:
    return database.sql("SELECT relname FROM pg_class WHERE relname LIKE 'automq%' AND relkind='r'")


def test_a_lone_server_is_fit_where_that_is_said_and_left_as_it_was(database: Postgres) -> None:
    done = check(database.uri("standby=none"), "--json")
    told = json.loads(done.output)
    assert done.exit_code == 0, done.output
    assert {it["outcome"] for it in told["findings"]} == {"ok"}
    assert [it["operation"] for it in told["speeds"]] == ["create", "read"]
    assert tables(database) == ""
    warned = check(database.uri())
    assert warned.exit_code == 3, warned.output
    assert "Verdict: fit with warnings: synchronous commits" in warned.output


def test_a_table_that_was_there_keeps_its_rows(database: Postgres) -> None:
    name = "automq_kept"
    database.sql(
        f'CREATE TABLE {name} (key text COLLATE "C" PRIMARY KEY, data bytea NOT NULL, '
        "created_at timestamptz NOT NULL DEFAULT clock_timestamp()); "
        f"INSERT INTO {name} (key, data) VALUES ('meta/0', 'x')"
    )
    assert check(database.uri("standby=none", f"table={name}")).exit_code == 0
    assert database.sql(f"SELECT key FROM {name}") == "meta/0"
    database.sql(f"DROP TABLE {name}")


def test_a_server_that_would_lose_commits_is_unfit_and_nothing_is_tried(
    database: Postgres,
) -> None:
    with database.changed(fsync="off"):
        done = check(database.uri("standby=none"))
    assert done.exit_code == 1, done.output
    assert "UNFIT" in done.output
    assert "fsync is off: a power cut would lose commits" in done.output
    assert "race" not in done.output
    assert tables(database) == ""


def test_a_server_that_cannot_be_asked_is_one_line(database: Postgres) -> None:
    nowhere = check(database.uri("standby=none", database="nowhere"))
    assert nowhere.exit_code == 2
    assert nowhere.output.splitlines()[-1].endswith('database "nowhere" does not exist')
    assert check("postgresql://u@127.0.0.1:1/d").exit_code == 2
    assert check("postgresql://u:secret@127.0.0.1:1/d").exit_code == 2
