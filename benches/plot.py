"""Series of numbers as lines of text."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 96


def picture(title: str, numbers: Sequence[float]) -> str:
    """A line of blocks from 0 to the highest number; of several numbers in a column, the worst."""
    if not numbers:
        return f"{title}: nothing was measured"
    highest = max(numbers)
    columns = (max(part) for part in parts(numbers, min(WIDTH, len(numbers))))
    blocks = "".join(LEVELS[level(number, highest)] for number in columns)
    return f"{title}: {min(numbers):,.1f} to {highest:,.1f}\n{blocks}"


def parts(row: Sequence[T], count: int) -> list[Sequence[T]]:
    """The row in `count` groups of neighbours, as even as can be."""
    bounds = [len(row) * at // count for at in range(count + 1)]
    return [row[bounds[at] : bounds[at + 1]] for at in range(count)]


def level(number: float, highest: float) -> int:
    if highest <= 0:
        return 0
    return min(len(LEVELS) - 1, int(max(0.0, number) / highest * len(LEVELS)))
