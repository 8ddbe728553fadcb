"""A machine whose metadata log lies in its store, as a node's does: what an audit looks at."""

import asyncio

from automq.controller.audit import Audit
from automq.controller.judging import Is
from automq.metadata.housekeeping import Housekeeper
from automq.metadata.reader import MetadataReader
from automq.metadata.register import ObjectStoreRegister, Patience, SteadyRegister
from automq.node.storage import PATIENCE_MS
from automq.objectstore import Retrying
from automq.objectstore.simulated import SimulatedStore
from support.storage import Machine, Sizes, running

MANUAL = Sizes(interval_ms=10**9)


class AuditedMachine(Machine):
    """One whose metadata log lies in its store, as a node's does."""

    def __init__(self) -> None:
        super().__init__()
        self.register = ObjectStoreRegister(self.store)  # type: ignore[assignment]

    async def used(self, *, snapshots: int = 0) -> "AuditedMachine":
        """After a life in which something was written."""
        async with running(self, MANUAL, clean=True) as node:
            for name in ("t", "u"):
                stream = await node.new_stream(name)
                await node.append(stream, b"a", b"b")
                await node.upload()
            keeper = Housekeeper(SteadyRegister(self.register, self.world), 4096)
            for _ in range(snapshots):
                await node.metadata.snapshot()
                await keeper.tidy(node.metadata.stored.snapshots)
        return self

    def audit(self) -> Audit:
        steady = Retrying(self.store, self.world).within(PATIENCE_MS)
        register = SteadyRegister(ObjectStoreRegister(steady), self.world, Patience(attempts_max=1))
        return Audit(
            store=steady,
            metadata_store=steady,
            before=MetadataReader(register),
            after=MetadataReader(register),
            clock=self.world.clock,
        )

    async def findings(self) -> list[tuple[Is, str]]:
        return [(it.what, it.key) for it in (await self.audit().run()).findings]

    async def entries(self) -> list[str]:
        """The keys of the log's entries, in order."""
        return [it.key async for it in self.store.list("meta/0")]


async def hide(store: SimulatedStore, key: str, for_s: float) -> None:
    """An object that is there, and that nobody finds for a while."""
    data = await store.get(key)
    await store.delete(key)
    asyncio.get_running_loop().call_later(for_s, store.memory.objects.put, key, [data])
