"""What `automq storage check` tries: a store, or a register."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automq.objectstore.check import Check


@dataclass(frozen=True, slots=True)
class Tried:
    """Something that is open and can be tried. `steps` raise Unusable; `clean` raises StoreError or
    Unsettled, and then something stays below `prefix`.
    """

    name: str
    addresses: Sequence[str]
    prefix: str
    steps: "AsyncGenerator[Check, None]"
    clean: Callable[[], Awaitable[None]]
    cannot_show: Sequence[str]
