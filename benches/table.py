"""Medians, ranges and ratios of what was measured, as Markdown and as JSON."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benches.brokers import Kind
from benches.figures import Effort, Figure, Numbers, Workload
from benches.machine import Machine

HEADER = (
    *("workload", "figure", "automq", "Apache Kafka", "ratio", "Apache Kafka, fsync", "ratio"),
    "goal",
)
MISSING = "-"


@dataclass(slots=True)
class Results:
    """The numbers of every round, by workload and broker."""

    rounds: dict[str, dict[Kind, list[Numbers]]] = field(default_factory=dict)

    def add(self, workload: str, kind: Kind, numbers: Numbers) -> None:
        self.rounds.setdefault(workload, {}).setdefault(kind, []).append(numbers)

    def numbers(self, workload: str, kind: Kind, figure: str) -> list[float]:
        """What was measured, in the order of the rounds; empty if nothing was."""
        return [numbers[figure] for numbers in self.rounds.get(workload, {}).get(kind, [])]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured beside one goal of a figure, in the goal's unit."""

    goal: str
    number: float
    is_met: bool


def from_json(content: dict[str, Any]) -> Results:
    """The rounds of what `to_json` wrote."""
    results = Results()
    for name, workload in content["workloads"].items():
        for kind, rounds in workload["rounds"].items():
            for numbers in rounds:
                results.add(name, Kind(kind), numbers)
    return results


def to_json(
    results: Results, workloads: Iterable[Workload], machine: Machine, effort: Effort
) -> str:
    """Everything, with each round: what later tables are made from."""
    measured = {
        workload.name: {
            "about": workload.about,
            "figures": {figure.name: figure.title for figure in workload.figures},
            "rounds": results.rounds[workload.name],
        }
        for workload in workloads
        if workload.name in results.rounds
    }
    content = {"machine": asdict(machine), "effort": asdict(effort), "workloads": measured}
    return json.dumps(content, indent=1) + "\n"


def to_markdown(
    results: Results, workloads: Iterable[Workload], machine: Machine, effort: Effort
) -> str:
    """The table, and what it takes to judge it."""
    measured = [workload for workload in workloads if workload.name in results.rounds]
    lines = [
        f"# automq beside Apache Kafka, {machine.date[:10]}",
        "",
        *facts(machine),
        effort_line(results, effort),
        "",
        *rows(results, measured),
        "",
        *(f"- **{workload.name}**: {workload.about}" for workload in measured),
    ]
    return "\n".join(lines) + "\n"


def rows(results: Results, workloads: Iterable[Workload]) -> list[str]:
    """The lines of the table, its header first."""
    return [
        line(HEADER),
        line("---" if column < 2 else "---:" for column in range(len(HEADER))),
        *(line(row) for workload in workloads for row in workload_rows(results, workload)),
    ]


def effort_line(results: Results, effort: Effort) -> str:
    counts = [len(rounds) for kinds in results.rounds.values() for rounds in kinds.values()]
    return (
        f"- {max(counts, default=0)} rounds of {effort.seconds:g} s, the brokers in turn, after a "
        f"warm-up of {effort.warm_up_s:g} s; medians, ranges in brackets; acks=all, 6 partitions"
    )


def facts(machine: Machine) -> list[str]:
    return [
        f"- automq {machine.automq} ({machine.commit}), Apache Kafka {machine.kafka}, "
        f"librdkafka {machine.librdkafka}, Python {machine.python}, {machine.java}",
        f"- {machine.processor}, {machine.cores} cores shared by broker and clients, "
        f"{machine.memory_gib:.0f} GiB, Linux {machine.kernel}, {machine.file_system}, "
        f"4 KiB append and sync {machine.sync_ms:.2f} ms, "
        f"load average {machine.load_average:.1f} before",
    ]


def workload_rows(results: Results, workload: Workload) -> list[tuple[str, ...]]:
    return [
        (workload.name if first else "", *figure_row(results, workload.name, figure))
        for first, figure in zip(
            [True] + [False] * len(workload.figures), workload.figures, strict=False
        )
    ]


def figure_row(results: Results, workload: str, figure: Figure) -> tuple[str, ...]:
    ours, kafka, synced = by_kind(results, workload, figure)
    return (
        figure.title,
        spread(ours),
        spread(kafka),
        ratio_text(ratio(ours, kafka)),
        spread(synced),
        ratio_text(ratio(ours, synced)),
        ", ".join(
            f"{verdict.goal}: {'met' if verdict.is_met else 'missed'}"
            for verdict in verdicts(results, workload, figure)
        ),
    )


def by_kind(results: Results, workload: str, figure: Figure) -> Iterator[list[float]]:
    kinds = (Kind.AUTOMQ, Kind.KAFKA, Kind.KAFKA_SYNC)
    return (results.numbers(workload, kind, figure.name) for kind in kinds)


def verdicts(results: Results, workload: str, figure: Figure) -> list[Verdict]:
    """Each goal of the figure beside its number; one that nothing was measured for is not there."""
    ours, kafka, synced = by_kind(results, workload, figure)
    sign = "≥" if figure.more_is_better else "≤"
    judged = (
        (figure.value_goal, median(ours) if ours else None, ""),
        (figure.ratio_goal, ratio(ours, kafka), "x"),
        (figure.sync_ratio_goal, ratio(ours, synced), "x fsync"),
    )
    return [
        Verdict(f"{sign} {goal:g}{unit}", number, figure.meets(number, goal))
        for goal, number, unit in judged
        if goal is not None and number is not None
    ]


def ratio(ours: list[float], theirs: list[float]) -> float | None:
    """Ours for each of theirs, by medians. None where that says nothing."""
    if not ours or not theirs or median(theirs) == 0:
        return None
    return median(ours) / median(theirs)


def ratio_text(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def spread(numbers: list[float]) -> str:
    """The median, and in brackets the range if there is one."""
    if not numbers:
        return MISSING
    middle = short(median(numbers))
    low, high = short(min(numbers)), short(max(numbers))
    return middle if low == high else f"{middle} ({low}-{high})"


def short(number: float) -> str:
    """About three digits that count."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
