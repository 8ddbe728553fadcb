"""HTTP servers of the tests' own: a handler on a free port, in a thread, for a `with` block."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

POLL_S = 0.02


class Quiet(ThreadingHTTPServer):
    """A client that hangs up, or is killed, is no news."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A broken pipe."""


@contextmanager
def http_server(
    handler: type[BaseHTTPRequestHandler],
    *,
    tls: ssl.SSLContext | None = None,
    server: type[ThreadingHTTPServer] = ThreadingHTTPServer,
) -> Iterator[str]:
    """The endpoint at which `handler` answers, each request in a thread of its own."""
    listening = server(("127.0.0.1", 0), handler)
    listening.daemon_threads = True
    if tls is not None:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": POLL_S})
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
