"""The features that this broker supports and those that are finalized (KIP-584)."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature's name and the levels that this software knows, both included."""

    name: str
    first_level: int
    last_level: int


@dataclass(slots=True)
class Features:
    """What ApiVersions tells. `epoch` grows with every change of `finalized`."""

    supported: list[Feature] = field(default_factory=list)
    finalized: dict[str, int] = field(default_factory=dict)
    epoch: int = -1
