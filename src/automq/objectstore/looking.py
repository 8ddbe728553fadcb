"""Looking again for what seems to be missing, before anybody is told.

A store without a quorum answers 404 for an object that it has (HAZARDS 6), so one answer is no
finding. What stays away for as long as a start would wait for it, is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from automq.objectstore.errors import NotFound

T = TypeVar("T")

PATIENCE = 8
"""How often an object that must be there is asked for, with pauses that double..."""
PAUSE_S = 0.05
"""...from this one on: 13 s in all."""


class StaysAway(Exception):
    """What is needed was not there, however often it was asked for."""


class SecondLook:
    """Asks for what must be there until it is, or is needed no more.

    One look for all that was not listed: it shares the pauses, for what is asked for after them has
    been away since before the first of them. So a store that lost much is not waited for each time.
    """

    def __init__(self) -> None:
        self._pauses = 0

    async def find(
        self,
        ask: Callable[[], Awaitable[T | None]],
        is_needed: Callable[[], Awaitable[bool]] | None = None,
    ) -> T | None:
        """What `ask` finds (it returns None or raises NotFound until then); None: it is needed no
        more. Raises StaysAway.
        """
        for attempt in range(PATIENCE):
            found = await found_by(ask)
            if found is not None:
                return found
            if is_needed is not None and not await is_needed():
                return None
            if attempt >= self._pauses:
                self._pauses = attempt + 1
                await asyncio.sleep(PAUSE_S * 2**attempt)
        if is_needed is not None and not await is_needed():
            return None
        raise StaysAway

    async def is_missing(
        self,
        ask: Callable[[], Awaitable[object]],
        is_needed: Callable[[], Awaitable[bool]] | None = None,
    ) -> bool:
        """Whether it stays away, and is needed."""
        try:
            await self.find(ask, is_needed)
        except StaysAway:
            return True
        return False


async def found_by(ask: Callable[[], Awaitable[T | None]]) -> T | None:
    try:
        return await ask()
    except NotFound:
        return None
