"""How long small and large objects take, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from automq.objectstore.check.trial import Trial, patiently
from automq.world import Clock

SMALL_BYTES = 4 << 10
LARGE_BYTES = 8 << 20
SMALL_OBJECTS = 100
LARGE_OBJECTS = 12
AT_ONCE = 4
SERIES_MS_MAX = 6_000
"""A series that takes longer ends early: a slow store has shown by then that it is."""


@dataclass(frozen=True, slots=True)
class Speed:
    """A series of one operation on objects of one size, some under way at any time."""

    operation: str
    size_bytes: int
    count: int
    p50_ms: float
    p99_ms: float
    mib_per_s: float


async def measure(trial: Trial) -> list[Speed]:
    """Writes and reads of small and of large objects."""
    speeds = []
    for size_bytes, count in ((SMALL_BYTES, SMALL_OBJECTS), (LARGE_BYTES, LARGE_OBJECTS)):
        data = trial.world.chance.randbytes(size_bytes)
        keys = [trial.key(f"speed/{size_bytes}-{number:03}") for number in range(count)]

        def put(number: int, keys: list[str] = keys, data: bytes = data) -> Awaitable[object]:
            return patiently(lambda: trial.by(number).put(keys[number], [data]))

        def get(number: int, keys: list[str] = keys) -> Awaitable[object]:
            return patiently(lambda: trial.by(number).get(keys[number]))

        clock = trial.world.clock
        written = await series(clock, "put", size_bytes, count, put)
        speeds += [written, await series(clock, "get", size_bytes, written.count, get)]
    return speeds


async def series(
    clock: Clock,
    operation: str,
    size_bytes: int,
    count: int,
    call: Callable[[int], Awaitable[object]],
    *,
    at_once: int = AT_ONCE,
) -> Speed:
    """Call it with each number up to `count`, or until that takes too long."""
    now_ms = clock.monotonic_ms
    started_ms = now_ms()
    took_ms: list[float] = []

    async def work(numbers: Iterator[int]) -> None:
        for number in numbers:
            begun_ms = now_ms()
            await call(number)
            took_ms.append(now_ms() - begun_ms)
            if now_ms() - started_ms > SERIES_MS_MAX:
                return

    numbers = iter(range(count))
    await asyncio.gather(*(work(numbers) for _ in range(at_once)))
    seconds = max(now_ms() - started_ms, 0.001) / 1000
    in_order = sorted(took_ms)
    return Speed(
        operation,
        size_bytes,
        len(in_order),
        in_order[len(in_order) // 2],
        in_order[int(len(in_order) * 0.99)],
        len(in_order) * size_bytes / (1 << 20) / seconds,
    )
