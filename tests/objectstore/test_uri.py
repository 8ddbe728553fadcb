"""URIs: what they name, and what is wrong with those that name nothing."""

from pathlib import Path

import pytest

from automq.objectstore import BadUri, open_store
from automq.objectstore.location import (
    CloudLocation,
    FileLocation,
    MemoryLocation,
    parse_uri,
)
from automq.objectstore.providers import Credentials, az_options, oss_options, s3_options
from automq.world import system_world


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("file://./automq-data/store", FileLocation(Path("automq-data/store"))),
        ("file://../store", FileLocation(Path("../store"))),
        ("file:///var/lib/automq", FileLocation(Path("/var/lib/automq"))),
        ("file:///with%20space", FileLocation(Path("/with space"))),
        ("memory://", MemoryLocation()),
        ("s3://bucket", CloudLocation("bucket")),
        ("s3://bucket/a/b/?region=eu-west-1", CloudLocation("bucket", "a/b", region="eu-west-1")),
        (
            "s3://b-1/p?endpoint=http://127.0.0.1:9000&allow_http=true",
            CloudLocation("b-1", "p", "http://127.0.0.1:9000", path_style=True),
        ),
        (
            "s3://b-1?endpoint=https://minio.corp/&path_style=false&timeout_ms=500",
            CloudLocation("b-1", "", "https://minio.corp", timeout_ms=500),
        ),
    ],
)
def test_a_uri_names_a_store(
    uri: str, location: FileLocation | MemoryLocation | CloudLocation
) -> None:
    assert parse_uri(uri) == location


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("", "starts with none of file://"),
        ("/var/lib", "starts with none of file://"),
        ("http://bucket", "starts with none of file://"),
        ("gs://bucket?region=x", "unknown parameter 'region'"),
        ("oss://b-1?account=x", "unknown parameter 'account'"),
        ("oss://b-1?endpoint=https://h&proxy=squid:3128", "proxy is not like http://host:port"),
        ("file://data/store", "write file://./data/store or file:///data/store"),
        ("file:///", "names no directory"),
        ("file://.", "names no directory"),
        ("file:///a?sync=false", "takes a path and nothing after it"),
        ("memory://x", "takes nothing after it"),
        ("s3://", "is no bucket"),
        ("s3:///prefix", "is no bucket"),
        ("s3://b-1/../x", "starts with a dot"),
        ("s3://b-1?regoin=x", "unknown parameter 'regoin'; known: endpoint, region"),
        ("s3://b-1?region=", "'region' is empty"),
        ("s3://b-1?region=a&region=b", "given twice"),
        ("s3://b-1?path_style=yes", "neither true nor false"),
        ("s3://b-1?timeout_ms=1s", "no number of milliseconds"),
        ("s3://b-1?endpoint=minio:9000", "not like https://host:port"),
        ("s3://b-1?endpoint=https://h/path", "not like https://host:port"),
        ("s3://b-1?endpoint=http://h:9000", "add allow_http=true"),
        ("s3://b-1#x", "has a '#'"),
        ("s3://[b", "storage URI"),
    ],
)
def test_a_bad_uri_is_told_in_one_line(uri: str, why: str) -> None:
    with pytest.raises(BadUri) as caught:
        parse_uri(uri)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIA:hush@bucket/p",
        "s3://b-1?secret=hush",
        "s3://b-1?endpoint=http://a:hush@h",
        "gs://b-1?proxy=http://a:hush@h",
        "az://key:hush@b",
    ],
)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(BadUri) as caught:
        parse_uri(uri)
    assert "hush" not in str(caught.value)


def test_credentials_are_not_shown() -> None:
    assert "hush" not in repr(Credentials("id", "hush", "hush"))


def test_given_credentials_come_before_the_environment() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"}
    options = s3_options(CloudLocation("b-1"), Credentials("id", "secret"), environ)
    assert options["aws_access_key_id"] == "id"
    assert options["aws_secret_access_key"] == "secret"
    assert options["aws_virtual_hosted_style_request"] == "true"


def test_the_environment_says_who_we_are_and_not_where_the_store_is() -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": "http://elsewhere",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    options = s3_options(CloudLocation("b-1"), None, environ)
    assert options == {
        "aws_region": "eu-central-1",
        "aws_virtual_hosted_style_request": "true",
        "aws_access_key_id": "id",
        "aws_secret_access_key": "secret",
    }


def test_half_a_key_in_the_environment_is_refused() -> None:
    with pytest.raises(BadUri, match="set both"):
        s3_options(CloudLocation("b-1"), None, {"AWS_ACCESS_KEY_ID": "id"})


def test_a_bucket_in_the_host_name_is_put_there() -> None:
    at = CloudLocation("b-1", endpoint="https://oss.example.com", path_style=False)
    assert s3_options(at, None, {})["aws_endpoint"] == "https://b-1.oss.example.com"


async def test_a_relative_directory_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("file://./data/store", system_world())
    await store.put("a", [b"x"])
    assert (tmp_path / "data/store/a").read_bytes() == b"x"
    await store.close()


@pytest.mark.parametrize(
    ("in_uri", "configured", "in_environment", "used"),
    [
        ("a", "b", "c", "a"),
        (None, "b", "c", "b"),
        (None, None, "c", "c"),
        (None, None, "", "us-east-1"),
    ],
)
def test_the_region_is_that_of_the_uri_then_of_the_configuration_then_of_the_environment(
    in_uri: str | None, configured: str | None, in_environment: str, used: str
) -> None:
    environ = {"AWS_REGION": in_environment}

    options = s3_options(CloudLocation("b-1", region=in_uri), None, environ, configured)

    assert options["aws_region"] == used


@pytest.mark.parametrize(
    ("uri", "endpoint", "region"),
    [
        ("oss://b-1?region=cn-hangzhou", "https://b-1.oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        (
            "oss://b-1?region=oss-cn-beijing",
            "https://b-1.oss-cn-beijing.aliyuncs.com",
            "cn-beijing",
        ),
        (
            "oss://b-1?endpoint=https://oss-cn-shanghai-internal.aliyuncs.com",
            "https://b-1.oss-cn-shanghai-internal.aliyuncs.com",
            "cn-shanghai",
        ),
        (
            "oss://b-1?endpoint=http://127.0.0.1:1&allow_http=true&path_style=true&region=x",
            "http://127.0.0.1:1",
            "x",
        ),
    ],
)
def test_where_a_bucket_of_oss_is(uri: str, endpoint: str, region: str) -> None:
    at = parse_uri(uri)
    assert isinstance(at, CloudLocation)
    options = oss_options(at, Credentials("id", "secret"), {})
    assert (options["endpoint"], options["region"]) == (endpoint, region)


def test_oss_needs_a_region() -> None:
    with pytest.raises(BadUri, match=r"region=cn-hangzhou"):
        oss_options(CloudLocation("b-1", scheme="oss"), None, {})


def test_keys_of_oss_come_before_a_role() -> None:
    at = CloudLocation("b-1", region="cn-x", scheme="oss")
    environ = {
        "ALIBABA_CLOUD_ECS_METADATA": "role",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "other",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "other",
        "OSS_ACCESS_KEY_ID": "id",
        "OSS_ACCESS_KEY_SECRET": "hush",
        "OSS_SESSION_TOKEN": "token",
    }

    def who(options: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in options.items() if name.isupper()}

    assert who(oss_options(at, Credentials("mine", "hush"), environ)) == {
        "OSS_ACCESS_KEY_ID": "mine",
        "OSS_ACCESS_KEY_SECRET": "hush",
    }
    assert list(who(oss_options(at, None, environ))) == [
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_SESSION_TOKEN",
    ]
    roles = {"ALIBABA_CLOUD_ECS_METADATA": "role", "HOME": "/"}
    assert who(oss_options(at, None, roles)) == {"ALIBABA_CLOUD_ECS_METADATA": "role"}


def test_azure_needs_an_account_and_finds_it_in_an_endpoint() -> None:
    with pytest.raises(BadUri, match=r"account="):
        az_options(CloudLocation("box", scheme="az"), None, {})
    for endpoint, used in [
        ("https://acc.blob.core.chinacloudapi.cn", "https://acc.blob.core.chinacloudapi.cn"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1/acc"),
    ]:
        at = CloudLocation("box", endpoint=endpoint, scheme="az", account="acc")
        assert az_options(at, None, {})["azure_storage_endpoint"] == used


def test_a_ca_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadUri, match="cannot read the CA file"):
        open_store(f"s3://b-1?ca_file={tmp_path}/none.pem", system_world())
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(BadUri, match="no certificate in PEM"):
        open_store(f"s3://b-1?ca_file={tmp_path}/ca.pem", system_world())
