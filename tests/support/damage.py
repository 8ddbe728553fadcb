"""Damaged input for parsers: whatever arrives, they answer or refuse; nothing else, and soon."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS_MAX = 2.0
EDGES = [0, 1, -1, 127, 128, 255, 2**15 - 1, -(2**15), 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]

Parse = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Target:
    """A parser of bytes from outside.

    `draw` gives an input that is good, and what parses it; `refusals` are the exceptions with which
    bad input may be answered.
    """

    name: str
    draw: Callable[[random.Random], tuple[bytes, Parse]]
    refusals: tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that broke a parser, and how."""

    target: str
    data: bytes
    problem: str

    def __str__(self) -> str:
        return f"{self.target}: {self.problem} for {self.data.hex()}"


def damaged(data: bytes, chance: random.Random) -> bytes:
    """`data` after one to four small accidents."""
    bytes_left = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        accident = chance.choice([_flip, _cut, _insert, _overwrite, _repeat])
        accident(bytes_left, chance)
    return bytes(bytes_left)


def first_failure(target: Target, chance: random.Random, rounds: int) -> Failure | None:
    """Feeds `rounds` damaged inputs; the first that the target neither takes nor refuses."""
    for _ in range(rounds):
        good, parse = target.draw(chance)
        data = damaged(good, chance)
        started = time.monotonic()
        try:
            parse(data)
        except target.refusals:
            pass
        except Exception as error:
            return Failure(target.name, data, f"{type(error).__name__}: {error}")
        if time.monotonic() - started > SECONDS_MAX:
            return Failure(target.name, data, "took too long")
    return None


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: random.Random) -> None:
    start = chance.randint(0, len(data))
    del data[start : chance.choice([start + 1, start + 4, len(data)])]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    data[at:at] = chance.randbytes(chance.choice([1, 2, 4, 8]))


def _overwrite(data: bytearray, chance: random.Random) -> None:
    size = chance.choice([1, 2, 4, 8])
    number = chance.choice(EDGES) & ((1 << (8 * size)) - 1)
    at = chance.randint(0, len(data))
    data[at : at + size] = number.to_bytes(size, "big")


def _repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randint(0, len(data))
    piece = data[start : start + chance.choice([1, 8, 64])]
    data[start:start] = piece * chance.randint(1, 8)
