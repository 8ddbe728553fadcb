"""Runs: plain Produce requests that follow each other, done at once by the native core.

`broker/apis/produce.py` is the one source of truth of what a Produce request does. What it has
appended it lends to the core (`Partition._lend`): the active segment, and the producer that goes on
there. From then on a request that needs no decision costs no Python; the first one that does need
one, for whatever reason, ends the run and goes the general way.
"""

import logging
from functools import partial
from typing import TYPE_CHECKING

from automq._native import Buf, Run
from automq.broker.connection import Slot

if TYPE_CHECKING:
    from automq.broker.broker import Broker

log = logging.getLogger(__name__)


class Runs:
    """Starts and answers runs on behalf of all connections."""

    def __init__(self, broker: "Broker") -> None:
        self._engine = broker.engine
        self._metrics = broker.metrics
        self._clock = broker.world.clock
        self._produce = broker.engine.producing.produce

    def start(self, frames: list[Buf]) -> Run | None:
        """Append the plain requests that `frames` begin with; None when the first is not plain.

        Back-pressure is for the general way: what has no room now is not begun here.
        """
        return self._produce(
            frames,
            now_ms=self._clock.now_ms(),
            room_bytes=self._engine.room_bytes(),
        )

    def answer(self, slot: Slot, run: Run) -> None:
        """Invariant: the answers leave only once all that `run` appended is durable."""
        if run.mistake is not None:
            log.error("the write-ahead log refused a batch", exc_info=run.mistake)
            self._metrics.unexpected_errors += 1
        self._engine.appended(run, partial(slot.answer, [run.answers]))
