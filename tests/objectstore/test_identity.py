"""Who a node is to its store: from machines, token services and the environment, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from automq.objectstore import ObjectStore, Unavailable, open_store
from automq.world import system_world
from support.certificates import authority_and_server
from support.identity_server import giving

OK = b'HTTP/1.1 200 OK\r\netag: "1"\r\ncontent-length: 0\r\n\r\n'


class Recorder:
    """A store that takes everything and remembers the headers."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[dict[str, str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
                pairs = (line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in pairs}
                self.requests.append(headers)
                await reader.readexactly(int(headers.get("content-length", "0")))
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    listening = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.port = listening.sockets[0].getsockname()[1]
    yield recorder
    listening.close()


def opened(recorder: Recorder, environ: dict[str, str], ca_file: Path | None = None) -> ObjectStore:
    uri = f"s3://bucket?endpoint=http://127.0.0.1:{recorder.port}&allow_http=true&timeout_ms=5000"
    return open_store(uri, system_world(), ca_file=ca_file, environ=environ)


async def test_the_role_of_the_instance_is_asked_for_once(recorder: Recorder) -> None:
    folder = "/latest/meta-data/iam/security-credentials/"
    role = (
        '{"AccessKeyId": "ASIAROLE", "SecretAccessKey": "hush", "Token": "of the role",'
        ' "Expiration": "2099-01-01T00:00:00Z", "Code": "Success", "Type": "AWS-HMAC",'
        ' "LastUpdated": "2026-01-01T00:00:00Z"}'
    )
    answers = {
        "PUT /latest/api/token": "metadata token",
        f"GET {folder}": "automq",
        f"GET {folder}automq": role,
    }
    with giving(answers) as machine:
        store = opened(recorder, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.endpoint})
        for number in range(5):
            await store.put(f"k/{number}", [b"x"])
        await store.close()
    assert machine.asked.count(f"GET {folder}automq") == 1
    assert machine.headers[-1]["x-aws-ec2-metadata-token"] == "metadata token"
    assert len(recorder.requests) == 5
    for request in recorder.requests:
        assert "Credential=ASIAROLE/" in request["authorization"]
        assert request["x-amz-security-token"] == "of the role"


async def test_a_web_identity_is_exchanged_for_keys(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("signed by the cluster")
    keys = (
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
        "<AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>"
        "<SessionToken>of the session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
    ca, tls = authority_and_server(tmp_path)
    with giving({"POST /": keys}, tls=tls) as service:
        environ = {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/automq",
            "AWS_ENDPOINT_URL_STS": service.endpoint,
        }
        store = opened(recorder, environ, ca)
        await store.put_if_absent("k", [b"x"])
        await store.close()
    assert service.asked == ["POST /"]
    assert "Credential=ASIAWEB/" in recorder.requests[0]["authorization"]
    assert recorder.requests[0]["x-amz-security-token"] == "of the session"


async def test_a_machine_without_a_role_is_no_missing_object_and_no_unknown_outcome(
    recorder: Recorder,
) -> None:
    with giving({"PUT /latest/api/token": "t"}) as machine:
        store = opened(recorder, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.endpoint})
        for call in (store.get("k"), store.put_if_absent("k", [b"x"])):
            with pytest.raises(Unavailable, match="no credentials"):
                await call
        await store.close()
    assert recorder.requests == []


async def test_keys_of_the_environment_are_used(recorder: Recorder) -> None:
    store = opened(recorder, {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "hush"})
    await store.put("k", [b"x"])
    await store.close()
    assert "Credential=AKIA1/" in recorder.requests[0]["authorization"]


async def test_a_proxy_is_used_when_the_uri_names_it_and_never_the_environments(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "hush"}
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    store = opened(recorder, keys)
    await store.put("k", [b"x"])
    await store.close()
    assert len(recorder.requests) == 1
    uri = "s3://bucket?endpoint=http://store.invalid&allow_http=true"
    proxied = open_store(
        f"{uri}&proxy=http://127.0.0.1:{recorder.port}", system_world(), environ=keys
    )
    await proxied.put("k", [b"x"])
    await proxied.close()
    assert recorder.requests[1]["host"] == "store.invalid"


async def test_a_store_with_a_certificate_of_its_own_authority_is_trusted_when_told_to(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    ca, context = authority_and_server(tmp_path)
    listening = await asyncio.start_server(recorder.serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    uri = f"s3://bucket?endpoint=https://127.0.0.1:{port}&timeout_ms=5000"
    keys = {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "hush"}
    for named, configured in ((f"{uri}&ca_file={ca}", None), (uri, ca)):
        store = open_store(named, system_world(), ca_file=configured, environ=keys)
        await store.put("k", [b"x"])
        await store.close()
    assert len(recorder.requests) == 2
    stranger = open_store(uri, system_world(), environ=keys)
    with pytest.raises(Unavailable, match=r"no connection.*certificate"):
        await stranger.put("k", [b"x"])
    await stranger.close()
    listening.close()
