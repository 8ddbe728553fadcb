"""A client that speaks any version of any API: what it is told to send, and nothing by itself."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from automq.protocol.apis import APIS
from automq.protocol.codec import decode, encode_request, response_header_version

ANSWER_S = 20.0


class Closed(Exception):
    """The broker has closed the connection instead of an answer."""


class Client:
    """One connection. Answers come as typed messages, in the order of the requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)

    async def ask(self, request: Any, version: int | None = None) -> Any:
        """Send a request (in the API's last version, unless told) and return its answer."""
        api = APIS[request.API_KEY]
        wanted = request.VALID_VERSIONS[1] if version is None else version
        frame = encode_request(request, wanted, next(self._numbers), "test")
        return await self.ask_frame(frame, api.response_class(), wanted)

    async def ask_frame(self, frame: bytes, response: type[Any], version: int) -> Any:
        """Send a whole frame; its answer, read as `response` in `version`. Raises Closed."""
        await self.send_frame(frame)
        body = await self.receive()
        flexible = response_header_version(response, version) == 1
        return decode(response, body, version, 5 if flexible else 4)

    async def send_frame(self, frame: bytes) -> None:
        self._writer.write(frame)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """The next answer, its header included. Raises Closed."""
        try:
            async with asyncio.timeout(ANSWER_S):
                size = int.from_bytes(await self._reader.readexactly(4), "big")
                return await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Closed from None

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Client]:
    """A client for the time of a `with` block."""
    reader, writer = await asyncio.open_connection(host, port)
    client = Client(reader, writer)
    try:
        yield client
    finally:
        client.close()
