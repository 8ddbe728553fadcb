"""What a command of the controller decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from automq.metadata.image import Image
from automq.metadata.records.registry import Record

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Decision(Generic[R_co]):
    """Records that become so together, and the reply once they are stored."""

    records: Sequence[Record]
    reply: R_co


Command: TypeAlias = Callable[[Image], Decision[R]]
"""Reads the image and changes nothing; raises to refuse."""
