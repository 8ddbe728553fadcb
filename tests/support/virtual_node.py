"""A whole node in virtual time: simulated disk and store, clients without sockets.

The node is assembled as in production (`node.parts.assemble`); what it is given in place of this
machine are the twins of disk and store, and transports in memory.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from automq.broker.broker import Broker
from automq.broker.connection import Connection
from automq.broker.listener import Acceptor
from automq.config.listeners import Listener
from automq.config.node_config import NodeConfig
from automq.controller.topics import TopicWish
from automq.metadata.register import ObjectStoreRegister
from automq.node.parts import NodeParts, assemble
from automq.node.places import Places
from automq.node.storage import WalPlaces
from automq.protocol.apis import APIS
from automq.protocol.codec import decode, encode_request, response_header_version
from support.raw_client import Closed
from support.storage import Machine

HIGH_WATER_BYTES = 64 * 1024
ANSWER_S = 3600.0


class MemoryTransport(asyncio.Transport):
    """The broker's end of a connection. The client's end is `VirtualClient`."""

    def __init__(self, client: "VirtualClient", host: str) -> None:
        super().__init__({"peername": (host, 1)})
        self._client = client
        self._unread = bytearray()
        self.is_paused = False
        self.closed = False

    def write(self, data: Any) -> None:
        if self.closed:
            return
        self._unread += bytes(data)
        self.flow()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(map(bytes, list_of_data)))

    def flow(self) -> None:
        """Hand over what the client reads; tell the broker when it takes too little."""
        connection = self._client.connection
        if self._client.reads:
            data, self._unread = bytes(self._unread), bytearray()
            self._client.got(data)
            connection.resume_writing()
        elif len(self._unread) > HIGH_WATER_BYTES:
            connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._unread)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False
        asyncio.get_running_loop().call_soon(self._client.feed)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._client.lost)

    def abort(self) -> None:
        self.close()


class VirtualClient:
    """One client: sends requests of any version, reads (or does not read) the answers."""

    def __init__(
        self, acceptor: Acceptor, listener: Listener, host: str = "127.0.0.1", *, name: str = "me"
    ) -> None:
        connection = acceptor.admit(listener, host)
        if connection is None:
            raise Closed
        self.connection: Connection = connection
        self.name = name
        self.reads = True
        self.is_closed = asyncio.Event()
        self._to_send = bytearray()
        self._received = bytearray()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._frames: deque[bytes] = deque()
        self._numbers = itertools.count(1)
        self.transport = MemoryTransport(self, host)
        connection.connection_made(self.transport)

    # -- sending

    def send_bytes(self, data: bytes) -> None:
        self._to_send += data
        self.feed()

    def send(self, request: Any, version: int | None = None) -> "Answer":
        """Send a request at once; its answer is waited for later, in the order of the requests."""
        wanted = request.VALID_VERSIONS[1] if version is None else version
        number = next(self._numbers)
        self.send_bytes(encode_request(request, wanted, number, self.name))
        return Answer(self, APIS[request.API_KEY].response_class(), wanted, number)

    async def ask(self, request: Any, version: int | None = None) -> Any:
        return await self.send(request, version).wait()

    def feed(self) -> None:
        """Let the broker read what was sent, as much as it takes."""
        while self._to_send and not self.transport.is_paused and not self.transport.closed:
            view = memoryview(self.connection.get_buffer(-1))
            count = min(len(view), len(self._to_send))
            view[:count] = self._to_send[:count]
            view.release()
            del self._to_send[:count]
            self.connection.buffer_updated(count)

    @property
    def unsent_bytes(self) -> int:
        """What the broker does not read."""
        return len(self._to_send)

    # -- receiving

    def read_again(self) -> None:
        self.reads = True
        self.transport.flow()

    def got(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= 4:
            size = int.from_bytes(self._received[:4], "big")
            if len(self._received) < 4 + size:
                return
            self._frames.append(bytes(self._received[4 : 4 + size]))
            del self._received[: 4 + size]
            self._serve()

    def lost(self) -> None:
        self.is_closed.set()
        self.connection.connection_lost(None)
        self._serve()

    async def receive(self) -> bytes:
        """The next answer, its header included. Raises Closed."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._serve()
        async with asyncio.timeout(ANSWER_S):
            return await future

    def _serve(self) -> None:
        while self._waiting and (self._frames or self.is_closed.is_set()):
            future = self._waiting.popleft()
            if future.done():
                continue
            if self._frames:
                future.set_result(self._frames.popleft())
            else:
                future.set_exception(Closed())

    def close(self) -> None:
        """The client goes away."""
        self.transport.closed = True
        self.lost()


@dataclass(frozen=True, slots=True)
class Answer:
    """The place of an answer among those of its connection."""

    client: VirtualClient
    response: type[Any]
    version: int
    number: int

    async def wait(self) -> Any:
        body = await self.client.receive()
        assert int.from_bytes(body[:4], "big") == self.number, "answers come in order"
        flexible = response_header_version(self.response, self.version) == 1
        return decode(self.response, body, self.version, 5 if flexible else 4)


@dataclass(slots=True)
class VirtualNode:
    """A running node."""

    machine: Machine
    config: NodeConfig
    parts: NodeParts
    tasks: asyncio.TaskGroup
    clients: list[VirtualClient] = field(default_factory=list)

    @property
    def broker(self) -> Broker:
        return self.parts.broker

    def client(self, host: str = "127.0.0.1") -> VirtualClient:
        """A new connection. Raises Closed if it is refused."""
        client = VirtualClient(self.parts.acceptor, self.config.listeners[0], host)
        self.clients.append(client)
        return client

    async def create_topic(self, name: str = "t", partitions: int = 1, **configs: str) -> bytes:
        """A topic; its id. Underscores in `configs` stand for dots."""
        texts = {key.replace("_", "."): value for key, value in configs.items()}
        wish = TopicWish(name, self.machine.world.new_uuid(), partitions, 1, configs=texts)
        made = await self.parts.controller.create_topic(wish, validate_only=False)
        return made.topic_id


class Died(Exception):
    """The node is gone, without a word."""


@asynccontextmanager
async def virtual_node(
    machine: Machine, *settings: str, wals: WalPlaces | None = None
) -> AsyncIterator[VirtualNode]:
    """One life of a node for the time of a `with` block, which ends as a power cut does.

    Its WALs are at `wals`, else on the machine's disk.
    """
    config = NodeConfig.load(overrides=["automq.data.dir=/nowhere", *settings])
    register = ObjectStoreRegister(machine.store)
    places = Places(machine.store, register, wals or (lambda *_: machine.disk), doors=())
    wal_id = -1
    try:
        async with asyncio.TaskGroup() as tasks:
            parts = await assemble(config, machine.world, tasks, places)
            wal_id = parts.engine.wal.wal_id
            yield VirtualNode(machine, config, parts, tasks)
            raise Died
    except* Died:
        if wal_id in machine.disk.ids:
            machine.disk.crash(wal_id)
