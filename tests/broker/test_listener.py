"""Accepting on real sockets: limits that are waited for, limits that refuse, addresses."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from automq._native import Buf, Run
from automq.broker.connection import Connection, Slot
from automq.broker.listener import Acceptor, SocketLimits, listen
from automq.broker.memory import RequestMemory
from automq.config.listeners import Listener, SecurityProtocol
from automq.world.clock import SystemClock
from support.server import free_port

LIMITS = SocketLimits(
    send_buffer_bytes=-1,
    receive_buffer_bytes=-1,
    backlog=50,
    request_bytes_max=1000,
    connections_max=1000,
    connections_per_ip_max=1000,
    connections_per_ip_overrides={},
    creation_rate_max=10**9,
    idle_max_ms=-1,
)


class Echo:
    """Answers every request with its own bytes."""

    def start(self, slot: Slot, frame: Buf) -> bool:
        slot.answer([len(frame).to_bytes(4, "big"), frame])
        return True

    def start_run(self, frames: list[Buf]) -> None:
        return None

    def answer_run(self, slot: Slot, run: Run) -> None:
        raise AssertionError("no run was started")

    def closed(self, connection: Connection) -> None:
        pass


@asynccontextmanager
async def accepting(limits: SocketLimits, doors: int = 1) -> AsyncIterator[list[int]]:
    """An acceptor on `doors` listeners of this machine; their ports."""
    acceptor = Acceptor(
        limits=limits, requests=Echo(), memory=RequestMemory(10**6), clock=SystemClock()
    )
    listeners = [
        Listener(f"L{number}", "127.0.0.1", free_port(), SecurityProtocol.PLAINTEXT)
        for number in range(doors)
    ]
    sockets = [listen(listener, 50, -1) for listener in listeners]
    serving = [
        asyncio.create_task(acceptor.serve(listener, listening))
        for listener, listening in zip(listeners, sockets, strict=True)
    ]
    try:
        yield [listener.port for listener in listeners]
    finally:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        acceptor.close_all()
        for listening in sockets:
            listening.close()
        await asyncio.sleep(0)


REQUEST = b"\0\x12\0\0\0\0\0\x07\xff\xff"
FRAME = len(REQUEST).to_bytes(4, "big") + REQUEST


class Client:
    """Connects, and asks for an echo."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        writer.write(FRAME)

    async def is_served(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await self.reader.readexactly(len(FRAME)) == FRAME
        except TimeoutError:
            return False

    def close(self) -> None:
        self.writer.close()


async def knock(port: int) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port))


async def test_connections_over_max_connections_wait_until_one_is_closed() -> None:
    async with accepting(replace(LIMITS, connections_max=2)) as [port]:
        clients = [await knock(port) for _ in range(3)]
        assert await clients[0].is_served(5)
        assert await clients[1].is_served(5)
        assert not await clients[2].is_served(0.2)
        clients[0].close()
        assert await clients[2].is_served(5)
        for client in clients:
            client.close()


async def test_max_connections_counts_all_listeners_together() -> None:
    async with accepting(replace(LIMITS, connections_max=1), doors=2) as [one, other]:
        first = await knock(one)
        assert await first.is_served(5)
        second = await knock(other)
        assert not await second.is_served(0.2)
        first.close()
        assert await second.is_served(5)
        second.close()


async def test_a_host_over_its_number_is_closed_at_once() -> None:
    async with accepting(replace(LIMITS, connections_per_ip_max=1)) as [port]:
        first = await knock(port)
        assert await first.is_served(5)
        second = await knock(port)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await second.is_served(5)
        first.close()
        second.close()


async def test_connections_that_come_too_fast_are_spread_over_time() -> None:
    async with accepting(replace(LIMITS, creation_rate_max=4)) as [port]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        clients = [await knock(port) for _ in range(6)]
        for client in clients:
            assert await client.is_served(10)
        assert 0.4 < loop.time() - began < 5
        for client in clients:
            client.close()


def test_a_port_in_use_names_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        listener = Listener("PLAINTEXT", "127.0.0.1", port, SecurityProtocol.PLAINTEXT)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address already"):
            listen(listener, 50, -1)


def test_a_budget_of_request_bytes_wakes_whoever_waits_once_there_is_room() -> None:
    memory = RequestMemory(100)
    woken: list[str] = []
    memory.take(150)
    memory.when_there_is_room(lambda: woken.append("a"))
    memory.give_back(40)
    assert (memory.is_overdrawn, woken) == (True, [])
    memory.give_back(10)
    assert (memory.is_overdrawn, woken) == (False, ["a"])
    memory.give_back(100)
    assert woken == ["a"]
