"""URIs: what they name, and what is wrong with those that name nothing."""

from pathlib import Path

import pytest

from automq.objectstore import BadUri, open_store
from automq.objectstore.uri import (
    Credentials,
    FileLocation,
    MemoryLocation,
    S3Location,
    parse_uri,
    s3_options,
)
from automq.world import system_world


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("file://./automq-data/store", FileLocation(Path("automq-data/store"))),
        ("file://../store", FileLocation(Path("../store"))),
        ("file:///var/lib/automq", FileLocation(Path("/var/lib/automq"))),
        ("file:///with%20space", FileLocation(Path("/with space"))),
        ("memory://", MemoryLocation()),
        ("s3://bucket", S3Location("bucket")),
        ("s3://bucket/a/b/?region=eu-west-1", S3Location("bucket", "a/b", region="eu-west-1")),
        (
            "s3://b-1/p?endpoint=http://127.0.0.1:9000&allow_http=true",
            S3Location("b-1", "p", "http://127.0.0.1:9000", path_style=True),
        ),
        (
            "s3://b-1?endpoint=https://minio.corp/&path_style=false&timeout_ms=500",
            S3Location("b-1", "", "https://minio.corp", timeout_ms=500),
        ),
    ],
)
def test_a_uri_names_a_store(
    uri: str, location: FileLocation | MemoryLocation | S3Location
) -> None:
    assert parse_uri(uri) == location


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("", "starts with none of file://"),
        ("/var/lib", "starts with none of file://"),
        ("oss://bucket", "starts with none of file://"),
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
    "uri", ["s3://AKIA:hush@bucket/p", "s3://b-1?secret=hush", "s3://b-1?endpoint=http://a:hush@h"]
)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(BadUri) as caught:
        parse_uri(uri)
    assert "hush" not in str(caught.value)


def test_credentials_are_not_shown() -> None:
    assert "hush" not in repr(Credentials("id", "hush", "hush"))


def test_given_credentials_come_before_the_environment() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"}
    options = s3_options(S3Location("b-1"), Credentials("id", "secret"), environ)
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
    options = s3_options(S3Location("b-1"), None, environ)
    assert options == {
        "aws_region": "eu-central-1",
        "aws_virtual_hosted_style_request": "true",
        "aws_access_key_id": "id",
        "aws_secret_access_key": "secret",
    }


def test_half_a_key_in_the_environment_is_refused() -> None:
    with pytest.raises(BadUri, match="set both"):
        s3_options(S3Location("b-1"), None, {"AWS_ACCESS_KEY_ID": "id"})


def test_a_bucket_in_the_host_name_is_put_there() -> None:
    at = S3Location("b-1", endpoint="https://oss.example.com", path_style=False)
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

    options = s3_options(S3Location("b-1", region=in_uri), None, environ, configured)

    assert options["aws_region"] == used
