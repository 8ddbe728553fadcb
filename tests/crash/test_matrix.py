"""The crash test on each kind of write-ahead log with each kind of object store."""

from pathlib import Path

import pytest

from crash.test_crash import crash_run
from support import s3_servers

STORES = ("directory", "moto", "seaweedfs")
WALS = ("files", "objects")
PAIRS = [(wal, store) for wal in WALS for store in STORES]
ELSEWHERE = [("files", "directory"), ("files", "moto"), ("files", "seaweedfs")]
"""Killed a few times in `test_crash.py` and `tests/node/test_s3.py`."""


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    """Of a node with this log on this store. With a log in objects nothing is on its own disk."""
    wal, store = request.param
    uri = f"file://{tmp_path}/store"
    if store != "directory":
        for name, value in s3_servers.environment().items():
            monkeypatch.setenv(name, value)
        server = request.getfixturevalue(f"{store}_server")
        uri = s3_servers.uri(server, prefix=f"{tmp_path.name}-{wal}")
    chosen = (f"automq.storage.uri={uri}", "automq.upload.interval.ms=300")
    if wal == "files":
        return chosen
    return (*chosen, f"automq.wal.uri={'object+' if store == 'directory' else ''}{uri}")


def name_of(pair: tuple[str, str]) -> str:
    return f"log in {pair[0]}, store is {pair[1]}"


@pytest.mark.parametrize(
    "settings", [it for it in PAIRS if it not in ELSEWHERE], indirect=True, ids=name_of
)
def test_two_kills_lose_nothing_acknowledged(tmp_path: Path, settings: tuple[str, ...]) -> None:
    crash_run(tmp_path, kills=2, seed=2, settings=settings)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("settings", PAIRS, indirect=True, ids=name_of)
def test_twenty_kills_lose_nothing_acknowledged(tmp_path: Path, settings: tuple[str, ...]) -> None:
    crash_run(tmp_path, kills=20, seed=41, settings=settings)
