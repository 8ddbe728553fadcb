"""Records about write-ahead logs. A WAL belongs to one incarnation of a node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from automq.metadata.fields import Bool, Int32, Int64, OneOf, String
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.storage import StorageImage


class WalKind(IntEnum):
    FILE = 0
    OBJECT = 1


@record(key=1010)
@dataclass(frozen=True, slots=True)
class WalRegistered:
    """A new WAL. `uri` has no secrets."""

    wal: Int64
    node_id: Int32
    node_epoch: Int64
    uri: String
    kind: Annotated[WalKind, OneOf(WalKind)]
    start: Int64

    def apply(self, image: StorageImage) -> None:
        assert self.wal >= image.next_wal, self
        image.next_wal = self.wal + 1
        image.wals[self.wal] = image.wal_of(self)


@record(key=1011)
@dataclass(frozen=True, slots=True)
class WalTakeover:
    """From here on only the taker commits from this WAL, and its start moves by those alone.

    Invariant: stored after the owner was fenced and before anybody touches the WAL.
    """

    wal: Int64
    start: Int64
    taker: Int32
    taker_epoch: Int64
    attempt: Int32

    def apply(self, image: StorageImage) -> None:
        wal = image.wals[self.wal]
        assert not wal.closed, self
        assert self.start == wal.start, self
        assert self.attempt > wal.attempt, self
        image.wals[self.wal] = replace(
            wal, taker=self.taker, taker_epoch=self.taker_epoch, attempt=self.attempt
        )


@record(key=1012)
@dataclass(frozen=True, slots=True)
class WalClosed:
    """All of it that counts, up to `fence`, is committed. No commit from it is accepted any more.

    `clean`: its owner closed it.
    """

    wal: Int64
    fence: Int64
    clean: Bool

    def apply(self, image: StorageImage) -> None:
        wal = image.wals[self.wal]
        assert not wal.closed, self
        assert self.fence >= wal.start, self
        image.wals[self.wal] = replace(wal, closed=True, fence=self.fence, clean=self.clean)


@record(key=1013)
@dataclass(frozen=True, slots=True)
class WalForgotten:
    """Its data is deleted; its fence stays where it is."""

    wal: Int64

    def apply(self, image: StorageImage) -> None:
        assert image.wals[self.wal].closed, self
        del image.wals[self.wal]
