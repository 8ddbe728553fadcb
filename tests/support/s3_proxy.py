"""An HTTP proxy in front of an S3 server that does to answers what networks and clouds do."""

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler
from typing import ClassVar
from urllib.parse import urlsplit

from support.http_server import Quiet, http_server

HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Mischief(Enum):
    """What happens to a request."""

    NONE = auto()
    SLOW_DOWN = auto()
    """503 SlowDown, and the server never sees it."""
    EXPIRED_TOKEN = auto()
    """400 ExpiredToken, as S3 answers a temporary key after its time."""
    CUT_BODY = auto()
    """The connection breaks after half of an object's bytes."""
    WRONG_BYTES = auto()
    """One byte of an object is another one."""
    IGNORE_CONDITION = auto()
    """The server never hears that a create has a condition."""
    LOSE_ANSWER = auto()
    """The server does it, and the connection breaks before the answer."""


REFUSALS = {
    Mischief.SLOW_DOWN: (503, "SlowDown", "Please reduce your request rate."),
    Mischief.EXPIRED_TOKEN: (400, "ExpiredToken", "The provided token has expired."),
}


@dataclass
class S3Proxy:
    """Set `mischief` at any time; `only` says which requests it hits, by method."""

    name: ClassVar[str] = "proxy"
    upstream: str
    endpoint: str = ""
    mischief: Mischief = Mischief.NONE
    only: frozenset[str] = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD"})
    hits: Counter[Mischief] = field(default_factory=Counter)

    def heal(self) -> None:
        self.mischief = Mischief.NONE

    def of(self, method: str) -> Mischief:
        return self.mischief if method in self.only else Mischief.NONE


class Handler(BaseHTTPRequestHandler):
    """Passes one request on. Its class attribute `proxy` is set for each server."""

    protocol_version = "HTTP/1.1"
    proxy: S3Proxy

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        mischief = self.proxy.of(self.command)
        if mischief is not Mischief.NONE:
            self.proxy.hits[mischief] += 1
        refusal = REFUSALS.get(mischief)
        if refusal is not None:
            self._refuse(*refusal)
            return
        status, headers, answer = self._ask(body)
        if mischief is Mischief.LOSE_ANSWER:
            self.close_connection = True
            return
        is_object = self.command == "GET" and status in (200, 206) and len(answer) > 1
        size_bytes = len(answer)
        if is_object and mischief is Mischief.CUT_BODY:
            answer, self.close_connection = answer[: size_bytes // 2], True
        if is_object and mischief is Mischief.WRONG_BYTES:
            at = size_bytes // 2
            answer = answer[:at] + bytes([answer[at] ^ 0x40]) + answer[at + 1 :]
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        if self.command == "HEAD":
            size_bytes = int(dict(headers).get("Content-Length", size_bytes))
        self.send_header("Content-Length", str(size_bytes))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 (http.server's names)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            dropped = set(HOP_HEADERS)
            if self.proxy.of(self.command) is Mischief.IGNORE_CONDITION:
                dropped.add("if-none-match")
            headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


@contextmanager
def s3_proxy(upstream: str) -> Iterator[S3Proxy]:
    """A proxy in front of the server at `upstream`, without mischief at first."""
    proxy = S3Proxy(urlsplit(upstream).netloc)
    handler = type("ProxyHandler", (Handler,), {"proxy": proxy})
    with http_server(handler, server=Quiet) as proxy.endpoint:
        yield proxy
