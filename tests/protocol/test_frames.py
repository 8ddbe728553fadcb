"""Frames, as an event loop drives them."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automq._native import Buf
from automq.protocol.codec import Frames, FrameTooLarge

MAX_BYTES = 1 << 20


def framed(*bodies: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(body)) + body for body in bodies)


def feed(frames: Frames, data: bytes, step: int) -> list[bytes]:
    """What `data`, arriving at most `step` bytes at a time, completes."""
    found: list[Buf] = []
    at = 0
    while at < len(data):
        with memoryview(frames.get_buffer(-1)) as room:
            count = min(step, len(room), len(data) - at)
            room[:count] = data[at : at + count]
        found += frames.received(count)
        at += count
    return [bytes(each) for each in found]


@given(st.lists(st.integers(0, 9000), max_size=12), st.integers(1, 9000))
def test_frames_come_out_whole_however_they_arrive(sizes: list[int], step: int) -> None:
    bodies = [bytes([index + 1]) * size for index, size in enumerate(sizes)]

    assert feed(Frames(MAX_BYTES), framed(*bodies), step) == bodies


def test_a_frame_stays_as_it_is_while_others_arrive() -> None:
    frames = Frames(MAX_BYTES)
    first = frames_of(frames, framed(b"a" * 100))[0]

    feed(frames, framed(*[b"b" * 3000] * 100), 5000)

    assert bytes(first) == b"a" * 100


def frames_of(frames: Frames, data: bytes) -> list[Buf]:
    memoryview(frames.get_buffer(-1))[: len(data)] = data
    return frames.received(len(data))


def test_a_large_frame_gets_exactly_the_room_it_misses() -> None:
    frames = Frames(MAX_BYTES)

    frames_of(frames, struct.pack(">i", 500_000) + b"x" * 1000)

    assert len(frames.get_buffer(-1)) == 499_000


@pytest.mark.parametrize("size", [-1, -(2**31), MAX_BYTES + 1, 2**31 - 1])
def test_a_length_below_zero_or_above_the_limit_is_refused(size: int) -> None:
    frames = Frames(MAX_BYTES)

    with pytest.raises(FrameTooLarge) as refusal:
        frames_of(frames, struct.pack(">i", size))

    assert refusal.value.args == (size, MAX_BYTES)
    assert len(frames) <= 4096


def test_more_than_there_was_room_for_cannot_have_been_received() -> None:
    frames = Frames(MAX_BYTES)

    with pytest.raises(ValueError, match="5000 bytes cannot be in 4096"):
        frames.received(5000)


class Receiver(asyncio.BufferedProtocol):
    """Collects frames until the peer closes."""

    def __init__(self) -> None:
        self.frames = Frames(MAX_BYTES)
        self.found: list[Buf] = []
        self.closed = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> Frames:
        return self.frames.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self.found += self.frames.received(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


async def test_an_event_loop_reads_straight_into_frames() -> None:
    bodies = [b"a" * 10, b"b" * 300_000, b"", b"c" * 5000]
    loop = asyncio.get_running_loop()
    receiver = Receiver()
    server = await loop.create_server(lambda: receiver, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    _, writer = await asyncio.open_connection(host, port)

    writer.write(framed(*bodies))
    writer.close()
    await writer.wait_closed()
    await receiver.closed
    server.close()

    assert [bytes(each) for each in receiver.found] == bodies
