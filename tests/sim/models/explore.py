"""Breadth first through all states; the shortest way to one that breaks an invariant."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Explored:
    """How many states there are, or what was broken and how it came to that."""

    states: int
    broken: str | None = None
    way: tuple[str, ...] = ()


class TooManyStates(AssertionError):
    """The bounds of the model are too wide."""


def explore(
    start: S,
    moves: Callable[[S], Iterable[tuple[str, S]]],
    broken: Callable[[S], str | None],
    *,
    states_max: int = 5_000_000,
) -> Explored:
    """Visit all states that are reachable from `start`, or all until the first broken one."""
    came_from: dict[S, tuple[S, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        why = broken(state)
        if why is not None:
            return Explored(len(came_from), why, _way(came_from, state))
        for name, following in moves(state):
            if following not in came_from:
                came_from[following] = state, name
                waiting.append(following)
        if len(came_from) > states_max:
            raise TooManyStates(f"more than {states_max} states")
    return Explored(len(came_from))


def _way(came_from: dict[S, tuple[S, str] | None], state: S) -> tuple[str, ...]:
    names = []
    before = came_from[state]
    while before is not None:
        state, name = before
        names.append(name)
        before = came_from[state]
    return tuple(reversed(names))
