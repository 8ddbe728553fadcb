"""Alibaba OSS: the tests' server is proven by Alibaba's SDK, then our client by the server."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address

import alibabacloud_oss_v2 as sdk
import pytest

from automq.objectstore import (
    AlreadyExists,
    Denied,
    NotAllDeleted,
    ObjectStore,
    OutcomeUnknown,
    Throttled,
    open_store,
)
from automq.objectstore.providers import Credentials
from automq.world import system_world
from support.identity_server import giving
from support.oss_server import OssServer

MIB = 1 << 20


@pytest.fixture
async def store(oss_uri: str, oss_keys: Credentials) -> AsyncIterator[ObjectStore]:
    opened = open_store(oss_uri, system_world(), credentials=oss_keys)
    yield opened
    await opened.close()


def client_of(oss: OssServer, secret: str = "hush") -> sdk.Client:
    return sdk.Client(
        sdk.Config(
            region=oss.region,
            endpoint=oss.endpoint,
            use_path_style=True,
            retry_max_attempts=1,
            credentials_provider=sdk.credentials.StaticCredentialsProvider("LTAIkey", secret),
        )
    )


def code_of(error: sdk.exceptions.OperationError) -> tuple[int, str]:
    served = error.unwrap()
    return served.status_code, served.code


# -- the server, by the SDK


def test_the_sdk_reads_what_it_wrote(oss: OssServer) -> None:
    client = client_of(oss)
    key = "a b/数据+%2F?x&y"
    client.put_object(sdk.PutObjectRequest(bucket="bucket", key=key, body=b"0123456789"))
    assert client.get_object(sdk.GetObjectRequest(bucket="bucket", key=key)).body.read() == (
        b"0123456789"
    )
    part = client.get_object(
        sdk.GetObjectRequest(
            bucket="bucket", key=key, range_header="bytes=2-4", range_behavior="standard"
        )
    )
    assert part.body.read() == b"234"
    assert client.head_object(sdk.HeadObjectRequest("bucket", key)).content_length == 10


def test_the_sdk_is_told_that_an_object_exists(oss: OssServer) -> None:
    client = client_of(oss)
    create = sdk.PutObjectRequest(bucket="bucket", key="k", forbid_overwrite=True, body=b"1")
    client.put_object(create)
    with pytest.raises(sdk.exceptions.OperationError) as refused:
        client.put_object(create)
    assert code_of(refused.value) == (409, "FileAlreadyExists")


def test_the_sdk_lists_page_by_page_and_deletes_together(oss: OssServer) -> None:
    client = client_of(oss)
    oss.page_keys = 2
    names = ["a/1", "a/2", "a/数", "b"]
    for name in names:
        client.put_object(sdk.PutObjectRequest(bucket="bucket", key=name, body=b"x"))
    pages = client.list_objects_v2_paginator().iter_page(sdk.ListObjectsV2Request("bucket"))
    assert [known.key for page in pages for known in page.contents] == names
    oss.refuse_to_delete = set()
    client.delete_multiple_objects(
        sdk.DeleteMultipleObjectsRequest(
            bucket="bucket", objects=[sdk.DeleteObject(key=name) for name in names[:3]]
        )
    )
    assert list(oss.objects) == ["b"]


def test_the_sdk_uploads_in_parts_and_copies(oss: OssServer) -> None:
    client = client_of(oss)
    begun = client.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest("bucket", "big"))
    parts = []
    for number, body in enumerate((b"one", b"two"), start=1):
        sent = client.upload_part(
            sdk.UploadPartRequest("bucket", "big", number, begun.upload_id, body=body)
        )
        parts.append(sdk.UploadPart(part_number=number, etag=sent.etag))
    client.complete_multipart_upload(
        sdk.CompleteMultipartUploadRequest(
            "bucket",
            "big",
            begun.upload_id,
            complete_multipart_upload=sdk.CompleteMultipartUpload(parts=parts),
        )
    )
    client.copy_object(sdk.CopyObjectRequest(bucket="bucket", key="copy", source_key="big"))
    assert oss.objects == {"big": b"onetwo", "copy": b"onetwo"}


def test_the_sdk_with_another_secret_is_refused(oss: OssServer) -> None:
    with pytest.raises(sdk.exceptions.OperationError) as refused:
        client_of(oss, secret="guessed").put_object(
            sdk.PutObjectRequest(bucket="bucket", key="k", body=b"1")
        )
    assert code_of(refused.value) == (403, "SignatureDoesNotMatch")


# -- our client, by the server


async def test_a_create_says_so_in_oss_words_and_nothing_of_s3_is_sent(
    oss: OssServer, store: ObjectStore
) -> None:
    await store.put_if_absent("k", [b"one ", b"two"])
    with pytest.raises(AlreadyExists, match="FileAlreadyExists"):
        await store.put_if_absent("k", [b"other"])
    assert oss.objects == {"p/k": b"one two"}
    for request in oss.seen:
        assert request.headers["x-oss-forbid-overwrite"] == "true"
        assert "host" in request.headers["authorization"].split("AdditionalHeaders=")[1]
        assert not [name for name in request.headers if name.startswith("x-amz-")]
        assert "if-none-match" not in request.headers


async def test_a_put_does_not_forbid_to_overwrite(oss: OssServer, store: ObjectStore) -> None:
    await store.put("k", [b"one"])
    await store.put("k", [b"two"])
    assert oss.objects == {"p/k": b"two"}
    assert all("x-oss-forbid-overwrite" not in request.headers for request in oss.seen)


async def test_what_was_refused_of_a_deletion_is_named(oss: OssServer, store: ObjectStore) -> None:
    for key in ("a", "b", "c"):
        await store.put(key, [b"x"])
    oss.refuse_to_delete = {"p/b"}
    with pytest.raises(NotAllDeleted) as caught:
        await store.delete_many(["a", "b", "c"])
    assert list(caught.value.failures) == ["b"]
    assert list(oss.objects) == ["p/b"]


async def test_a_store_that_throttles_is_told_apart(oss: OssServer, store: ObjectStore) -> None:
    oss.throttle = 2
    with pytest.raises(Throttled, match="QpsLimitExceeded"):
        await store.get("k")
    with pytest.raises(OutcomeUnknown):
        await store.put_if_absent("k", [b"x"])
    assert len(oss.seen) == 2


async def test_a_large_object_goes_in_parts(oss: OssServer, store: ObjectStore) -> None:
    piece = bytes(range(256)) * (MIB // 256)
    await store.put("big", [piece] * 101)
    assert oss.objects["p/big"] == piece * 101
    assert sum("partNumber" in request.query for request in oss.seen) == 7
    assert oss.uploads == {}


async def test_a_wrong_secret_is_denied_and_not_shown(oss: OssServer, oss_uri: str) -> None:
    store = open_store(
        oss_uri, system_world(), credentials=Credentials("LTAIkey", "very secret", "token")
    )
    with pytest.raises(Denied, match="SignatureDoesNotMatch") as caught:
        await store.put_if_absent("k", [b"x"])
    assert "very secret" not in str(caught.value)
    await store.close()


async def test_keys_and_a_token_of_the_environment_are_used(oss: OssServer, oss_uri: str) -> None:
    oss.token = "sts token"
    environ = {
        "OSS_ACCESS_KEY_ID": "LTAIkey",
        "OSS_ACCESS_KEY_SECRET": "hush",
        "OSS_SESSION_TOKEN": "sts token",
    }
    store = open_store(oss_uri, system_world(), environ=environ)
    await store.put("k", [b"x"])
    assert bytes(await store.get("k")) == b"x"
    await store.close()


async def test_the_role_of_the_instance_is_used_and_asked_for_once(
    oss: OssServer, oss_uri: str
) -> None:
    oss.secrets, oss.token = {"STS.NUrole": "of the role"}, "role token"
    folder = "/latest/meta-data/ram/security-credentials/"
    role = (
        '{"AccessKeyId": "STS.NUrole", "AccessKeySecret": "of the role", "Code": "Success",'
        ' "SecurityToken": "role token", "Expiration": "2099-01-01T00:00:00Z",'
        ' "LastUpdated": "2026-01-01T00:00:00Z"}'
    )
    answers = {
        "PUT /latest/api/token": "metadata token",
        f"GET {folder}": "automq",
        f"GET {folder}automq": role,
    }
    with giving(answers) as machine:
        environ = {"ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT": machine.endpoint}
        store = open_store(oss_uri, system_world(), environ=environ)
        await asyncio.gather(*(store.put(f"k/{number}", [b"x"]) for number in range(8)))
        await store.close()
    assert len(oss.objects) == 8
    assert machine.asked.count(f"GET {folder}automq") == 1
    assert machine.headers[-1]["x-aliyun-ecs-metadata-token"] == "metadata token"


async def test_without_keys_and_role_nothing_is_sent(oss: OssServer, oss_uri: str) -> None:
    with giving({}) as machine:
        environ = {"ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT": machine.endpoint}
        store = open_store(oss_uri, system_world(), environ=environ)
        for call in (store.put_if_absent("k", [b"x"]), store.get("k")):
            with pytest.raises(Denied, match="no credentials"):
                await call
        await store.close()
    assert oss.seen == []


async def test_a_store_is_asked_at_one_address_wherever_its_name_leads(
    oss: OssServer, oss_uri: str, oss_keys: Credentials
) -> None:
    uri = oss_uri.replace("127.0.0.1", "nowhere.invalid")
    address = ip_address("127.0.0.1")
    store = open_store(uri, system_world(), credentials=oss_keys, address=address)
    await store.put("a", [b"there"])
    assert (await store.settings()).versioning() == ""
    await store.close()
    assert oss.objects == {"p/a": b"there"}
    assert oss.seen[0].headers["host"].startswith("nowhere.invalid:")
