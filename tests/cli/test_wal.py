"""`automq wal`, as an operator uses it when a node does not come back."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from automq.cli import cli
from crash.workload import read_all
from support.clients import create_topic
from support.server import Server, running

NEVER = "automq.upload.interval.ms=3600000"


def automq(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def survivor(directory: Path, *settings: str) -> Server:
    """Node 2, on the same store, with a data directory of its own."""
    store = f"automq.storage.uri=file://{directory}/store"
    return Server(directory / "two", "node.id=2", store, *settings)


def as_node(server: Server) -> list[str]:
    options = [f"automq.data.dir={server.directory / 'data'}", *server.settings]
    return [word for option in options for word in ("--set", option)]


@pytest.fixture
def dead(tmp_path: Path) -> Server:
    """Node 1, killed with ten acknowledged records that are only in its WAL."""
    store = f"automq.storage.uri=file://{tmp_path}/store"
    with running(tmp_path / "one", store, NEVER) as server:
        create_topic(server.bootstrap, "numbers")
        producer = Producer({"bootstrap.servers": server.bootstrap})
        for number in range(10):
            producer.produce("numbers", str(number).encode(), partition=0)
        assert producer.flush(20) == 0
        server.kill()
    return server


def test_what_a_dead_node_acknowledged_is_led_by_another_node(tmp_path: Path, dead: Server) -> None:
    two = survivor(tmp_path)

    listed = automq("wal", "list", *as_node(two))
    assert listed.exit_code == 0, listed.output
    assert "active" in listed.output
    assert f"file://{dead.directory}/data/wal" in listed.output

    done = automq("wal", "take-over", "--node", "1", *as_node(two))
    assert done.exit_code == 0, done.output
    assert "the write-ahead log 0 of node 1 held " in done.output
    assert "node 1 is fenced and taken over" in done.output
    assert len(automq("wal", "list", *as_node(two)).output.splitlines()) == 1

    two.start()
    try:
        found = read_all(two.bootstrap, "numbers", 0)
        assert list(found.values()) == [str(number).encode() for number in range(10)]
        assert two.stop() == 0
    finally:
        if two.process is not None:
            two.kill()


def test_taking_over_again_changes_nothing(tmp_path: Path, dead: Server) -> None:
    two = survivor(tmp_path)
    automq("wal", "take-over", "--node", "1", *as_node(two))

    again = automq("wal", "take-over", "--node", "1", *as_node(two))

    assert again.exit_code == 0, again.output
    assert "left no write-ahead log that holds anything" in again.output


def test_a_log_that_is_elsewhere_now_is_named(tmp_path: Path, dead: Server) -> None:
    two = survivor(tmp_path)
    moved = tmp_path / "attached"
    shutil.move(dead.directory / "data" / "wal", moved)

    refused = automq("wal", "take-over", "--node", "1", *as_node(two))
    assert refused.exit_code == 1
    assert "--wal-uri" in refused.output
    assert "automq wal give-up 0 --accept-data-loss" in refused.output

    done = automq("wal", "take-over", "--node", "1", "--wal-uri", f"file://{moved}", *as_node(two))
    assert done.exit_code == 0, done.output


def test_a_lost_log_is_given_up_only_by_the_word_and_the_loss_is_named(
    tmp_path: Path, dead: Server
) -> None:
    two = survivor(tmp_path)
    shutil.rmtree(dead.directory / "data" / "wal")

    refused = automq("wal", "give-up", "0", *as_node(two))
    assert refused.exit_code == 2
    assert "nothing was done" in refused.output

    done = automq("wal", "give-up", "0", "--accept-data-loss", *as_node(two))
    assert done.exit_code == 0, done.output
    assert "numbers-0: what was acknowledged from offset 0 on is lost" in done.output

    two.start()
    try:
        assert read_all(two.bootstrap, "numbers", 0) == {}
    finally:
        two.kill()


def test_an_unknown_node_and_an_unknown_log_are_told(tmp_path: Path, dead: Server) -> None:
    two = survivor(tmp_path)
    unknown = automq("wal", "take-over", "--node", "9", *as_node(two))
    assert (unknown.exit_code, unknown.output.strip()) == (
        1,
        "automq: node 9 is not known; known are 1, 2",
    )
    log = automq("wal", "give-up", "77", "--accept-data-loss", *as_node(two))
    assert (log.exit_code, log.output.strip()) == (
        2,
        "automq: the write-ahead log 77 is not known",
    )


def test_no_cluster_is_made_by_looking_for_one(tmp_path: Path) -> None:
    two = survivor(tmp_path)
    done = automq("wal", "take-over", "--node", "1", *as_node(two))
    assert done.exit_code == 2
    assert "there is no cluster at file://" in done.output
    assert not (tmp_path / "store" / "meta").exists()
