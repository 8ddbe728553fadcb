"""What an audit of a store says."""

from dataclasses import dataclass, field

from automq.controller.judging import Is
from automq.objectstore import ObjectInfo


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    what: Is
    key: str
    size_bytes: int
    why: str
    modified_ms: int = 0

    @classmethod
    def at(cls, what: Is, info: ObjectInfo, why: str) -> "Finding":
        """About an object that is there."""
        return cls(what, info.key, info.size_bytes, why, info.modified_ms)


@dataclass(slots=True)
class Report:
    """What an audit found: how many objects of each kind with their bytes, and what is wrong."""

    counts: dict[Is, tuple[int, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    streams: int = 0
    verified_objects: int = 0
    verified_bytes: int = 0

    def count(self, what: Is, size_bytes: int) -> None:
        objects, total = self.counts.get(what, (0, 0))
        self.counts[what] = (objects + 1, total + size_bytes)

    def find(self, finding: Finding) -> None:
        self.count(finding.what, finding.size_bytes)
        self.findings.append(finding)

    @property
    def is_damaged(self) -> bool:
        return any(finding.what.is_damage for finding in self.findings)

    @property
    def is_clean(self) -> bool:
        return not self.findings
