"""A broker whose metadata lie in PostgreSQL: killed, audited; its database killed as well."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from automq.cli import cli
from crash.load import Load
from support.broker import eventually
from support.postgres_server import Postgres, postgres
from support.server import Server, running


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def server(database: Postgres, tmp_path: Path) -> Iterator[Server]:
    table = f"t_{tmp_path.name.replace('-', '_').lower()}"[:60]
    with running(
        tmp_path,
        f"automq.metadata.uri={database.uri('standby=none', f'table={table}')}",
        "automq.upload.interval.ms=100",
        "automq.metadata.snapshot.entries=10",
    ) as broker:
        yield broker


def automq(server: Server, *words: str) -> Result:
    settings = [f"automq.data.dir={server.directory / 'data'}", *server.settings]
    options = [part for setting in settings for part in ("--set", setting)]
    return CliRunner().invoke(cli, [*words, *options])


def test_what_was_acknowledged_is_read_after_kills_of_the_node_and_of_the_database(
    server: Server, database: Postgres
) -> None:
    load = Load(server, per_s=100)
    load.progresses()
    server.kill()
    server.start()
    load.progresses()
    database.kill()
    database.start()
    load.progresses()
    load.finish()
    store = server.directory / "data/store"
    assert not list(store.glob("meta/*"))


def test_the_tools_read_the_metadata_from_there(server: Server, database: Postgres) -> None:
    load = Load(server, per_s=100)
    load.progresses()
    load.finish()

    audited = automq(server, "storage", "audit", "--verify", "--json")
    assert audited.exit_code == 0, audited.output
    counts = json.loads(audited.output)["counts"]
    assert counts["metadata"]["objects"] > 2, counts
    assert counts["read from"]["objects"] > 0, counts
    dumped = automq(server, "metadata", "dump")
    assert dumped.exit_code == 0, dumped.output
    assert "ControllerElected" in dumped.output
    wals = automq(server, "wal", "list")
    assert wals.exit_code == 0, wals.output
    assert f"file://{server.directory / 'data/wal'}" in wals.output
    entry = automq(server, "storage", "inspect", "meta/0000000000/00000000000000")
    assert "ClusterCreated" in entry.output, entry.output


def test_the_log_of_a_dead_node_is_taken_over_through_it(
    server: Server, database: Postgres
) -> None:
    load = Load(server, per_s=100)
    load.progresses()
    load.finish()
    server.kill()
    taken = automq(server, "wal", "take-over", "--node", "1", "--set", "node.id=2")
    assert taken.exit_code == 0, taken.output
    assert "node 1 is fenced and taken over" in taken.output


def test_a_log_whose_numbers_are_registered_there_is_recovered_and_taken_over(
    database: Postgres, tmp_path: Path
) -> None:
    """For a store that does not keep the promise: it only keeps bytes."""
    with running(
        tmp_path,
        f"automq.metadata.uri={database.uri('standby=none', 'table=with_wal')}",
        f"automq.wal.uri=registered+file://{tmp_path}/wal",
        "automq.upload.interval.ms=2000",
    ) as server:
        load = Load(server, per_s=100)
        load.progresses()
        server.kill()
        server.start()
        load.progresses()
        load.finish()
        audited = automq(server, "storage", "audit", "--json")
        assert audited.exit_code == 0, audited.output
        assert json.loads(audited.output)["counts"]["write-ahead logs"]["objects"] > 1
        keys = database.sql("SELECT count(*) FROM with_wal WHERE key LIKE 'wal/%'")
        assert int(keys) > 1
        server.kill()
        taken = automq(server, "wal", "take-over", "--node", "1", "--set", "node.id=2")
        assert taken.exit_code == 0, taken.output
        assert "node 1 is fenced and taken over" in taken.output


def test_a_database_that_cannot_be_used_ends_the_start_with_one_line(
    database: Postgres, tmp_path: Path
) -> None:
    uri = database.uri(database="nowhere")
    broker = Server(tmp_path, f"automq.metadata.uri={uri}")
    broker.launch()
    assert broker.process is not None
    assert broker.process.wait(30) == 2
    lines = broker.log.splitlines()
    assert lines[-1] == (
        f'automq: PostgreSQL at 127.0.0.1:{database.port}: database "nowhere" does not exist'
    )


def test_a_broken_session_is_one_line_and_its_return_another(
    server: Server, database: Postgres
) -> None:
    """What is seen of a server that is away for a while: the node waits."""
    database.kill()
    eventually(lambda: "the metadata store does not answer" in server.log, what="it is told")
    database.start()
    eventually(lambda: "the metadata store answers again" in server.log, what="it goes on")
