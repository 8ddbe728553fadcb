"""What the calls of a store cost and how they end: by role of the store and by operation.

A call is one attempt. Its `requests` are those that a network store takes for it, which is what a
provider bills; they are counted alike for every store, so that a test in memory tells the bill.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from automq.telemetry import Histogram, Metrics, counter, histogram, metric_set
from automq.telemetry.metrics import UP_TO_A_MINUTE_MS

OPERATIONS = ("put", "create", "get", "head", "list", "delete", "copy", "settings")
"""What is counted apart. `get` is the whole, one range, or several."""
READS = frozenset({"get", "head", "list", "settings"})
"""Those that change nothing."""


@metric_set("automq_store", labels=("role", "operation"))
@dataclass(slots=True)
class OperationMetrics:
    """One operation of one store."""

    calls: int = counter("Calls of an object store, each one attempt; failed ones too.")
    requests: int = counter("Requests that they take: parts of a body, pages of a list, ranges.")
    sent_bytes: int = counter("Bytes of objects in calls that succeeded, to the store.")
    received_bytes: int = counter("Bytes of objects in calls that succeeded, from the store.")
    retries: int = counter("Calls that were repeated after a failure.")
    hedges: int = counter("Reads sent a second time because the first was slow.")
    hedge_wins: int = counter("Second reads that were answered first.")
    latency_ms: Histogram = histogram("How long a call took, failed or not.", UP_TO_A_MINUTE_MS)


@metric_set("automq_store_failed", labels=("role", "operation", "error"))
@dataclass(slots=True)
class FailureMetrics:
    """One way in which one operation of one store ends."""

    calls: int = counter("Calls of an object store that ended with this error.")


@dataclass(frozen=True, slots=True)
class OperationCounts:
    """What one operation has come to; subtract an earlier one for what happened since."""

    calls: int = 0
    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    retries: int = 0
    hedges: int = 0
    hedge_wins: int = 0
    failed: int = 0

    def __sub__(self, earlier: "OperationCounts") -> "OperationCounts":
        names = [item.name for item in fields(self)]
        return OperationCounts(
            **{name: getattr(self, name) - getattr(earlier, name) for name in names}
        )


class StoreMetrics:
    """What one store of a node counts. `role` is what the store is for: data, metadata, wal."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._operations = {operation: OperationMetrics() for operation in OPERATIONS}
        self._failures: dict[tuple[str, str], FailureMetrics] = {}
        self._shown_in: Metrics | None = None

    def of(self, operation: str) -> OperationMetrics:
        """The numbers of one operation, to count in."""
        return self._operations[operation]

    def failed(self, operation: str, error: str) -> None:
        """A call ended with an error of this name."""
        failure = self._failures.get((operation, error))
        if failure is None:
            failure = self._failures[operation, error] = FailureMetrics()
            self._show_failure(operation, error, failure)
        failure.calls += 1

    def failures(self) -> Mapping[tuple[str, str], int]:
        """How many calls ended with which error, by (operation, error)."""
        return {which: failure.calls for which, failure in self._failures.items()}

    def counts(self) -> Mapping[str, OperationCounts]:
        """All numbers as they are now, by operation."""
        return {operation: self._count(operation) for operation in OPERATIONS}

    def show_in(self, metrics: Metrics) -> None:
        """Give these numbers to whoever scrapes `metrics`, from now on."""
        self._shown_in = metrics
        for operation, values in self._operations.items():
            metrics.add(values, role=self.role, operation=operation)
        for (operation, error), failure in self._failures.items():
            self._show_failure(operation, error, failure)

    def _show_failure(self, operation: str, error: str, failure: FailureMetrics) -> None:
        if self._shown_in is not None:
            self._shown_in.add(failure, role=self.role, operation=operation, error=error)

    def _count(self, operation: str) -> OperationCounts:
        values = self._operations[operation]
        failed = sum(n for (which, _), n in self.failures().items() if which == operation)
        numbers = [item.name for item in fields(OperationCounts) if item.name != "failed"]
        return OperationCounts(failed=failed, **{name: getattr(values, name) for name in numbers})
