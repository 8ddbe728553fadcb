"""After a clean stop: what the store and the disk hold is what the metadata says."""

import random
from collections.abc import Callable

from automq.controller.audit import known_objects
from automq.metadata.reader import MetadataReader
from automq.metadata.register import SteadyRegister
from automq.metadata.storage import COMMITTED, DOOMED, PREPARED
from automq.stream.keys import data_key
from automq.world import World
from sim.database import register_of
from sim.node import Node
from sim.wire import StoreWire

ALL = 1 << 30


async def audit(node: Node, complain: Callable[[str], None]) -> None:
    """Nothing on the disk; in the store every committed object, and nothing that is forgotten."""
    if node.disk.ids:
        complain(f"WALs {node.disk.ids} are left after a clean stop")
    for mark in [known.key async for known in node.store.list("wals/")]:
        if not node.objects.came_late(mark):
            complain(f"{mark}: a WAL in the store is left after a clean stop")
    world = World(clock=node.clock, chance=random.Random("audit"))
    wire = StoreWire(node.store, node.loop, "audit", node.trace)
    register = register_of(wire, node.database, node.clock)
    reader = MetadataReader(SteadyRegister(register, world))
    await reader.load()
    image = reader.image
    cluster_id = image.cluster.cluster_id
    stored = {known.key async for known in node.store.list("data/")}
    known = {data_key(cluster_id, object_id): it for object_id, it in known_objects(image)}
    for key, found in known.items():
        if found.state == COMMITTED and key not in stored:
            complain(f"{key} is committed, and not in the store")
    for key in sorted(stored):
        state = known[key].state if key in known else None
        if state not in (PREPARED, COMMITTED, DOOMED) and not node.objects.came_late(key):
            complain(f"{key} is in the store, and the metadata does not know it")
    for wal in image.storage.wals.values():
        if not wal.closed:
            complain(f"{wal} is not closed after a clean stop")
