"""`automq storage`, as a person runs it, beside a running node and without one."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from automq.cli import cli
from automq.cli.storage.inspect_log import lines_of
from automq.metadata.log import Pointer, PointerKind, closed_key, encode_pointer
from automq.metadata.records.cluster import SnapshotPart, SnapshotTaken
from crash.load import Load
from support.broker import eventually
from support.clients import admin, create_topic
from support.server import Server, running

SOON = (
    "automq.upload.interval.ms=100",
    "automq.metadata.snapshot.entries=10",
    "automq.object.retention.grace.ms=100",
)
KEYS = ("automq.s3.access.key.id=me", "automq.s3.secret.access.key=secret")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A node that has been written to and killed twice, and runs."""
    directory = tmp_path_factory.mktemp("used")
    with running(directory, *SOON) as server:
        load = Load(server, per_s=100)
        for _ in range(2):
            load.progresses()
            server.kill()
            server.start()
        load.progresses()
        load.finish()
        server.stop()
        server.start()
        # A kill in the middle of a snapshot leaves a part of it that nobody will ever name.
        assert automq(server, "audit", "--repair").exit_code == 0
        yield server


def automq(server: Server, *words: str) -> Result:
    data_dir = server.directory / "data"
    return CliRunner().invoke(
        cli, ["storage", words[0], "--set", f"automq.data.dir={data_dir}", *words[1:]]
    )


def objects(server: Server) -> list[Path]:
    return sorted((server.directory / "data/store/data").glob("*/*/*"))


def test_a_store_in_use_is_clean_down_to_every_checksum(used: Server) -> None:
    done = automq(used, "audit", "--verify")
    assert done.exit_code == 0, done.output
    assert "read from" in done.output
    assert "read and verified" in done.output
    assert done.output.splitlines()[-1].startswith("clean: ")


def test_an_object_that_nobody_can_come_to_need_is_found_and_deleted(used: Server) -> None:
    # One that was deleted, and whose upload "arrives" only now.
    before = set(objects(used))
    create_topic(used.bootstrap, "gone")
    producer = Producer({"bootstrap.servers": used.bootstrap})
    producer.produce("gone", b"x")
    assert producer.flush(30) == 0
    eventually(lambda: bool(set(objects(used)) - before), what="it is uploaded")
    [orphan] = set(objects(used)) - before
    client = admin(used.bootstrap)
    [deleting] = client.delete_topics(["gone"]).values()
    deleting.result(30)
    eventually(lambda: not orphan.exists(), what="it is deleted")
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"late")

    eventually(lambda: automq(used, "audit").exit_code == 3, what="its id is forgotten")
    seen = automq(used, "audit")
    assert f"LEAKED: {orphan.relative_to(used.directory / 'data/store')}" in seen.output
    assert orphan.exists()
    repaired = automq(used, "audit", "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert "1 leaked objects were deleted" in repaired.output
    assert not orphan.exists()
    assert automq(used, "audit").exit_code == 0


def test_a_missing_object_is_damage_and_repair_leaves_all_as_it_is(
    used: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automq.objectstore.looking.PAUSE_S", 0.001)
    lost = objects(used)[0]
    aside = lost.rename(used.directory / "aside")
    try:
        done = automq(used, "audit", "--repair")
    finally:
        aside.rename(lost)
    assert done.exit_code == 4
    assert "MISSING: data/" in done.output
    assert "DAMAGED: data that should be there are not" in done.output


def test_a_flipped_bit_is_found_when_blocks_are_verified(used: Server) -> None:
    hurt = objects(used)[0]
    good = hurt.read_bytes()
    hurt.write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
    try:
        assert automq(used, "audit").exit_code == 0
        done = automq(used, "audit", "--verify", "--json")
        shown = automq(used, "inspect", str(int(hurt.name, 16)))
    finally:
        hurt.write_bytes(good)
    assert done.exit_code == 4
    assert [it["what"] for it in json.loads(done.output)["findings"]] == ["damaged"]
    assert shown.exit_code == 1
    assert "DAMAGED" in shown.output


def test_a_foreign_file_is_named_and_never_deleted(used: Server) -> None:
    foreign = used.directory / "data/store/holiday.jpg"
    foreign.write_bytes(b"sea")
    done = automq(used, "audit", "--repair")
    assert done.exit_code == 3
    assert "OF NO KNOWN KIND: holiday.jpg" in done.output
    assert foreign.exists()
    foreign.unlink()


def test_objects_and_streams_are_shown(used: Server) -> None:
    number = str(int(objects(used)[0].name, 16))
    done = automq(used, "inspect", "--batches", number)
    assert done.exit_code == 0, done.output
    assert f"object {number}: read from; level " in done.output
    assert "all checksums are right" in done.output
    assert "none" in done.output, "the codec of a batch"
    streams = [automq(used, "inspect", f"stream:{number}").output for number in range(3)]
    assert any("data of numbers-" in text for text in streams), streams
    assert automq(used, "inspect", "stream:999").exit_code == 1
    assert "there is no object" in automq(used, "inspect", "999999").output


def log_key(server: Server, pattern: str) -> str:
    """The newest key of the metadata log that matches."""
    store = server.directory / "data/store"
    return str(max((store / "meta").glob(pattern)).relative_to(store))


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("0*/0*", "entry "),
        ("0*/snapshot-*", "a hint where to start reading"),
        ("snapshots/*/*", "part 0 of the snapshot after entry "),
    ],
)
def test_every_kind_of_object_of_the_log_is_shown(used: Server, pattern: str, says: str) -> None:
    key = log_key(used, pattern)
    done = automq(used, "inspect", key)
    assert done.exit_code == 0, done.output
    assert says in done.output
    assert "its checksum is right" in done.output
    file = used.directory / "data/store" / key
    good = file.read_bytes()
    file.write_bytes(good[:20] + bytes([good[20] ^ 1]) + good[21:])
    try:
        hurt, audit = automq(used, "inspect", key), automq(used, "audit")
    finally:
        file.write_bytes(good)
    assert hurt.exit_code == 1
    assert "DAMAGED" in hurt.output
    assert audit.exit_code == 4, audit.output


def test_a_closed_chunk_names_its_snapshot() -> None:
    part = SnapshotPart("meta/snapshots/00000000004095-00/0-0", 17, bytes(16))
    pointer = Pointer(PointerKind.CLOSED, 0, SnapshotTaken(4095, bytes(16), (part,)))
    lines = list(lines_of(closed_key(0), encode_pointer(pointer)))
    assert lines[0].startswith("chunk 0 is closed")
    assert part.key in lines[-1]


def test_a_write_ahead_log_is_shown_once_its_node_is_gone(tmp_path: Path) -> None:
    with running(tmp_path, "automq.upload.interval.ms=600000") as server:
        create_topic(server.bootstrap, "t")
        producer = Producer({"bootstrap.servers": server.bootstrap})
        producer.produce("t", b"x")
        assert producer.flush(30) == 0
        busy = automq(server, "inspect", "wal:0")
        server.kill()
        done = automq(server, "inspect", "wal:0")
        [segment] = (tmp_path / "data/wal/0").glob("0*.wal")
        data = bytearray(segment.read_bytes())
        data[4096 + 70] ^= 1
        segment.write_bytes(data)
        hurt = automq(server, "inspect", "wal:0")
    assert busy.exit_code == 1
    assert "in use" in busy.output
    assert done.exit_code == 0, done.output
    assert "write-ahead log 0 of node 1" in done.output
    assert "offsets 0..0" in done.output
    assert "all checksums are right; the log ends at" in done.output
    assert hurt.exit_code == 1 or "offsets 0..0" not in hurt.output
    assert "there is no write-ahead log 99" in automq(server, "inspect", "wal:99").output


def test_a_write_ahead_log_in_a_store_is_shown(tmp_path: Path) -> None:
    home = f"object+file://{tmp_path / 'wals'}"
    settings = (f"automq.wal.uri={home}", "automq.upload.interval.ms=600000")
    with running(tmp_path, *settings) as server:
        create_topic(server.bootstrap, "t")
        producer = Producer({"bootstrap.servers": server.bootstrap})
        producer.produce("t", b"x")
        assert producer.flush(30) == 0
        done = automq(server, "inspect", "wal:0")
        keys = sorted((tmp_path / "wals").glob("wal/*/*/*/*"))
        key = str(keys[0].relative_to(tmp_path / "wals"))
        one = automq(server, "inspect", "--set", f"automq.wal.uri={home}", key)
    assert done.exit_code == 0, done.output
    assert "begin: number 0" in done.output
    assert "offsets 0..0" in done.output
    assert one.exit_code == 0, one.output
    assert "batch: number 0" in one.output


def test_an_empty_store_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["storage", "audit", "--set", f"automq.data.dir={tmp_path / 'nothing'}"]
    )
    assert done.exit_code == 2, done.output
    assert "there is no cluster at" in done.output


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port at which everybody may knock, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("command", [("audit",), ("inspect", "0")])
def test_a_store_that_does_not_answer_is_told_in_one_line(
    deaf: int, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("automq.node.storage.PATIENCE_MS", 1_000)
    uri = f"s3://bucket?endpoint=http://127.0.0.1:{deaf}&allow_http=true"
    settings = (f"automq.storage.uri={uri}", f"automq.data.dir={tmp_path}", *KEYS)
    options = [word for it in settings for word in ("--set", it)]
    done = CliRunner().invoke(cli, ["storage", command[0], *options, *command[1:]])
    assert done.exit_code == 1, done.output
    assert len(done.output.splitlines()) == 1, done.output
    assert "no answer within 1000 ms" in done.output
