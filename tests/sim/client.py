"""A client that speaks the raw protocol over simulated connections."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from automq._native import Buf
from automq.protocol.codec import decode, encode_request, response_header_version
from sim.net import ClientEnd, Link, Refused
from sim.node import Incarnation, Node

R = TypeVar("R")

RECONNECT_S = (0.05, 0.5)


class Lost(Exception):
    """The connection ended, or there was no answer in time: what was sent may have happened."""


@dataclass(slots=True)
class View:
    """What one connection has seen of one partition: bounds that never go back."""

    high_watermark: int = -1
    log_start: int = -1


class Conversation:
    """One connection, and the requests on it. `incarnation` is who is at the other end."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[int, tuple[type[Any], int, asyncio.Future[Any]]] = {}
        self._count = 0
        self._is_deaf = False
        self.is_lost = False
        self.views: dict[int, View] = {}
        end = ClientEnd(self._on_frame, self._on_lost)
        self._link: Link = node.net.connect(end)
        process = self._link.process
        self.incarnation: Incarnation = next(
            it for it in node.incarnations if it.process is process
        )

    @property
    def is_current(self) -> bool:
        """Whether the other end is the newest incarnation, so that its word is the last."""
        return not self.incarnation.is_replaced

    def send(self, request: object, response: type[R], version: int) -> "asyncio.Future[R]":
        """Send a request; its answer. Fails with Lost when the connection does."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        if self.is_lost:
            answer.set_exception(Lost("the connection is lost"))
            answer.exception()
            return answer
        self._count += 1
        self._waiting[self._count] = (response, version, answer)
        self._link.to_server.send([encode_request(request, version, self._count, "sim")])
        return answer

    def send_unanswered(self, request: object, version: int) -> None:
        """A produce with acks=0."""
        self._count += 1
        if not self.is_lost:
            self._link.to_server.send([encode_request(request, version, self._count, "sim")])

    def send_raw(self, data: bytes) -> None:
        """Bytes that may be anything: whatever comes back from now on, nobody looks at it."""
        self._is_deaf = True
        if not self.is_lost:
            self._link.to_server.send([data])

    def close(self, *, late: bool = False) -> None:
        """Give up; `late`: what was sent may still arrive."""
        if not self.is_lost:
            self._link.client_closes(late=late)
            self._on_lost()

    def _on_frame(self, frame: bytes) -> None:
        if self._is_deaf:
            return
        number = int.from_bytes(frame[:4], "big", signed=True)
        first = next(iter(self._waiting), None)
        if number != first:
            self._node.complain(f"answer {number} came before that of request {first}")
            return
        response, version, answer = self._waiting.pop(number)
        at = 5 if response_header_version(response, version) else 4
        message = decode(response, Buf(frame), version, at)
        if not answer.done():
            answer.set_result(message)

    def _on_lost(self) -> None:
        self.is_lost = True
        waiting, self._waiting = self._waiting, {}
        for _, _, answer in waiting.values():
            if not answer.done():
                answer.set_exception(Lost("the connection is lost"))
                answer.exception()


class Client:
    """One request after the other, each on a connection that is made again when it breaks."""

    def __init__(self, node: Node, name: str, *, late: bool = False) -> None:
        self.node = node
        self.name = name
        self.late = late
        """Whether what it sent may arrive after it has given up."""
        self._conversation: Conversation | None = None

    async def conversation(self) -> Conversation:
        """A connection; waits for somebody to listen."""
        while self._conversation is None or self._conversation.is_lost:
            try:
                self._conversation = Conversation(self.node)
            except Refused:
                await asyncio.sleep(self.node.net.chance.uniform(*RECONNECT_S))
        return self._conversation

    async def ask(
        self,
        request: object,
        response: type[R],
        version: int,
        *,
        within_s: float = 10.0,
        check: Callable[[Conversation, R], None] | None = None,
    ) -> R:
        """The answer to one request. Raises Lost; the connection is closed then."""
        conversation = await self.conversation()
        answer = conversation.send(request, response, version)
        try:
            async with asyncio.timeout(within_s):
                got = await answer
        except TimeoutError:
            self.node.trace.note(self.name, f"gives up {type(request).__name__}")
            conversation.close(late=self.late and self._is_late())
            raise Lost("no answer in time") from None
        if check is not None:
            check(conversation, got)
        return got

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.close(late=self.late and self._is_late())

    def _is_late(self) -> bool:
        return self.node.net.chance.random() < self.node.net.weather.late
