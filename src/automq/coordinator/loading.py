"""Making a machine from its log without stopping the loop.

Decoding every record in Python costs 10 s for two million of them, on the loop that also serves
produce. So a native pass keeps the last record of each key, and only those are decoded here, in
short slices.
"""

import asyncio
from collections.abc import AsyncIterator

from automq._native import BatchTooLarge, Buf, CorruptBatch, LastByKey
from automq.coordinator.machine import Machine
from automq.protocol import errors
from automq.telemetry import Log
from automq.world import Clock

log = Log("coordinator")

SLICE_MS = 5


async def load(machine: Machine, pieces: AsyncIterator[Buf], clock: Clock, *, name: str) -> None:
    """Apply what the log says to a fresh machine: only the last record of a key counts.

    Raises CorruptMessage for bytes that cannot be read, and what reading raises.
    """
    start_ms = clock.monotonic_ms()
    gathered = LastByKey()
    async for piece in pieces:
        try:
            gathered.add(piece)
        except (CorruptBatch, BatchTooLarge) as error:
            raise errors.CorruptMessage(f"{name}: {error}") from error
        await asyncio.sleep(0)
    last, of_open_transactions = gathered.take()
    unknown = len(of_open_transactions)
    slice_start_ms = clock.monotonic_ms()
    for stored in last:
        record = None if stored.key is None else machine.parse(stored.key, stored.value)
        if record is None:
            unknown += 1
        else:
            record.apply(machine)
        if clock.monotonic_ms() - slice_start_ms >= SLICE_MS:
            await asyncio.sleep(0)
            slice_start_ms = clock.monotonic_ms()
    if unknown:
        log.warning("records of unknown kinds left alone", shard=name, records=unknown)
    took_ms = clock.monotonic_ms() - start_ms
    say = log.info if last else log.debug
    say("shard loaded", shard=name, keys=len(last), took_ms=round(took_ms))
