"""An operator who audits the store beside the running cluster, and deletes what is said to leak."""

import asyncio
import random

from automq.controller.audit import Audit
from automq.metadata.log import DamagedLog
from automq.metadata.reader import MetadataReader
from automq.metadata.register import ListedRegister, SteadyRegister, Unsettled
from automq.metadata.registered_store import RegisteredStore
from automq.objectstore import ObjectStore, Retrying, StoreError
from automq.world import World
from sim.database import register_of
from sim.node import BY_REGISTER, IN_STORE
from sim.wire import StoreWire
from sim.workload import Shop

AUDIT_S_MAX = 120.0


class Auditor:
    """What it says of a sound store is not damage, and what it deletes is missed by nobody."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop = shop
        self.name = name
        self.chance = shop.chance(name)
        self._world = World(clock=shop.node.clock, chance=random.Random(f"{shop.seed} {name}"))

    async def run(self) -> None:
        while not self.shop.is_closing:
            await asyncio.sleep(self.chance.expovariate(1 / 5))
            try:
                async with asyncio.timeout(AUDIT_S_MAX):
                    await self._audit()
            except (TimeoutError, StoreError, Unsettled):
                continue  # the store did not answer for so long
            except DamagedLog as error:
                if not self._is_damage_expected(str(error)):
                    self.shop.complain(f"{self.name}: {error}")

    async def _audit(self) -> None:
        node = self.shop.node
        wire = StoreWire(node.store, node.loop, self.name, node.trace)
        store = Retrying(wire, self._world)
        register = register_of(wire, node.database, node.clock)
        steady = SteadyRegister(register, self._world)
        job = Audit(
            store=store,
            metadata_store=store if node.database is None else register,
            before=MetadataReader(steady),
            after=MetadataReader(steady),
            clock=node.clock,
            wal_store=self._logs(store, register),
        )
        report = await job.run()
        if report.is_damaged and not self.shop.storage_errors_allowed:
            told = [f"{it.what} {it.key} {it.why}" for it in report.findings][:3]
            self.shop.complain(f"{self.name}: {told}")
        if self.chance.random() < 0.5:
            deleted = await job.repair()
            node.trace.note(self.name, f"deleted {deleted} objects that leaked")

    def _logs(self, store: Retrying, register: ListedRegister) -> ObjectStore | None:
        """The store that the node keeps its logs in, if that is its way."""
        kept_at = self.shop.node.newest.config.wal_uri
        if kept_at == BY_REGISTER:
            return RegisteredStore(store, register)
        return store if kept_at == IN_STORE else None

    def _is_damage_expected(self, why: str) -> bool:
        return any(words in why for words in self.shop.node.failures_expected)
