"""What each answer of an S3 server means, and that nothing is sent twice.

The server here is a socket that answers as told; real servers are in the contract suite.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from automq.objectstore import (
    AlreadyExists,
    Corrupt,
    Denied,
    NoBucket,
    NotFound,
    ObjectStore,
    OutcomeUnknown,
    StoreError,
    Throttled,
    TryAgain,
    Unavailable,
    open_store,
)
from automq.objectstore.providers import Credentials
from automq.world import system_world

DROP = b""


class Server:
    """Answers every request with `answer`, after reading it whole; None means never."""

    def __init__(self) -> None:
        self.answer: bytes | None = DROP
        self.port = 0
        self.asked = asyncio.Event()
        self.requests: list[str] = []
        self.headers: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *headers = head.decode().lower().splitlines()
                self.requests.append(first)
                self.asked.set()
                self.headers = headers
                size = next((h for h in headers if h.startswith("content-length:")), ":0")
                await reader.readexactly(int(size.split(":")[1]))
                if not self.answer:
                    break
                writer.write(self.answer)
            if self.answer is None:
                await reader.read()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def refusal(status: int, code: str = "", message: str = "") -> bytes:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><Secret>hush</Secret></Error>"
    if not code:
        body = ""
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


OK = b'HTTP/1.1 200 OK\r\netag: "1"\r\ncontent-length: 0\r\n\r\n'


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@pytest.fixture
async def store(server: Server, s3_keys: Credentials) -> AsyncIterator[ObjectStore]:
    uri = f"s3://bucket/p?endpoint=http://127.0.0.1:{server.port}&allow_http=true&timeout_ms=400"
    opened = open_store(uri, system_world(), credentials=s3_keys)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(412, "PreconditionFailed"), AlreadyExists),
        (refusal(304), AlreadyExists),
        (refusal(409, "ConditionalRequestConflict"), TryAgain),
        (refusal(429, "TooManyRequests"), Throttled),
        (refusal(403, "AccessDenied"), Denied),
        (refusal(400, "ExpiredToken"), Denied),
        (refusal(404, "NoSuchBucket"), NoBucket),
        (refusal(501, "NotImplemented"), Denied),
        (refusal(500, "InternalError"), OutcomeUnknown),
        (refusal(502), OutcomeUnknown),
        (refusal(503, "SlowDown"), OutcomeUnknown),
        (refusal(504), OutcomeUnknown),
        (DROP, OutcomeUnknown),
        (None, OutcomeUnknown),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", OutcomeUnknown),
        (b"nonsense\r\n\r\n", OutcomeUnknown),
    ],
)
async def test_a_create_is_sent_once_and_says_only_what_is_certain(
    server: Server, store: ObjectStore, answer: bytes | None, error: type[StoreError]
) -> None:
    server.answer = answer
    with pytest.raises(error) as caught:
        await store.put_if_absent("k", [b"one", b"two"])
    assert type(caught.value) is error
    assert server.requests == ["put /bucket/p/k http/1.1"]
    assert "if-none-match: *" in server.headers
    assert "x-amz-content-sha256: unsigned-payload" in server.headers
    assert "hush" not in str(caught.value)
    assert "create 'k' in s3://bucket/p" in str(caught.value)


async def test_a_create_lost_on_a_reused_connection_is_not_sent_again(
    server: Server, store: ObjectStore
) -> None:
    server.answer = OK
    await store.put("k", [b"x"])
    server.answer = DROP
    with pytest.raises(OutcomeUnknown):
        await store.put_if_absent("k", [b"x"])
    assert len(server.requests) == 2


async def test_a_create_that_is_answered_has_won(server: Server, store: ObjectStore) -> None:
    server.answer = OK
    await store.put_if_absent("k", [b"x"])
    assert len(server.requests) == 1


async def test_a_create_without_a_connection_was_not_applied(
    server: Server, s3_keys: Credentials
) -> None:
    free = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = free.sockets[0].getsockname()[1]
    free.close()
    await free.wait_closed()
    uri = f"s3://bucket?endpoint=http://127.0.0.1:{port}&allow_http=true"
    nowhere = open_store(uri, system_world(), credentials=s3_keys)
    with pytest.raises(Unavailable, match="no connection"):
        await nowhere.put_if_absent("k", [b"x"])
    await nowhere.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(404, "NoSuchKey"), NotFound),
        (refusal(404), NotFound),
        (refusal(404, "NoSuchBucket"), NoBucket),
        (refusal(403, "SignatureDoesNotMatch", "check your key"), Denied),
        (refusal(301, "PermanentRedirect"), Denied),
        (refusal(400, "AuthorizationHeaderMalformed"), Denied),
        (refusal(400, "RequestTimeout"), Unavailable),
        (refusal(416, "InvalidRange"), Corrupt),
        (refusal(500, "InternalError"), Unavailable),
        (refusal(503, "SlowDown"), Throttled),
        (refusal(503, "ServiceUnavailable"), Unavailable),
        (refusal(429), Throttled),
        (DROP, Unavailable),
        (None, Unavailable),
        (OK[:-20] + b"content-length: 9\r\n\r\ncut", Unavailable),
    ],
)
async def test_a_read_says_what_to_do(
    server: Server, store: ObjectStore, answer: bytes | None, error: type[StoreError]
) -> None:
    server.answer = answer
    with pytest.raises(error) as caught:
        await store.get("k")
    assert type(caught.value) is error
    assert server.requests == ["get /bucket/p/k http/1.1"]
    assert "hush" not in str(caught.value)


async def test_a_range_from_a_server_that_ignores_ranges_is_not_taken(
    server: Server, store: ObjectStore
) -> None:
    server.answer = (
        b'HTTP/1.1 200 OK\r\netag: "1"\r\nlast-modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n'
        b"content-length: 10\r\n\r\n0123456789"
    )
    with pytest.raises(StoreError):
        await store.get_range("k", 2, 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.put("k", [b"x"]),
        lambda store: store.delete("k"),
        lambda store: store.head("k"),
        lambda store: store.get_range("k", 0, 1),
    ],
)
async def test_no_call_is_repeated_below(
    server: Server, store: ObjectStore, call: Callable[[ObjectStore], Awaitable[object]]
) -> None:
    server.answer = refusal(503, "SlowDown")
    with pytest.raises(StoreError):
        await call(store)
    assert len(server.requests) == 1


async def test_a_cancelled_request_is_dropped(server: Server, store: ObjectStore) -> None:
    server.answer = None
    call = asyncio.ensure_future(store.get("k"))
    await server.asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_an_object_of_many_parts_comes_back_whole(s3_uri: str, s3_keys: Credentials) -> None:
    store = open_store(s3_uri, system_world(), credentials=s3_keys)
    piece = bytes(range(256)) * (1 << 14)
    await store.put("big", [piece] * 26)
    assert (await store.head("big")).size_bytes == 26 * len(piece)
    edge = 16 << 20
    assert (
        bytes(await store.get_range("big", edge - 300, edge + 300))
        == (piece * 2)[len(piece) - 300 : len(piece) + 300]
    )
    await store.close()
