"""Metrics: plain numbers in small classes, read when somebody scrapes.

    @metric_set("automq_fetch", labels=("listener",))
    @dataclass(slots=True)
    class FetchMetrics:
        requests: int = counter("Fetch requests that were answered.")
        waiting: int = gauge("Fetch requests that wait for data.")
        wait_ms: Histogram = histogram("How long a fetch waited for data.", UP_TO_A_MINUTE_MS)

    fetch = metrics.add(FetchMetrics(), listener="PLAINTEXT")
    fetch.requests += 1

A counter's name in Prometheus is `automq_fetch_requests_total`. A metric costs an addition where it
is counted; prometheus_client is imported and asked only at a scrape.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

S = TypeVar("S")
KEY: Final = "metric"

UP_TO_A_MINUTE_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000)
UP_TO_64_MIB: Final = (1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 23, 1 << 26)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a field of a metric set is: its kind and what it counts."""

    kind: str
    doc: str


@dataclass(frozen=True, slots=True)
class MetricSet:
    """A class of metrics: the start of their names, and the labels that each of its values has."""

    prefix: str
    labels: tuple[str, ...]
    owner: type

    def metrics(self) -> Iterator[tuple[str, Declared]]:
        """The name in Prometheus of each metric, and what it is."""
        for item in metric_fields(self.owner):
            declared: Declared = item.metadata[KEY]
            tail = "_total" if declared.kind == "counter" else ""
            yield f"{self.prefix}_{item.name}{tail}", declared


class Histogram:
    """How often values fell into each bucket. `bounds` are the largest value of each, ascending."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(bounds), bounds
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count `value` once."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus wants it: for each bound, how many values were not larger."""
        seen, buckets = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        return buckets


def counter(doc: str) -> int:
    """A number that only grows."""
    declared: int = field(default=0, metadata={KEY: Declared("counter", doc)})
    return declared


def gauge(doc: str) -> float:
    """A number that says how things are."""
    declared: float = field(default=0, metadata={KEY: Declared("gauge", doc)})
    return declared


def histogram(doc: str, bounds: Sequence[float]) -> Histogram:
    """How values are distributed over buckets."""
    about = Declared("histogram", doc)
    declared: Histogram = field(default_factory=lambda: Histogram(bounds), metadata={KEY: about})
    return declared


METRIC_SETS: Final[dict[str, MetricSet]] = {}


def metric_set(prefix: str, *, labels: Iterable[str] = ()) -> Callable[[type[S]], type[S]]:
    """Declare a dataclass as metrics whose names start with `prefix`; documentation lists them."""

    def declare(owner: type[S]) -> type[S]:
        assert prefix not in METRIC_SETS, f"{prefix} is declared twice"
        METRIC_SETS[prefix] = MetricSet(prefix, tuple(labels), owner)
        return owner

    return declare


def set_of(owner: type) -> MetricSet:
    """The declaration of a class of metrics."""
    return next(item for item in METRIC_SETS.values() if item.owner is owner)


def metric_fields(owner: type) -> tuple[Field[Any], ...]:
    return tuple(item for item in fields(owner) if KEY in item.metadata)


class Metrics:
    """Everything that one node counts. Given to prometheus_client as a collector."""

    def __init__(self) -> None:
        self._values: dict[MetricSet, dict[tuple[str, ...], object]] = {}
        self._refreshes: list[Callable[[], None]] = []

    def add(self, values: S, **labels: str) -> S:
        """Show `values`, an object of a declared metric set, under `labels` from now on."""
        declared = set_of(type(values))
        assert labels.keys() == set(declared.labels), f"{declared.prefix} has {declared.labels}"
        shown = self._values.setdefault(declared, {})
        shown[tuple(labels[name] for name in declared.labels)] = values
        return values

    def remove(self, values: object) -> None:
        """Show `values` no more."""
        shown = self._values.get(set_of(type(values)), {})
        for labels in [labels for labels, item in shown.items() if item is values]:
            del shown[labels]

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """`refresh` is called before the numbers are read: it copies those that others count."""
        self._refreshes.append(refresh)

    def collect(self) -> Iterator["Metric"]:
        """What prometheus_client asks at a scrape."""
        from prometheus_client import core

        for refresh in self._refreshes:
            refresh()

        kinds = {
            "counter": core.CounterMetricFamily,
            "gauge": core.GaugeMetricFamily,
            "histogram": core.HistogramMetricFamily,
        }
        for declared, shown in self._values.items():
            for item in metric_fields(declared.owner):
                about: Declared = item.metadata[KEY]
                family = kinds[about.kind](
                    f"{declared.prefix}_{item.name}", about.doc, labels=declared.labels
                )
                add_samples(family, item.name, shown)
                yield family

    def registry(self) -> "CollectorRegistry":
        """A registry of prometheus_client with these metrics and those of the process."""
        from prometheus_client import ProcessCollector
        from prometheus_client.registry import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        registry.register(self)
        return registry

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry())


def add_samples(family: Any, name: str, shown: Mapping[tuple[str, ...], object]) -> None:
    """Read the numbers named `name` into one of prometheus_client's families (not typed)."""
    for labels, values in shown.items():
        value = getattr(values, name)
        if isinstance(value, Histogram):
            family.add_metric(labels, buckets=value.cumulative(), sum_value=value.total)
        else:
            family.add_metric(labels, value)
