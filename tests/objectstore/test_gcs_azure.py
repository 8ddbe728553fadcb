"""Google Cloud Storage and Azure: what is sent, and what each answer means.

The server here answers as their makers document and keeps nothing. Azurite, which does, is in
the contract suite of the long tests; Google's store is documented, not proven.
"""

import base64
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler

import pytest

from automq.objectstore import (
    AlreadyExists,
    Denied,
    NoBucket,
    NotFound,
    ObjectStore,
    OutcomeUnknown,
    StoreError,
    Throttled,
    TryAgain,
    open_store,
)
from automq.world import system_world
from support.http_server import http_server

ACCOUNT_KEY = base64.b64encode(b"hush" * 16).decode()
SERVICE_ACCOUNT = (
    '{"private_key": "k", "private_key_id": "i", "client_email": "a@b", "disable_oauth": true}'
)


class Told:
    """A server that gives one answer and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.code, self.body = 200, "", b""
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                told.requests.append((f"{self.command} {self.path}", headers))
                self.send_response(told.status)
                body = told.body
                if told.code:
                    body = f"<Error><Code>{told.code}</Code><Message>m</Message></Error>".encode()
                    self.send_header("x-ms-error-code", told.code)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Nothing: the tests look at `requests`."""

        for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        self.handler = Handler
        self.endpoint = ""

    def refuse(self, status: int, code: str) -> None:
        self.status, self.code = status, code


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    told = Told()
    with http_server(told.handler) as told.endpoint:
        yield told


@pytest.fixture
async def gcs(told: Told) -> AsyncIterator[ObjectStore]:
    store = open_store(
        f"gs://bucket/p?endpoint={told.endpoint}&allow_http=true",
        system_world(),
        environ={"GOOGLE_SERVICE_ACCOUNT_KEY": SERVICE_ACCOUNT},
    )
    yield store
    await store.close()


@pytest.fixture
async def azure(told: Told) -> AsyncIterator[ObjectStore]:
    store = open_store(
        f"az://box/p?account=acc&endpoint={told.endpoint}&allow_http=true",
        system_world(),
        environ={"AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY},
    )
    yield store
    await store.close()


async def test_a_create_in_gcs_is_for_generation_0(told: Told, gcs: ObjectStore) -> None:
    told.headers = {"ETag": '"1"', "x-goog-generation": "7"}
    await gcs.put_if_absent("k", [b"x"])
    await gcs.put("k", [b"x"])
    (create, of_create), (put, of_put) = told.requests
    assert create == put == "PUT /bucket/p%2Fk"
    assert of_create["x-goog-if-generation-match"] == "0"
    assert "x-goog-if-generation-match" not in of_put


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (412, "PreconditionFailed", AlreadyExists),
        (409, "Conflict", TryAgain),
        (429, "SlowDown", Throttled),
        (403, "AccessDenied", Denied),
        (404, "NoSuchBucket", NoBucket),
        (503, "ServiceUnavailable", OutcomeUnknown),
    ],
)
async def test_a_create_in_gcs_is_sent_once(
    told: Told, gcs: ObjectStore, status: int, code: str, error: type[StoreError]
) -> None:
    told.refuse(status, code)
    with pytest.raises(error) as caught:
        await gcs.put_if_absent("k", [b"x"])
    assert type(caught.value) is error
    assert len(told.requests) == 1


async def test_a_missing_object_of_gcs_is_not_found(told: Told, gcs: ObjectStore) -> None:
    told.refuse(404, "NoSuchKey")
    with pytest.raises(NotFound):
        await gcs.get("k")
    await gcs.delete_many(["a", "b"])
    assert [asked.split()[0] for asked, _ in told.requests] == ["GET", "DELETE", "DELETE"]


async def test_a_create_in_azure_is_if_none_match(told: Told, azure: ObjectStore) -> None:
    told.status, told.headers = 201, {"ETag": '"1"'}
    await azure.put_if_absent("k", [b"x"])
    await azure.put("k", [b"x"])
    (create, of_create), (put, of_put) = told.requests
    assert create == put == "PUT /acc/box/p/k"
    assert of_create["if-none-match"] == "*"
    assert of_create["x-ms-blob-type"] == "BlockBlob"
    assert of_create["authorization"].startswith("SharedKey acc:")
    assert "if-none-match" not in of_put


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (409, "BlobAlreadyExists", AlreadyExists),
        (412, "ConditionNotMet", AlreadyExists),
        (409, "OperationTimedOut", TryAgain),
        (403, "AuthenticationFailed", Denied),
        (404, "ContainerNotFound", NoBucket),
        (503, "ServerBusy", OutcomeUnknown),
    ],
)
async def test_a_create_in_azure_is_sent_once(
    told: Told, azure: ObjectStore, status: int, code: str, error: type[StoreError]
) -> None:
    told.refuse(status, code)
    with pytest.raises(error) as caught:
        await azure.put_if_absent("k", [b"x"])
    assert type(caught.value) is error
    assert ACCOUNT_KEY not in str(caught.value)
    assert len(told.requests) == 1


async def test_a_missing_blob_and_a_missing_container_are_told_apart(
    told: Told, azure: ObjectStore
) -> None:
    told.refuse(404, "BlobNotFound")
    for call in (azure.get("k"), azure.head("k")):
        with pytest.raises(NotFound):
            await call
    told.refuse(404, "ContainerNotFound")
    for call in (azure.get("k"), azure.head("k")):
        with pytest.raises(Denied):
            await call
    told.refuse(503, "ServerBusy")
    with pytest.raises(Throttled):
        await azure.get("k")


async def test_a_key_that_azure_would_change_is_refused(told: Told, azure: ObjectStore) -> None:
    with pytest.raises(ValueError, match="backslash"):
        await azure.put("a\\b", [b"x"])
    assert told.requests == []
