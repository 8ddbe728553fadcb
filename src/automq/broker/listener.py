"""Accepting connections: addresses, socket options and limits under Kafka's names."""

import asyncio
import logging
import socket
from collections import Counter
from dataclasses import dataclass

from automq.broker.connection import Connection, Requests, Writes
from automq.broker.memory import RequestMemory
from automq.config.listeners import Listener
from automq.world import Clock

log = logging.getLogger(__name__)

IDLE_SWEEPS = 4
ACCEPT_RETRY_S = 0.1
DRAIN_POLL_S = 0.02
SECOND_MS = 1000
STALL_LOOK_S = 10.0
STALLED_WANTED_MS = 30_000.0
"""As long as clients wait for an answer (`request.timeout.ms`): what is not taken by then, its
client asks for again.
"""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Kafka's socket settings; -1 leaves a buffer to the system."""

    send_buffer_bytes: int
    receive_buffer_bytes: int
    backlog: int
    request_bytes_max: int
    connections_max: int
    connections_per_ip_max: int
    connections_per_ip_overrides: dict[str, int]
    creation_rate_max: int
    idle_max_ms: int


class Acceptor:
    """All connections of a broker, over all its listeners.

    `max.connections` is waited for (nothing is accepted meanwhile, KIP-402);
    `max.connections.per.ip` is refused at once (KIP-308); who comes faster than
    `max.connection.creation.rate` waits (KIP-612).
    """

    def __init__(
        self, *, limits: SocketLimits, requests: Requests, memory: RequestMemory, clock: Clock
    ) -> None:
        self.connections: dict[Connection, None] = {}
        self.refused = 0
        self.limits = limits
        self._requests = requests
        self._memory = memory
        self._writes = Writes()
        self._clock = clock
        self._next_id = 0
        self._per_host: Counter[str] = Counter()
        self._next_due_ms = 0.0
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def serve(self, listener: Listener, listening: socket.socket) -> None:
        """Accept connections of `listener` until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_room.wait()
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                # Out of file descriptors, or a client that left again: neither ends a listener.
                log.warning("listener %s: accept failed: %s", listener.name, error)
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            try:
                await self._until_its_turn()
            except asyncio.CancelledError:
                accepted.close()
                raise
            await self._connect(listener, accepted, address[0])

    async def _until_its_turn(self) -> None:
        """Wait for room (another listener may have taken it meanwhile), and by the rate."""
        while not self._has_room.is_set():
            await self._has_room.wait()
        now_ms = self._clock.monotonic_ms()
        # A second's worth may come at once.
        earliest_ms = max(self._next_due_ms, now_ms - SECOND_MS)
        self._next_due_ms = earliest_ms + SECOND_MS / max(1, self.limits.creation_rate_max)
        if self._next_due_ms > now_ms:
            await asyncio.sleep((self._next_due_ms - now_ms) / SECOND_MS)

    async def close_idle(self) -> None:
        """Close connections that have been idle too long (`connections.max.idle.ms`)."""
        while self.limits.idle_max_ms > 0:
            await asyncio.sleep(self.limits.idle_max_ms / 1000 / IDLE_SWEEPS)
            oldest_ms = self._clock.monotonic_ms() - self.limits.idle_max_ms
            for connection in list(self.connections):
                if connection.is_idle and connection.last_active_ms < oldest_ms:
                    connection.abort()

    async def close_stalled(self) -> None:
        """Close connections whose clients take nothing of what they have asked for.

        Invariant: nobody waits longer than `STALLED_WANTED_MS` and a look for memory for reads that
        is held for a client which takes nothing. Where nobody waits such a client has as long as an
        idle one (`connections.max.idle.ms`).
        """
        while True:
            await asyncio.sleep(STALL_LOOK_S)
            now_ms = self._clock.monotonic_ms()
            for connection in list(self.connections):
                stalled_ms = connection.stalled_ms(now_ms)
                if stalled_ms > self._patience_ms(connection):
                    log.warning(
                        "closing connection from %s: its client has taken nothing for %.0f s of an "
                        "answer that waits for it; it may ask again",
                        *(connection.peer_host, stalled_ms / SECOND_MS),
                    )
                    connection.abort()

    def _patience_ms(self, connection: Connection) -> float:
        idle_ms = float(self.limits.idle_max_ms)
        patience_ms = idle_ms if idle_ms > 0 else float("inf")
        if connection.holds_what_others_want:
            return min(patience_ms, STALLED_WANTED_MS)
        return patience_ms

    async def drain(self, patience_s: float) -> None:
        """Answer what has been asked, then close; what takes longer is cut off."""
        deadline_ms = self._clock.monotonic_ms() + patience_s * 1000
        while self._clock.monotonic_ms() < deadline_ms:
            for connection in list(self.connections):
                if connection.is_idle or connection.waits_for_data:
                    connection.close()
            if not self.connections:
                return
            await asyncio.sleep(DRAIN_POLL_S)
        self.close_all()

    def close_all(self) -> None:
        for connection in list(self.connections):
            connection.close()

    def admit(self, listener: Listener, host: str) -> Connection | None:
        """The protocol object of a new client at `host`; None if it has too many (KIP-308)."""
        limits = self.limits
        host_max = limits.connections_per_ip_overrides.get(host, limits.connections_per_ip_max)
        if self._per_host[host] >= host_max:
            self.refused += 1
            log.warning("refused a connection from %s: it has %d already", host, host_max)
            return None
        connection = Connection(
            requests=self._requests,
            listener=listener,
            memory=self._memory,
            writes=self._writes,
            clock=self._clock,
            frame_bytes_max=limits.request_bytes_max,
            connection_id=self._next_id,
            on_closed=lambda gone: self._forget(gone, host),
        )
        self._next_id += 1
        self._per_host[host] += 1
        self.connections[connection] = None
        if len(self.connections) >= limits.connections_max:
            self._has_room.clear()
        return connection

    async def _connect(self, listener: Listener, accepted: socket.socket, host: str) -> None:
        connection = self.admit(listener, host)
        if connection is None:
            accepted.close()
            return
        tune(accepted, self.limits)
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:
            log.warning("lost a connection from %s: %s", host, error)
            connection.close()

    def _forget(self, connection: Connection, host: str) -> None:
        self.connections.pop(connection, None)
        self._per_host[host] -= 1
        if self._per_host[host] <= 0:
            del self._per_host[host]
        if len(self.connections) < self.limits.connections_max:
            self._has_room.set()


def listen(listener: Listener, backlog: int, receive_buffer_bytes: int) -> socket.socket:
    """A listening socket for `listener`. Raises OSError, which names the address."""
    host = listener.host or "0.0.0.0"  # noqa: S104  an empty host is Kafka's "all interfaces"
    family, _, _, _, address = socket.getaddrinfo(host, listener.port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer_bytes != -1:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        where = f"cannot listen on {host}:{listener.port}"
        raise OSError(error.errno, f"{where}: {error.strerror}") from None
    return listening


def tune(accepted: socket.socket, limits: SocketLimits) -> None:
    accepted.setblocking(False)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if limits.send_buffer_bytes != -1:
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)
