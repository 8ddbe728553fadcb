"""Looking again for what seems to be missing, before anybody is told.

A store without a quorum answers 404 for an object that it has (HAZARDS 6), so one answer is no
finding. What stays away for as long as a start would wait for it, is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from automq.stream.wal.object_marks import PATIENCE, PAUSE_S

T = TypeVar("T")


class SecondLook:
    """Asks for what must be there as often, and with the pauses, that a taker of a log does.

    One look for all that was not listed: it shares the pauses, 13 s in all, for what is asked for
    after them has been away since before the first of them. So a store that lost much is not waited
    for each time.
    """

    def __init__(self) -> None:
        self._pauses = 0

    async def find(
        self,
        ask: Callable[[], Awaitable[T | None]],
        is_needed: Callable[[], Awaitable[bool]] | None = None,
    ) -> T | None:
        """What `ask` finds, asked until it does; None if it does not, or is needed no more."""
        for attempt in range(PATIENCE):
            found = await ask()
            if found is not None:
                return found
            if is_needed is not None and not await is_needed():
                return None
            if attempt >= self._pauses:
                self._pauses = attempt + 1
                await asyncio.sleep(PAUSE_S * 2**attempt)
        return None
