"""The `automq server` process: how it starts, refuses to start, stops, and comes back."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from automq.metadata.election import Elected, elect
from automq.metadata.log import Author
from automq.metadata.register import ObjectStoreRegister, SteadyRegister
from automq.objectstore import open_store
from automq.protocol.messages.fetch_request import FetchRequest
from automq.world import system_world
from support.raw_client import connected
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce
from support.server import Server, free_port
from support.server import running as running_server

DEADLINE_S = 30.0


def run_to_the_end(
    *settings: str,
    python: tuple[str, ...] = (),
    file: Path | None = None,
    kill_after_s: float | None = None,
) -> tuple[int | None, str]:
    """Exit status and standard error of a server that does not serve (None: it was killed)."""
    command = [sys.executable, *python, "-m", "automq", "server"]
    if file is not None:
        command += ["--config", str(file)]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _, told = process.communicate(timeout=kill_after_s or DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, told = process.communicate()
        return None, told
    return process.returncode, told


def settings_of(data: Path, *more: str) -> tuple[str, ...]:
    return (
        f"automq.data.dir={data}",
        f"listeners=PLAINTEXT://127.0.0.1:{free_port()}",
        *more,
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as server:
        yield server


async def say(server: Server, *values: bytes) -> int:
    """Produce a batch to topic `t`; its base offset."""
    async with connected("127.0.0.1", server.port) as client:
        row = only(await client.ask(produce(*values), PRODUCE_VERSION))
        assert row.error_code == 0, row
        return int(row.base_offset)


async def high_watermark(server: Server) -> int:
    request: FetchRequest = fetch(0)
    async with connected("127.0.0.1", server.port) as client:
        return int(only(await client.ask(request, FETCH_VERSION)).high_watermark)


async def create_topic(server: Server) -> None:
    """A topic `t` is made by asking for it."""
    from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic

    async with connected("127.0.0.1", server.port) as client:
        for _ in range(100):
            answer = await client.ask(MetadataRequest([MetadataRequestTopic(name="t")]), 9)
            if answer.topics[0].error_code == 0:
                return
    raise AssertionError(answer)


def wal_files(directory: Path) -> list[Path]:
    return sorted((directory / "data" / "wal").glob("*/*.wal"))


# -- refusals


def test_a_wrong_configuration_exits_2_with_a_line_each_and_makes_nothing(tmp_path: Path) -> None:
    status, told = run_to_the_end(
        *settings_of(tmp_path / "data"), "num.partitions=none", "no.such.key=1"
    )
    assert status == 2
    assert "num.partitions" in told
    assert "no.such.key" in told
    assert "Traceback" not in told
    assert not (tmp_path / "data").exists()


def test_a_configuration_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_bytes(b"\xff\xfe\x00broken")
    status, told = run_to_the_end(file=file)
    assert status == 2
    assert str(file) in told
    assert "Traceback" not in told


def test_python_without_assertions_is_refused(tmp_path: Path) -> None:
    status, told = run_to_the_end(*settings_of(tmp_path / "data"), python=("-O",))
    assert (status, told) == (
        2,
        "automq refuses to run with python -O: its assertions guard the data\n",
    )


def test_a_port_in_use_is_told_and_nothing_is_begun(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, told = run_to_the_end(
            f"automq.data.dir={tmp_path / 'data'}", f"listeners=PLAINTEXT://127.0.0.1:{port}"
        )
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in told
    assert "Traceback" not in told
    assert not (tmp_path / "data" / "store").exists()


def test_a_second_process_on_one_data_directory_is_told_who_has_it(server: Server) -> None:
    status, told = run_to_the_end(*settings_of(server.directory / "data"))
    assert status == 1
    assert f"is in use by process {server.pid}" in told
    assert "Traceback" not in told


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, told = run_to_the_end(*settings_of(tmp_path / "file" / "data"))
    assert status == 1
    assert "cannot use the data directory" in told
    assert "Traceback" not in told


def test_a_store_that_cannot_be_reached_is_told_while_it_is_tried_again(tmp_path: Path) -> None:
    status, told = run_to_the_end(
        *settings_of(tmp_path / "data"),
        f"automq.storage.uri=s3://bucket?allow_http=true&endpoint=http://127.0.0.1:{free_port()}",
        "automq.s3.access.key.id=key",
        "automq.s3.secret.access.key=secret",
        kill_after_s=8.0,
    )
    assert status is None, "it goes on trying"
    assert "the metadata store does not answer" in told
    assert "secret" not in told


async def test_a_metadata_record_of_a_newer_version_stops_the_start(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.stop()
    world = system_world()
    store = open_store(f"file://{tmp_path / 'data' / 'store'}", world)
    register = SteadyRegister(ObjectStoreRegister(store), world)
    elected = await elect(register, world, Author(9, bytes(16)), genesis=[])
    assert isinstance(elected, Elected)
    await elected.writer.append(b"\x03\x80\x07\x01\x00")
    await store.close()
    status, told = run_to_the_end(*settings_of(tmp_path / "data"))
    assert status == 1
    assert "the metadata log cannot be used" in told
    assert "record key 896 version 7" in told
    assert "Traceback" not in told


# -- stopping and coming back


async def test_a_stop_uploads_everything_and_the_next_start_has_nothing_to_recover(
    server: Server,
) -> None:
    await create_topic(server)
    assert await say(server, b"a", b"b") == 0
    assert server.stop() == 0
    assert wal_files(server.directory) == []
    server.start()
    assert "recovered" not in server.log
    assert await high_watermark(server) == 2
    assert await say(server, b"c") == 2


async def test_a_killed_server_comes_back_with_what_it_acknowledged(server: Server) -> None:
    await create_topic(server)
    assert await say(server, b"a", b"b") == 0
    server.kill()
    assert wal_files(server.directory) != []
    server.start()
    assert "recovered 2 records" in server.log
    assert await high_watermark(server) == 2
    assert await say(server, b"c") == 2
    assert server.stop() == 0


async def test_a_damaged_wal_stops_the_start_and_is_kept(server: Server) -> None:
    await create_topic(server)
    for number in range(5):
        await say(server, b"%d" % number + bytes(5000))
    server.kill()
    [file] = wal_files(server.directory)
    with file.open("r+b") as writable:
        writable.seek(4096 + 6000)
        writable.write(b"damage")
    for _ in range(2):
        status, told = run_to_the_end(*settings_of(server.directory / "data"))
        assert status == 1
        assert "cannot recover the write-ahead log" in told
        assert file.name in told
        assert "position" in told
        assert "Traceback" not in told
    assert wal_files(server.directory) == [file]


async def test_the_wal_of_another_cluster_is_refused_and_kept(tmp_path: Path) -> None:
    """Somebody emptied the bucket, or points at the wrong one."""
    with running_server(tmp_path / "one") as one:
        await create_topic(one)
        await say(one, b"theirs")
        one.kill()
        kept = wal_files(one.directory)
        other = f"automq.storage.uri=file://{tmp_path / 'other'}"
        status, told = run_to_the_end(*settings_of(one.directory / "data", other))
        assert status == 1
        assert "belongs to" in told
        assert "Traceback" not in told
        assert wal_files(one.directory) == kept
        one.start()
        assert await high_watermark(one) == 1


async def test_a_lost_wal_disk_stops_the_start(server: Server) -> None:
    await create_topic(server)
    await say(server, b"a")
    server.kill()
    os.rename(server.directory / "data" / "wal", server.directory / "unmounted")
    status, told = run_to_the_end(*settings_of(server.directory / "data"))
    assert status == 1
    assert "is the disk mounted?" in told
    os.rename(server.directory / "unmounted", server.directory / "data" / "wal")
    server.start()
    assert await high_watermark(server) == 1
