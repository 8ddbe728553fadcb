"""Something limited that many take of: bytes of memory, requests to a store. Everyone gets a turn.

Pure but for futures: no I/O and no clock.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import TypeAlias

Taker: TypeAlias = Hashable
"""Whoever takes turns with the others: a connection, a stream that is read ahead, a job."""


class Grant:
    """A part of a share. It is given back when the last of its holders lets go."""

    __slots__ = ("_holders", "_share", "amount", "taker")

    def __init__(self, share: "FairShare", taker: Taker, amount: int) -> None:
        self._share = share
        self._holders = 1
        self.taker = taker
        self.amount = amount

    def hold(self) -> "Grant":
        """One more holder, who lets go by `release` as well."""
        assert self._holders > 0, "given back already"
        self._holders += 1
        return self

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for a part of the same share."""
        return self._share.has_waiting

    def release(self) -> None:
        self._holders -= 1
        assert self._holders >= 0, "released twice"
        if self._holders == 0:
            self._share._give_back(self)


class FairShare:
    """At most `total` is given out at a time, to the waiting taker that holds least.

    Invariants: `used <= total`, except that one grant larger than all of it is given out while
    nothing else is (a batch is never split). Whoever is next is not overtaken: what does not fit
    yet is waited for, so a large wish is not starved by small ones.

    `is_capped`: a taker that holds something gets no more than an even share, with one share kept
    for whoever comes next. For what is held as long as others like, as memory by a slow client.
    """

    def __init__(self, total: int, *, is_capped: bool = False) -> None:
        assert total > 0, total
        self.total = total
        self.used = 0
        self._is_capped = is_capped
        self._held: dict[Taker, int] = {}
        self._waiting: dict[Taker, deque[tuple[int, asyncio.Future[Grant]]]] = {}

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def take_now(self, taker: Taker, amount: int) -> Grant | None:
        """`amount` of it at once, if there is room and nobody waits."""
        if self._waiting or not (self._is_due(taker, amount) and self._fits(amount)):
            return None
        return self._give(taker, amount)

    async def take(self, taker: Taker, amount: int = 1) -> Grant:
        """`amount` of it, when it is this taker's turn. Cancelled, it takes nothing."""
        grant = self.take_now(taker, amount)
        if grant is not None:
            return grant
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(taker, deque()).append((amount, future))
        # With one more who waits, even shares are smaller, but others' turns may have come.
        self._serve()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().release()
            else:
                self._forget(taker, future)
            raise

    # -- inside

    def _is_due(self, taker: Taker, amount: int) -> bool:
        """Whether the taker's own share has room for it."""
        held = self._held.get(taker, 0)
        if not self._is_capped or held == 0:
            return True
        takers = len(self._held.keys() | self._waiting.keys())
        return held + amount <= self.total // (takers + 1)

    def _fits(self, amount: int) -> bool:
        return self.used == 0 or self.used + amount <= self.total

    def _give(self, taker: Taker, amount: int) -> Grant:
        self.used += amount
        self._held[taker] = self._held.get(taker, 0) + amount
        return Grant(self, taker, amount)

    def _give_back(self, grant: Grant) -> None:
        self.used -= grant.amount
        left = self._held.pop(grant.taker) - grant.amount
        assert min(self.used, left) >= 0, grant.amount
        if left > 0:
            self._held[grant.taker] = left
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        """Give to those who wait, the one that holds least first, until one has to wait on."""
        while (taker := self._next()) is not None:
            amount, future = self._waiting[taker][0]
            if not self._fits(amount):
                return
            self._pop(taker)
            if future.done():
                continue
            future.set_result(self._give(taker, amount))

    def _next(self) -> Taker | None:
        """Who is next. Of those that hold the same, it is the one whose turn is longest ago."""
        due = [
            taker for taker, wishes in self._waiting.items() if self._is_due(taker, wishes[0][0])
        ]
        return min(due, key=lambda taker: self._held.get(taker, 0), default=None)

    def _pop(self, taker: Taker) -> None:
        """Take the oldest wish of a taker off; the taker's next one waits behind all others."""
        wishes = self._waiting.pop(taker)
        wishes.popleft()
        if wishes:
            self._waiting[taker] = wishes

    def _forget(self, taker: Taker, future: "asyncio.Future[Grant]") -> None:
        wishes = self._waiting.get(taker)
        if wishes is None:
            return
        left = deque(wish for wish in wishes if wish[1] is not future)
        if left:
            self._waiting[taker] = left
        else:
            del self._waiting[taker]
        # It may have been the one that the others waited behind.
        self._serve()
