"""Marks in rare paths, so that a simulation can tell which of them its seeds have ever reached.

A path that no night of seeds has taken is a path that nothing has proven. Marks stand only where
something unusual happens anyway (a lost race, a fence, a repeat), never on the hot path, and
nothing listens in production: a mark is then a call that returns at once, some 50 ns.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

_listeners: list[Listener] = []


def probe(what: str) -> None:
    """Note that `what` has happened: a constant sentence, the same at one place in the code."""
    for listener in _listeners:
        listener(what)


@contextmanager
def probed(listener: Listener) -> Iterator[None]:
    """Meanwhile `listener` hears of every mark that is passed, in this process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
