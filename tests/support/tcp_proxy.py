"""A TCP proxy in front of a server that cuts connections where a test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

READ_BYTES = 65_536


class TcpProxy:
    """Set `swallow`: the next answer is dropped, and its connection with it. What the client sent
    before has arrived, and takes effect."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.swallow = False
        self.swallowed = 0
        self.is_silent = False
        """Whether answers are kept back, connections staying open: what a partition looks like."""
        self._upstream = port
        self._open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self._open.append(writer)
        with suppress(OSError):
            source, target = await asyncio.open_connection("127.0.0.1", self._upstream)
            self._open.append(target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, target, is_answer=False))
                    group.create_task(self._pump(source, writer, is_answer=True))
            except* (OSError, Cut):
                pass
            finally:
                target.transport.abort()
        writer.transport.abort()

    async def cut_all(self) -> None:
        """End every connection, so that none is left to the garbage collector of another test."""
        for writer in self._open:
            writer.transport.abort()
        # The transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        while data := await source.read(READ_BYTES):
            if is_answer and self.swallow:
                self.swallow = False
                self.swallowed += 1
                raise Cut
            if not (is_answer and self.is_silent):
                target.write(data)
            await target.drain()
        raise Cut


class Cut(Exception):
    """The connection ends."""


@asynccontextmanager
async def tcp_proxy(port: int) -> AsyncIterator[TcpProxy]:
    """A proxy in front of a server of this machine."""
    proxy = TcpProxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        async with server:
            yield proxy
    finally:
        await proxy.cut_all()
