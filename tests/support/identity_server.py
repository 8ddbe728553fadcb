"""A server that gives credentials: a machine's metadata service, or a token service."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from support.http_server import http_server


class Identity:
    """Answers "METHOD path" (queries are ignored) from `answers`, and 404 to all else."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.endpoint = ""


@contextmanager
def giving(answers: Mapping[str, str], *, tls: ssl.SSLContext | None = None) -> Iterator[Identity]:
    identity = Identity(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked = f"{self.command} {self.path.partition('?')[0]}"
            identity.asked.append(asked)
            identity.headers.append({k.lower(): v for k, v in self.headers.items()})
            body = identity.answers.get(asked, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing: the tests look at `asked`."""

    for method in ("GET", "PUT", "POST"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    with http_server(Handler, tls=tls) as identity.endpoint:
        yield identity
