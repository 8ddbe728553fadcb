"""Taking over the WALs that a node left: this one's own earlier lives, or a dead node's.

There is one way, in one order (HAZARDS 1, 2, 3, 27):

1. the log stores that the owner is fenced, and whose its WALs are now: their starts are final;
2. each WAL is fenced by its kind's means, so that its owner acknowledges nothing more;
3. only then it is read, from the start that the log names, and uploaded;
4. one entry commits the last object, closes the owner's streams and the WAL;
5. what is left of the WAL is removed, and nobody needs it any more.

A death anywhere is answered by beginning again: what is committed is told `ALREADY`.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.controller.local import LocalController
from automq.metadata.storage import Wal as RegisteredWal
from automq.node.failure import NodeFailure
from automq.objectstore import ObjectStore, StoreError
from automq.stream.recovery import Recovered, RecoveryLimits, WalRecovery
from automq.stream.wal import WalDamaged, WalError, WalHome, WalOwner, WalRecord, WalTaker
from automq.stream.wal import WalRecovery as WalReading
from automq.world import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one WAL. `missing`: it was not there, and nothing can have been in it."""

    wal_id: int
    node_id: int
    records: int
    size_bytes: int
    objects: int
    streams: int
    missing: bool = False
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Taker:
    """What a takeover works with. `homes_of` tells where a WAL may be reached from here, the
    likeliest place first.
    """

    controller: LocalController
    store: ObjectStore
    cluster_id: bytes
    limits: RecoveryLimits
    homes_of: Callable[[RegisteredWal], Sequence[WalHome]]
    clock: Clock

    async def take_over_node(self, node_id: int) -> list[Taken]:
        """Take over all that a node left. Raises NodeFailure, InvalidRequest.

        Invariant: streams are opened elsewhere only after this, so each is opened at its true end.
        """
        wals = await self.controller.fence_and_take_over(node_id)
        taken = []
        for wal in wals:
            try:
                taken.append(await self._take_over(wal))
            except WalError as error:
                text = f"cannot recover the write-ahead log {wal.wal}: {error}"
                raise NodeFailure(text) from None
        return taken

    async def give_up(self, wal: RegisteredWal) -> Taken:
        """Close a WAL whose disk is gone or damaged, keeping what can still be read of it.

        What was acknowledged and is only there is lost: the operator's word.
        """
        wals = await self.controller.fence_and_take_over(wal.node_id)
        [wal] = [it for it in wals if it.wal == wal.wal]
        home = await self._reach(wal)
        if home is None:
            streams = await self.controller.finish_wal(wal.wal, last=None, fence=wal.start)
            return Taken(wal.wal, wal.node_id, 0, 0, 0, streams, missing=True)
        reading = self._read(home, wal)
        readable = Readable(reading)
        done = await self._upload(wal).run(readable)
        return await self._finish(wal, done, done.end_position, damage=readable.damage)

    async def _take_over(self, wal: RegisteredWal) -> Taken:
        home = await self._reach(wal)
        if home is None:
            # Registered, and died before it was made: or the disk is not there.
            if self.controller.may_hold_data(wal):
                raise NodeFailure(missing(wal, own=self.controller.is_mine(wal)))
            log.warning("the write-ahead log %d was registered and never written", wal.wal)
            streams = await self.controller.finish_wal(wal.wal, last=None, fence=wal.start)
            return Taken(wal.wal, wal.node_id, 0, 0, 0, streams, missing=True)
        reading = self._read(home, wal)
        done = await self._upload(wal).run(reading)
        taken = await self._finish(wal, done, reading.end.position)
        await remove_rest(home, wal.wal)
        return taken

    async def _reach(self, wal: RegisteredWal) -> WalHome | None:
        """Where the WAL is; None if it is nowhere. Raises NodeFailure for one of somebody else."""
        for home in self.homes_of(wal):
            if await home.holds(wal.wal):
                found = await home.owner_of(wal.wal)
                wanted = WalOwner(self.cluster_id, wal.node_id)
                if found is not None and found != wanted:
                    raise NodeFailure(foreign(wal.wal, found, wanted))
                return home
        return None

    def _read(self, home: WalHome, wal: RegisteredWal) -> WalReading:
        return home.recover(
            wal_id=wal.wal,
            start=wal.start,
            cluster_id=self.cluster_id,
            taker=WalTaker(*self.controller.me),
        )

    def _upload(self, wal: RegisteredWal) -> WalRecovery:
        return WalRecovery(
            store=self.store,
            client=self.controller,
            clock=self.clock,
            cluster_id=self.cluster_id,
            wal_id=wal.wal,
            limits=self.limits,
        )

    async def _finish(
        self, wal: RegisteredWal, done: Recovered, end: int, *, damage: str = ""
    ) -> Taken:
        fence = max(end, wal.start)
        streams = await self.controller.finish_wal(wal.wal, last=done.last, fence=fence)
        if done.records:
            log.info(
                "recovered %d records, %d bytes of the write-ahead log %d into %d objects",
                done.records,
                done.size_bytes,
                wal.wal,
                done.objects,
            )
        size_bytes, objects = done.size_bytes, done.objects
        return Taken(
            wal.wal, wal.node_id, done.records, size_bytes, objects, streams, damage=damage
        )


def recovery_limits(config: NodeConfig) -> RecoveryLimits:
    """Those of uploads; nobody reads or writes yet, so the memory of the log cache is free."""
    return RecoveryLimits(
        object_bytes=config.budgets.upload_bytes,
        inflight_max=config.get(keys.automq.UPLOAD_INFLIGHT_MAX),
        memory_bytes=config.budgets.log_cache_bytes,
    )


class Readable:
    """What a WAL gives before the first damage, which ends it in place of raising."""

    def __init__(self, reading: WalReading) -> None:
        self._reading = reading
        self.damage = ""

    async def __aiter__(self) -> AsyncIterator[Sequence[WalRecord]]:
        try:
            async for chunk in self._reading:
                yield chunk
        except WalDamaged as error:
            self.damage = str(error)


async def take_over_own(taker: Taker, node_id: int, home: WalHome) -> None:
    """Commit what earlier incarnations of this node acknowledged and did not upload.

    Raises NodeFailure for damage, naming file and position, and for WALs of another cluster.
    """
    wal_ids = await home.wal_ids()
    closed = [wal_id for wal_id in wal_ids if taker.controller.is_wal_closed(wal_id)]
    # Where nodes share a place, what another has open is not touched from here.
    asked = wal_ids
    if home.is_shared:
        asked = [wal_id for wal_id in wal_ids if not taker.controller.is_wal_open(wal_id)]
    await refuse_foreign(home, asked, WalOwner(taker.cluster_id, node_id))
    await taker.take_over_node(node_id)
    for wal_id in closed:
        # Closed by a stored record, and the process died before it was removed.
        await remove_rest(home, wal_id)


async def remove_rest(home: WalHome, wal_id: int) -> None:
    """Remove a WAL that is closed by a stored record. What stays is in nobody's way."""
    try:
        await home.remove(wal_id)
    except (OSError, WalError, StoreError) as error:
        log.warning(
            "all of the write-ahead log %d is in the store, but what is left of it could not be "
            "removed: %s; the next start where it lies tries again",
            wal_id,
            error,
        )


def missing(wal: RegisteredWal, *, own: bool) -> str:
    """What to say of a WAL that is not where it should be."""
    what = (
        f"the write-ahead log {wal.wal} is not in {wal.uri}, but data from position "
        f"{wal.start} on is only there; "
    )
    if own:
        return what + "is the disk mounted?"
    return what + (
        "mount it and name that place with --wal-uri, or if it is gone for good: "
        f"automq wal give-up {wal.wal} --accept-data-loss"
    )


async def refuse_foreign(home: WalHome, wal_ids: Sequence[int], wanted: WalOwner) -> None:
    """Raises NodeFailure if a WAL is another cluster's, or another node's where nodes do not share.

    Ids repeat from cluster to cluster: by its id alone it would be taken for one that is closed,
    and removed with everything acknowledged that it holds.
    """
    for wal_id in wal_ids:
        found = await home.owner_of(wal_id)
        if found is None or found == wanted:
            continue
        if found.cluster_id != wanted.cluster_id or not home.is_shared:
            raise NodeFailure(foreign(wal_id, found, wanted))


def foreign(wal_id: int, found: WalOwner, wanted: WalOwner) -> str:
    """What to say of a WAL that is somebody else's."""
    if found.cluster_id != wanted.cluster_id:
        return (
            f"the write-ahead log {wal_id} belongs to cluster {found.cluster_id.hex()}, the store "
            f"to {wanted.cluster_id.hex()}; use that cluster's automq.storage.uri, or another "
            "automq.data.dir"
        )
    return (
        f"the write-ahead log {wal_id} belongs to node {found.node_id}, and this is for node "
        f"{wanted.node_id}; give each node a place of its own (automq.wal.uri, automq.data.dir)"
    )
