"""Somebody who looks at a process's numbers: they can be read at any time, and counts only grow."""

import asyncio
import random
from collections.abc import Callable

from automq.telemetry import Metrics

EVERY_S = (2.0, 10.0)


async def scrape(metrics: Metrics, chance: random.Random, complain: Callable[[str], None]) -> None:
    """Until the process ends."""
    known: dict[tuple[object, ...], float] = {}
    while True:
        await asyncio.sleep(chance.uniform(*EVERY_S))
        for family in metrics.collect():
            for sample in family.samples:
                if sample.value < 0:
                    complain(f"{sample.name} is {sample.value}")
                if family.type == "gauge":
                    continue
                key = (sample.name, *sorted(sample.labels.items()))
                if sample.value < known.get(key, 0):
                    complain(f"{sample.name} went from {known[key]} to {sample.value}")
                known[key] = sample.value
