"""Connections between simulated clients and simulated nodes: bytes that are split, late or lost."""

import asyncio
import random
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from automq.broker.connection import Connection
from automq.broker.listener import Acceptor
from automq.config.listeners import Listener
from sim.loop import Call, Process, SimLoop
from sim.trace import Trace

WRITE_HIGH_BYTES = 64 * 1024
WRITE_LOW_BYTES = 16 * 1024
MS = 1e-3


class Refused(ConnectionError):
    """Nobody listens."""


@dataclass(slots=True)
class Weather:
    """How the network is just now."""

    delay_ms: tuple[float, float] = (0.05, 1.0)
    split: float = 0.1
    """How often a delivery is only a part of what is under way."""
    late: float = 0.3
    """How often bytes of a connection that its client has given up still arrive, later."""


class Direction:
    """Bytes on their way one way, delivered in order, in pieces, in the receiver's context."""

    def __init__(
        self,
        net: "Net",
        context: Context,
        receive: Callable[[bytes], int],
        on_drained: Callable[[], None],
    ) -> None:
        self._net = net
        self._context = context
        self._receive = receive
        self._on_drained = on_drained
        self._timer: Call | None = None
        self.buffer = bytearray()
        self.is_held = False
        self.is_cut = False

    def send(self, data: Iterable[Any]) -> None:
        if not self.is_cut:
            for piece in data:
                self.buffer += piece
            self._arm()

    def hold(self) -> None:
        """The receiver does not read."""
        self.is_held = True

    def release(self) -> None:
        self.is_held = False
        self._arm()

    def cut(self) -> None:
        """What is under way is lost."""
        self.is_cut = True
        self.buffer.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and self.buffer and not self.is_held and not self.is_cut:
            delay_s = self._net.chance.uniform(*self._net.weather.delay_ms) * MS
            self._timer = self._net.loop.call_later(delay_s, self._deliver, context=self._context)

    def _deliver(self) -> None:
        self._timer = None
        if self.is_cut or self.is_held or not self.buffer:
            return
        count = len(self.buffer)
        if self._net.chance.random() < self._net.weather.split:
            count = self._net.chance.randint(1, count)
        taken = self._receive(bytes(self.buffer[:count]))
        del self.buffer[:taken]
        self._arm()
        self._on_drained()


class Link:
    """One connection, seen from both ends."""

    def __init__(self, net: "Net", door: "SimDoor", number: int, client: "ClientEnd") -> None:
        self.net = net
        self.door = door
        self.process = door.process
        self.number = number
        self.client = client
        self.server = ServerTransport(self)
        self.to_server = Direction(net, self.process.context, self.server.received, lambda: None)
        self.to_client = Direction(net, net.loop.world, client.received, self._to_client_moved)
        self.client_is_told = False

    def open(self) -> None:
        """Runs in the server's context: the process accepts."""
        acceptor = self.door.acceptor
        if acceptor is None or self.to_server.is_cut:
            return
        connection = acceptor.admit(self.door.listener, f"10.0.0.{self.number % 200 + 1}")
        if connection is None:
            self.close_client()
            return
        self.server.protocol = connection
        connection.connection_made(self.server)
        self.to_server.release()

    # -- ends

    def server_closes(self) -> None:
        """The server closed: what it wrote still arrives, then the client is told."""
        self.to_server.cut()
        self._to_client_moved()

    def client_closes(self, *, late: bool) -> None:
        """The client gave up. What it sent before is lost, or (`late`) arrives all the same."""
        self.client_is_told = True
        self.to_client.cut()
        if not late:
            self.to_server.cut()
        wait_s = self.net.chance.uniform(0, 2.0) if late else 0.0
        self.net.loop.call_later(wait_s, self._tell_server, context=self.process.context)

    def breaks(self) -> None:
        """The network breaks it. Both ends learn of it, in their own time."""
        chance = self.net.chance
        self.to_server.cut()
        self.to_client.cut()
        world, context = self.net.loop.world, self.process.context
        self.net.loop.call_later(chance.uniform(0, 0.2), self.close_client, context=world)
        self.net.loop.call_later(chance.uniform(0, 5.0), self._tell_server, context=context)

    def dies_with_process(self) -> None:
        """The server's process is gone; the system closes what it had open."""
        self.to_server.cut()
        if self.net.chance.random() < 0.5:
            self.to_client.cut()
        self.server.is_closed = True
        self._to_client_moved()

    def close_client(self) -> None:
        if not self.client_is_told:
            self.client_is_told = True
            self.net.trace.note("net", f"connection {self.number} closed")
            self.client.lost()
        self.net.links.pop(self.number, None)

    def _tell_server(self) -> None:
        self.to_server.cut()
        self.net.links.pop(self.number, None)
        self.server.lose()

    def _to_client_moved(self) -> None:
        if self.server.is_closed and not self.to_client.buffer:
            self.net.loop.call_soon(self.close_client, context=self.net.loop.world)
        elif len(self.to_client.buffer) <= WRITE_LOW_BYTES:
            self.server.may_write()


class ServerTransport(asyncio.Transport):
    """What a `Connection` of the broker writes to."""

    def __init__(self, link: Link) -> None:
        super().__init__({"peername": (f"10.0.0.{link.number % 200 + 1}", 40_000 + link.number)})
        self._link = link
        self.protocol: Connection | None = None
        self.is_closed = False
        self._is_full = False

    def received(self, data: bytes) -> int:
        """Give the protocol as much of `data` as it reads; how much that was."""
        at = 0
        while at < len(data) and not self.is_closed and not self._link.to_server.is_held:
            assert self.protocol is not None
            room = memoryview(self.protocol.get_buffer(-1))
            count = min(len(room), len(data) - at)
            room[:count] = data[at : at + count]
            room.release()
            self.protocol.buffer_updated(count)
            at += count
        return at

    def write(self, data: Any) -> None:
        self.writelines([data])

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        if self.is_closed:
            return
        to_client = self._link.to_client
        to_client.send(list_of_data)
        if len(to_client.buffer) > WRITE_HIGH_BYTES and not self._is_full:
            self._is_full = True
            assert self.protocol is not None
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._link.to_client.buffer)

    def may_write(self) -> None:
        if self._is_full:
            self._is_full = False
            self._link.net.loop.call_soon(self._resume, context=self._link.process.context)

    def _resume(self) -> None:
        if not self.is_closed and self.protocol is not None:
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self._link.to_server.hold()

    def resume_reading(self) -> None:
        self._link.to_server.release()

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._link.server_closes()
        if self.protocol is not None:
            self._link.net.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self._link.to_client.cut()
        self.close()

    def lose(self) -> None:
        """The other side is gone."""
        if not self.is_closed:
            self.is_closed = True
            if self.protocol is not None:
                self.protocol.connection_lost(ConnectionResetError("connection lost"))


class ClientEnd:
    """A client's side: whole frames come out, and one word when the connection is lost."""

    def __init__(self, on_frame: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._received = bytearray()

    def received(self, data: bytes) -> int:
        self._received += data
        while len(self._received) >= 4:
            size = int.from_bytes(self._received[:4], "big")
            if len(self._received) < 4 + size:
                break
            frame = bytes(self._received[4 : 4 + size])
            del self._received[: 4 + size]
            self._on_frame(frame)
        return len(data)

    def lost(self) -> None:
        self._on_lost()


class SimDoor:
    """A listener of one incarnation of a node."""

    def __init__(self, net: "Net", process: Process, listener: Listener) -> None:
        self.net = net
        self.process = process
        self.listener = listener
        self.acceptor: Acceptor | None = None

    async def serve(self, acceptor: Acceptor) -> None:
        self.acceptor = acceptor
        self.net.doors.append(self)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.net.doors.remove(self)

    def __str__(self) -> str:
        return f"door of {self.process.name}"


class Net:
    """All connections. Clients know one address; whoever listens there answers."""

    def __init__(self, loop: SimLoop, chance: random.Random, trace: Trace) -> None:
        self.loop = loop
        self.chance = chance
        self.trace = trace
        self.weather = Weather()
        self.doors: list[SimDoor] = []
        self.links: dict[int, Link] = {}
        self.stray = 0.0
        """How often a client reaches an older incarnation than the newest that listens."""
        self._count = 0

    def connect(self, client: ClientEnd) -> Link:
        """A new connection. Raises Refused."""
        doors = [door for door in self.doors if not door.process.is_dead]
        if not doors:
            raise Refused("nobody listens")
        door = doors[-1]
        if len(doors) > 1 and self.chance.random() < self.stray:
            door = self.chance.choice(doors[:-1])
        self._count += 1
        link = Link(self, door, self._count, client)
        link.to_server.hold()  # until it is accepted
        self.links[link.number] = link
        delay_s = self.chance.uniform(*self.weather.delay_ms) * MS
        self.loop.call_later(delay_s, link.open, context=door.process.context)
        return link

    def process_died(self, process: Process) -> None:
        self.doors = [door for door in self.doors if door.process is not process]
        for link in list(self.links.values()):
            if link.process is process:
                link.dies_with_process()

    def break_some(self, probability: float) -> None:
        for link in list(self.links.values()):
            if self.chance.random() < probability:
                link.breaks()
