"""What a check has seen, and what follows."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """What one finding means for a node on this store."""

    OK = "ok"
    UNKNOWN = "not known"
    """The store does not tell; the operator may know."""
    WARNING = "warning"
    """A node works, and it costs something."""
    UNFIT = "unfit"
    """A node would lose data, or stand still."""


class Verdict(Enum):
    """Of all findings together."""

    FIT = "fit"
    FIT_WITH_WARNINGS = "fit with warnings"
    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a table: what was tried, what it means, and what was seen."""

    what: str
    outcome: Outcome
    text: str


class Broken(Exception):
    """A promise that was not kept. One line: what was seen, in place of what."""


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst finding decides; what is not known does not."""
    outcomes = {finding.outcome for finding in findings}
    if Outcome.UNFIT in outcomes:
        return Verdict.UNFIT
    return Verdict.FIT_WITH_WARNINGS if Outcome.WARNING in outcomes else Verdict.FIT
