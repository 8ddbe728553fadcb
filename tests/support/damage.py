"""Damaged input for parsers: whatever arrives, they answer or refuse; nothing else, and soon."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS_MAX = 2.0
OUTCOME_MAX, OUTCOMES_MAX = 200, 100
INPUT_BYTES_MAX = 20_000
NUMBERS = re.compile(r"[0-9a-f]{16,}|\d+|'[^']*'|\[[^]]*\]")
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
    case: "Case"
    problem: str

    def __str__(self) -> str:
        return f"{self.target}: {self.problem} for {self.case}"


@dataclass(frozen=True, slots=True)
class Case:
    """An input of a target: what `draw` makes of a seed, with these bytes in place of good ones."""

    seed: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.seed} {self.data.hex()}"


def read_cases(path: Path) -> list[Case]:
    """The kept inputs of a target, one a line; none if there is no such file."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    parts = [line.split(" ") for line in lines]
    return [Case(int(seed), bytes.fromhex(data)) for seed, data in parts]


def outcome(target: Target, case: Case) -> str | Failure:
    """In which way the target takes or refuses an input: its message, without its numbers."""
    _, parse = target.draw(random.Random(case.seed))
    started = time.monotonic()
    try:
        parse(case.data)
    except target.refusals as refusal:
        found = f"{type(refusal).__name__}: {NUMBERS.sub('#', str(refusal))}"[:OUTCOME_MAX]
    except Exception as error:
        return Failure(target.name, case, f"{type(error).__name__}: {error}")
    else:
        found = "taken"
    if time.monotonic() - started > SECONDS_MAX:
        return Failure(target.name, case, "took too long")
    return found


def damaged(data: bytes, chance: random.Random) -> bytes:
    """`data` after one to four small accidents."""
    bytes_left = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        accident = chance.choice([_flip, _cut, _insert, _overwrite, _repeat])
        accident(bytes_left, chance)
    return bytes(bytes_left)


def first_failure(
    target: Target,
    chance: random.Random,
    rounds: int,
    known: dict[str, Case] | None = None,
) -> Failure | None:
    """Feeds `rounds` damaged inputs; the first that the target neither takes nor refuses.

    `known` are inputs by outcome: half of the rounds damage one of them further, which leads deeper
    than damage to good input, and an input with a new outcome is added.
    """
    known = {} if known is None else known
    for _ in range(rounds):
        seed = chance.getrandbits(32)
        good, _ = target.draw(random.Random(seed))
        if known and chance.random() < 0.5:
            kept = known[chance.choice(sorted(known))]
            seed, good = kept.seed, kept.data
        case = Case(seed, damaged(good, chance)[:INPUT_BYTES_MAX])
        found = outcome(target, case)
        if isinstance(found, Failure):
            return found
        if len(known) < OUTCOMES_MAX:
            known.setdefault(found, case)
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
