"""`/metrics` over HTTP, for Prometheus: one request a connection, nothing else is served."""

import asyncio
import socket

from automq.broker.listener import Acceptor
from automq.telemetry import Metrics

REQUEST_BYTES_MAX = 16 << 10
PATIENCE_S = 10.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsDoor:
    """A listening socket that answers `GET /metrics` with all numbers of `metrics`.

    Anybody who reaches it may read them: there are no secrets in them, and nothing to change.
    """

    def __init__(self, listening: socket.socket, metrics: Metrics) -> None:
        self._listening = listening
        self._metrics = metrics

    def __str__(self) -> str:
        return "metrics"

    async def serve(self, acceptor: Acceptor) -> None:
        """Answer until cancelled. Clients of Kafka do not come here."""
        server = await asyncio.start_server(
            self._answer, sock=self._listening, limit=REQUEST_BYTES_MAX
        )
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            # Not a scrape, or one that gave up: nobody waits for an answer.
            pass
        finally:
            writer.close()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return http("404 Not Found", b"metrics are at /metrics\n")
        if method not in (b"GET", b"HEAD"):
            return http("405 Method Not Allowed", b"metrics are read with GET\n")
        body = self._metrics.exposition()
        answer = http("200 OK", body)
        return answer if method == b"GET" else answer[: -len(body)]


def http(status: str, body: bytes) -> bytes:
    """A whole answer, after which the connection ends."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
