"""A node refuses to make a cluster on a store that does not keep our rules."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import s3_servers
from support.oss_server import OssServer, serving
from support.s3_proxy import Mischief, s3_proxy
from support.s3_servers import KEYS, Moto
from support.server import Server, running

EXIT_S = 30


@pytest.fixture
def oss() -> Iterator[OssServer]:
    with serving(OssServer()) as oss:
        yield oss


def oss_settings(oss: OssServer, bucket: str = "bucket") -> tuple[str, ...]:
    where = f"endpoint={oss.endpoint}&path_style=true&allow_http=true&region={oss.region}"
    return (
        f"automq.storage.uri=oss://{bucket}/c?{where}",
        "automq.oss.access.key.id=LTAIkey",
        "automq.oss.access.key.secret=hush",
    )


def s3_settings(uri: str) -> tuple[str, ...]:
    return (
        f"automq.storage.uri={uri}",
        f"automq.s3.access.key.id={KEYS.access_key_id}",
        f"automq.s3.secret.access.key={KEYS.secret_access_key}",
    )


def refused(directory: Path, *settings: str) -> str:
    """The one line with which a start is refused."""
    server = Server(directory, *settings)
    server.launch()
    assert server.process is not None
    assert server.process.wait(EXIT_S) == 2, server.log
    [line] = [line for line in server.log.splitlines() if line.startswith("automq: ")]
    return line


def test_a_first_start_tries_the_store_and_later_ones_do_not(
    oss: OssServer, tmp_path: Path
) -> None:
    with running(tmp_path, *oss_settings(oss)) as server:
        assert any("versioning" in it.query for it in oss.seen)
        assert any(it.path.startswith("/bucket/c/check/") for it in oss.seen)
        assert not any(key.startswith("c/check/") for key in oss.objects)
        server.stop()
        oss.seen.clear()
        server.start()
        assert not any("versioning" in it.query or "/check/" in it.path for it in oss.seen)


def test_a_versioned_bucket_of_oss_becomes_no_cluster(oss: OssServer, tmp_path: Path) -> None:
    oss.settings["versioning"] = "<VersioningConfiguration><Status>Enabled</Status>"
    line = refused(tmp_path, *oss_settings(oss))
    assert "no cluster is made on this store: oss://bucket/c" in line
    assert "versioning: Enabled" in line
    assert oss.objects == {}


def test_a_rule_that_deletes_objects_is_refused(oss: OssServer, tmp_path: Path) -> None:
    oss.settings["lifecycle"] = (
        "<LifecycleConfiguration><Rule><ID>tidy</ID><Prefix></Prefix><Status>Enabled</Status>"
        "<Expiration><Days>7</Days></Expiration></Rule></LifecycleConfiguration>"
    )
    assert "the rule 'tidy' deletes objects that are in use" in refused(
        tmp_path, *oss_settings(oss)
    )


def test_a_store_that_ignores_conditions_becomes_no_cluster(
    moto_server: Moto, tmp_path: Path
) -> None:
    with s3_proxy(moto_server.endpoint) as proxy:
        proxy.mischief, proxy.only = Mischief.IGNORE_CONDITION, frozenset({"PUT"})
        line = refused(tmp_path, *s3_settings(s3_servers.uri(proxy)))
    assert "the store ignores the condition" in line


def test_a_missing_bucket_is_told_at_any_start(oss: OssServer, tmp_path: Path) -> None:
    line = refused(tmp_path, *oss_settings(oss, bucket="nobody"))
    assert "there is no such bucket (404 NoSuchBucket" in line
