"""Making a machine from its log without stopping the loop (HAZARDS: 2 million records take 10 s).

A native pass keeps the last record of each key; only those are decoded here, in short slices.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from automq._native import Buf, keep_last_by_key
from automq.coordinator.machine import Machine
from automq.world import Clock

log = logging.getLogger(__name__)

SLICE_MS = 5


async def load(machine: Machine, pieces: AsyncIterator[Buf], clock: Clock, *, name: str) -> None:
    """Apply every stored record to a fresh machine. Raises what reading raises.

    Records of one piece whose key comes again in the piece are never looked at: a record says what
    is now, so only the last of a key counts.
    """
    start_ms = slice_start_ms = clock.monotonic_ms()
    applied = unknown = 0
    async for piece in pieces:
        for stored in keep_last_by_key(piece):
            record = None if stored.key is None else machine.parse(stored.key, stored.value)
            if record is None:
                unknown += 1
            else:
                record.apply(machine)
                applied += 1
            if clock.monotonic_ms() - slice_start_ms >= SLICE_MS:
                await asyncio.sleep(0)
                slice_start_ms = clock.monotonic_ms()
    if unknown:
        log.warning("%s: %d records of unknown types were left alone", name, unknown)
    took_ms = clock.monotonic_ms() - start_ms
    log.info("%s: loaded %d records in %d ms", name, applied, took_ms)
