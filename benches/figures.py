"""What a workload measures, what is better, and which goal there is."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from benches.brokers import Kind, Stand


class Part(enum.StrEnum):
    """Which table a workload belongs to."""

    PEER = "peer"
    NATIVE = "native"
    GROWTH = "growth"


ALL = (Kind.AUTOMQ, Kind.KAFKA, Kind.KAFKA_SYNC)
WITHOUT_SYNC = (Kind.AUTOMQ, Kind.KAFKA)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a workload. A goal is a bound for the side on which it is better."""

    name: str
    title: str
    more_is_better: bool = False
    value_goal: float | None = None
    ratio_goal: float | None = None
    sync_ratio_goal: float | None = None

    def meets(self, number: float, goal: float) -> bool:
        return number >= goal if self.more_is_better else number <= goal


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how much: the size of every measurement."""

    seconds: float
    warm_up_s: float
    idle_s: float
    memory_load_gb: float
    backlog_gb: float
    fresh_s: float

    def warming_up(self) -> "Effort":
        return replace(self, seconds=self.warm_up_s)


STANDARD = Effort(seconds=4, warm_up_s=6, idle_s=8, memory_load_gb=4, backlog_gb=2, fresh_s=12)
THOROUGH = Effort(seconds=10, warm_up_s=20, idle_s=20, memory_load_gb=10, backlog_gb=4, fresh_s=60)
QUICK = Effort(seconds=2, warm_up_s=1, idle_s=3, memory_load_gb=0.2, backlog_gb=0.2, fresh_s=3)

Numbers = dict[str, float]
Measure = Callable[[Stand, Kind, Effort], Numbers]


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to measure. A warm one runs on brokers that stay; a cold one starts its own."""

    name: str
    about: str
    measure: Measure
    figures: tuple[Figure, ...]
    kinds: tuple[Kind, ...] = ALL
    is_warm: bool = True
    part: Part = Part.PEER
