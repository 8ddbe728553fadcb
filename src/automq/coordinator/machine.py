"""What a machine is: commands decide, records are stored, nothing else changes the state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

from automq.protocol.errors import KafkaError

M_contra = TypeVar("M_contra", contravariant=True)
M = TypeVar("M")
R = TypeVar("R")

Token: TypeAlias = int
"""Names a caller whose reply comes with a later decision. Unique within a shard."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, twice: the wall clock dates records, the monotonic clock measures time-outs."""

    wall_ms: int
    mono_ms: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A reply that is not known yet: a later decision releases it under this token."""

    token: Token


class Change(Protocol[M_contra]):
    """Something that happens to a machine. Soft when it has no bytes: a reload forgets it."""

    def apply(self, machine: M_contra, /) -> None:
        """Make it so. Needs no clock, no chance, and never fails on a decided change."""
        ...


class Record(Change[M_contra], Protocol[M_contra]):
    """A change that is stored: it says what is now, and replaying it needs nothing else."""

    def key_value(self) -> tuple[bytes, bytes | None]:
        """The record as the log holds it; a value of None is a tombstone."""
        ...


@dataclass(frozen=True, slots=True)
class Decision(Generic[M, R]):
    """What a command decided. A reply that is a `KafkaError` is raised to whoever waits for it.

    `released` answers callers that earlier decisions left waiting; like the reply, they hear of it
    when the records are stored.
    """

    reply: R | Waiting | KafkaError
    records: Sequence[Record[M]] = ()
    soft: Sequence[Change[M]] = ()
    released: Sequence[tuple[Token, object]] = ()

    def apply(self, machine: M) -> None:
        """The one way in which a machine changes while it lives: records first, then soft state."""
        for record in self.records:
            record.apply(machine)
        for change in self.soft:
            change.apply(machine)


class Machine(Protocol):
    """The state of one partition of a coordinator."""

    def parse(self, key: bytes, value: bytes | None) -> Record[Self] | None:
        """The record of these bytes; None for a type this version does not know."""
        ...

    def resume(self, now: Moment) -> Iterator[Decision[Self, None]]:
        """What to decide after a load, in small steps: everyone gets a full time-out again."""
        ...

    def wake_at_ms(self) -> int | None:
        """The monotonic time at which `tick` has something to do; None for never."""
        ...

    def tick(self, now: Moment) -> Decision[Self, None]:
        """What time alone decides. Does a bounded piece of work; asks to be woken for the rest."""
        ...
