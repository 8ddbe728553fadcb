"""After a clean stop: what the store and the disk hold is what the metadata says."""

import random
from collections.abc import Callable

from automq.controller.audit import known_objects
from automq.metadata.dump import dump_log
from automq.metadata.image import Image
from automq.metadata.reader import MetadataReader
from automq.metadata.register import ListedRegister, SteadyRegister
from automq.metadata.storage import COMMITTED, DOOMED, PREPARED
from automq.stream.keys import data_key
from automq.stream.wal.object_keys import number_of, wal_prefix
from automq.world import World
from sim.database import register_of
from sim.node import ON_DISK, Node
from sim.wide import is_moving, is_wide
from sim.wire import StoreWire

ALL = 1 << 30


async def _check_dump(
    register: SteadyRegister, position: int, complain: Callable[[str], None]
) -> None:
    """What people read of the log goes as far as what a node reads of it."""
    last = -1
    async for line in dump_log(register):
        if line.startswith("entry "):
            last = int(line.split()[1])
    if last not in (-1, position):
        complain(f"the dump of the metadata log ends with entry {last}, the log with {position}")


async def audit(node: Node, complain: Callable[[str], None]) -> None:
    """Nothing on the disk; in the store every committed object, and nothing that is forgotten."""
    world = World(clock=node.clock, chance=random.Random("audit"))
    wire = StoreWire(node.store, node.loop, "audit", node.trace)
    register = register_of(wire, node.database, node.clock)
    steady = SteadyRegister(register, world)
    reader = MetadataReader(steady)
    await reader.load()
    await _check_logs(node, register, reader.image, complain)
    if is_wide(node.seed):
        await _check_dump(steady, reader.position, complain)
    await _check_objects(node, reader.image, complain)
    for wal in reader.image.storage.wals.values():
        if not wal.closed:
            complain(f"{wal} is not closed after a clean stop")


async def _check_logs(
    node: Node, register: ListedRegister, image: Image, complain: Callable[[str], None]
) -> None:
    """Nothing is left of any write-ahead log, but what keeps its owner from going on."""
    # What a taker that died left elsewhere is closed, and removed by the next life there.
    if node.newest.config.wal_uri == ON_DISK or not is_moving(node.seed):
        left = node.disk.ids
    else:
        left = [wal_id for wal_id in node.disk.ids if not _is_closed(image, wal_id)]
    if left:
        complain(f"WALs {left} are left after a clean stop")
    if is_moving(node.seed):
        return
    stored = {known.key async for known in node.store.list("wal")}
    if is_wide(node.seed):
        stored |= {known.key async for known in register.list("wal")}
    for mark in sorted(key for key in stored if key.startswith("wals/")):
        if not node.objects.came_late(mark) and not _began_late(mark, stored, image):
            complain(f"{mark}: a WAL in the store is left after a clean stop")


def _is_closed(image: Image, wal_id: int) -> bool:
    wal = image.storage.wals.get(wal_id)
    return wal is not None and wal.closed


def _began_late(mark: str, stored: set[str], image: Image) -> bool:
    """Whether a log began when it had been closed as one that never did: the create was under way.

    Its owner led nothing, or it would not have been closed unseen, and cannot any more. The next
    start removes it, and leaves a fence: as every log that was taken over or closed has one.
    """
    wal_id = number_of(mark)
    wal = None if wal_id is None else image.storage.wals.get(wal_id)
    if wal is None or not wal.closed or (wal.start, wal.fence) != (0, 0):
        return False
    objects = wal_prefix(image.cluster.cluster_id, wal.wal)
    return not any(key.startswith(objects) for key in stored)


async def _check_objects(node: Node, image: Image, complain: Callable[[str], None]) -> None:
    cluster_id = image.cluster.cluster_id
    stored = {known.key async for known in node.store.list("data/")}
    known = {data_key(cluster_id, object_id): it for object_id, it in known_objects(image)}
    for key, found in known.items():
        if found.state == COMMITTED and found.live > 0 and key not in stored:
            complain(f"{key} is committed, and not in the store")
    for key in sorted(stored):
        state = known[key].state if key in known else None
        if state not in (PREPARED, COMMITTED, DOOMED) and not node.objects.came_late(key):
            complain(f"{key} is in the store, and the metadata does not know it")
