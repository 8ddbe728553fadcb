"""A pooler as pgbouncer is in its transaction mode: each transaction may get another session.

It knows as much of the protocol as that takes (PostgreSQL's documentation, "Frontend/Backend
Protocol"): it lets everyone in, hands each simple query to the next of its own sessions, and is
rude to what needs a session of its own, as prepared statements do.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import cycle

_SIZE = struct.Struct(">i")
PROTOCOL = 196_608
SSL_REQUEST = 80_877_103
SESSIONS = 2


def message(kind: bytes, body: bytes) -> bytes:
    return kind + _SIZE.pack(len(body) + _SIZE.size) + body


async def receive(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next message: its kind and its body."""
    kind = await reader.readexactly(1)
    (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
    return kind, await reader.readexactly(size - _SIZE.size)


class ServerSession:
    """A session of the pooler's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.turn = asyncio.Lock()
        self.greeting = b""

    async def start(self, user: str, database: str) -> None:
        words = ["user", user, "database", database, "client_encoding", "UTF8", ""]
        body = _SIZE.pack(PROTOCOL) + "\0".join(words).encode() + b"\0"
        self.writer.write(_SIZE.pack(len(body) + _SIZE.size) + body)
        while True:
            kind, body = await receive(self.reader)
            if kind == b"Z":
                return
            if kind in (b"R", b"S"):
                self.greeting += message(kind, body)

    async def run(self, query: bytes, client: asyncio.StreamWriter) -> None:
        """One transaction: all that is answered, up to ReadyForQuery."""
        async with self.turn:
            self.writer.write(message(b"Q", query))
            kind = b""
            while kind != b"Z":
                kind, body = await receive(self.reader)
                client.write(message(kind, body))
            assert body == b"I", "the transaction goes on after its message"
            await client.drain()


class Pooler:
    def __init__(self, sessions: list[ServerSession]) -> None:
        self._sessions = cycle(sessions)
        self._greeting = sessions[0].greeting
        self.port = 0
        self.refused: list[bytes] = []
        self._open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        self._open.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            await self._greet(reader, writer)
            while True:
                kind, body = await receive(reader)
                if kind == b"Q":
                    await next(self._sessions).run(body, writer)
                elif kind == b"X":
                    break
                else:
                    self.refused.append(kind)
                    break
        writer.close()

    async def cut_all(self) -> None:
        """End every connection, so that none is left to the garbage collector of another test."""
        for writer in self._open:
            writer.transport.abort()
        # The transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
            body = await reader.readexactly(size - _SIZE.size)
            if _SIZE.unpack_from(body)[0] != SSL_REQUEST:
                break
            writer.write(b"N")
        key = message(b"K", struct.pack(">ii", 4_711, 0))
        writer.write(self._greeting + key + message(b"Z", b"I"))


@asynccontextmanager
async def transaction_pooler(port: int, user: str, database: str) -> AsyncIterator[Pooler]:
    """A pooler in front of a server of this machine that asks for no password."""
    sessions = []
    for _ in range(SESSIONS):
        session = ServerSession(*await asyncio.open_connection("127.0.0.1", port))
        await session.start(user, database)
        sessions.append(session)
    pooler = Pooler(sessions)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    pooler.port = server.sockets[0].getsockname()[1]
    try:
        async with server:
            yield pooler
    finally:
        for session in sessions:
            session.writer.close()
        await pooler.cut_all()
