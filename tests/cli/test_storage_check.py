"""`automq storage check` on servers: what it says, its exit status, and that nothing stays."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from automq.cli import cli
from support import s3_servers
from support.broker import eventually
from support.oss_server import OssServer, serving
from support.s3_proxy import Mischief, s3_proxy
from support.s3_servers import Moto, SeaweedFS

OSS_KEYS = {"OSS_ACCESS_KEY_ID": "LTAIkey", "OSS_ACCESS_KEY_SECRET": "hush"}


@pytest.fixture
def oss() -> Iterator[OssServer]:
    with serving(OssServer()) as server:
        yield server


def oss_uri(oss: OssServer, bucket: str | None = None) -> str:
    at = f"endpoint={oss.endpoint}&allow_http=true&path_style=true&region={oss.region}"
    return f"oss://{bucket or oss.bucket}/p?{at}"


def check(uri: str, *words: str, environment: dict[str, str] | None = None) -> Result:
    environment = s3_servers.environment() if environment is None else environment
    return CliRunner().invoke(cli, ["storage", "check", uri, *words], env=environment)


def test_a_directory_is_fit_and_left_empty(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    done = check(f"file://{tmp_path}/store")
    assert done.exit_code == 0, done.output
    assert "Verdict: fit\n" in done.output
    assert "What no check can show" in done.output
    assert list((tmp_path / "store").iterdir()) == []


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = check(f"file://{tmp_path}/nothing")
    assert done.exit_code == 2
    assert "there is no directory" in done.output
    assert not (tmp_path / "nothing").exists()


def test_an_s3_server_is_fit_and_a_program_can_read_it(moto_server: Moto) -> None:
    done = check(s3_servers.uri(moto_server), "--json")
    told = json.loads(done.output)
    assert done.exit_code == 0, done.output
    assert told["verdict"] == "fit"
    assert told["addresses"] == ["127.0.0.1"]
    assert {it["outcome"] for it in told["findings"]} == {"ok"}
    assert [(it["operation"], it["size_bytes"]) for it in told["speeds"]] == [
        *(("put", 4096), ("get", 4096)),
        *(("put", 8 << 20), ("get", 8 << 20)),
    ]


@pytest.mark.long  # SeaweedFS lets those who race for a key wait a second each.
def test_seaweedfs_is_fit(seaweedfs_server: SeaweedFS) -> None:
    done = check(s3_servers.uri(seaweedfs_server))
    assert done.exit_code == 0, done.output


def test_oss_as_documented_is_fit_and_left_empty(oss: OssServer) -> None:
    done = check(oss_uri(oss), environment=OSS_KEYS)
    assert done.exit_code == 0, done.output
    assert oss.objects == {}
    assert oss.uploads == {}


def test_a_versioned_bucket_of_oss_is_unfit(oss: OssServer) -> None:
    oss.settings["versioning"] = "<VersioningConfiguration><Status>Enabled</Status>"
    oss.ignores_conditions = True
    done = check(oss_uri(oss), environment=OSS_KEYS)
    assert done.exit_code == 1
    assert "UNFIT      the second creator was not refused" in done.output
    assert "Verdict: unfit: create if absent, race of 32 creators, versioning\n" in done.output
    assert oss.objects == {}


def test_an_s3_server_behind_which_conditions_get_lost_is_unfit(moto_server: Moto) -> None:
    with s3_proxy(moto_server.endpoint) as proxy:
        proxy.mischief, proxy.only = Mischief.IGNORE_CONDITION, frozenset({"PUT"})
        done = check(s3_servers.uri(proxy))
    assert done.exit_code == 1
    assert "the store ignores the condition" in done.output


def test_a_right_that_is_missing_is_named(oss: OssServer) -> None:
    oss.denied = {"lifecycle", "delete"}
    done = check(oss_uri(oss), environment=OSS_KEYS)
    assert done.exit_code == 1
    assert "delete failed: 403 AccessDenied" in done.output
    assert "lifecycle rules       not known  403 AccessDenied\n" in done.output
    assert "what the check wrote stays below check/" in done.output


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "s3://bucket/p?endpoint=http://127.0.0.1:1&allow_http=true",
            "the store cannot be reached (no connection",
        ),
        ("s3://bucket/p?endpoint=https://nowhere.invalid", "the host nowhere.invalid is not known"),
        ("s4://b", "starts with none of file://"),
    ],
)
def test_what_is_no_store_is_told_in_one_line(uri: str, words: str) -> None:
    done = check(uri)
    assert done.exit_code == 2
    assert words in done.output
    assert done.output.count("automq: ") == 1


def test_a_missing_bucket_is_told_in_one_line(moto_server: Moto) -> None:
    done = check(s3_servers.uri(moto_server, bucket="nobody-made-it"))
    assert done.exit_code == 2
    assert "there is no such bucket (404 NoSuchBucket" in done.output


def test_wrong_keys_are_told_in_one_line(oss: OssServer) -> None:
    done = check(oss_uri(oss), environment=OSS_KEYS | {"OSS_ACCESS_KEY_SECRET": "other"})
    assert done.exit_code == 2
    assert "access is refused (403 SignatureDoesNotMatch" in done.output
    assert "other" not in done.output


def test_an_interrupted_check_leaves_nothing_behind(oss: OssServer) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "automq", "storage", "check", oss_uri(oss)],
        env=dict(os.environ) | OSS_KEYS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: bool(oss.objects), what="it writes")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert told == "automq: interrupted; what the check wrote is deleted\n"
    assert oss.objects == {}
    assert oss.uploads == {}
