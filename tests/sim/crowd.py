"""The clients of one seed: who they are, and which partitions they use."""

import random
from collections.abc import Callable
from typing import Protocol

from sim.admin import Churner, Committer
from sim.auditing import Auditor
from sim.changing import ConfigChanger
from sim.flooding import Flooder
from sim.members import Group, Member
from sim.odd import OddMember
from sim.onlooking import Onlooker
from sim.reading import Reader, WideReader
from sim.rough import Careless, Vandal
from sim.truth import PartitionTruth
from sim.wide import is_contested, is_quiet, is_wide
from sim.witness import Witness
from sim.workload import Deleter, IdempotentProducer, PlainProducer, Shop

CHANGES: dict[str, dict[str, tuple[str, ...]]] = {
    "expiring": {
        "retention.ms": ("1000", "3000", "60000"),
        "segment.bytes": ("1048576", "2000000"),
    },
    "plain": {
        "compression.type": ("producer", "gzip", "zstd", "lz4", "snappy"),
        "segment.ms": ("1000", "100000"),
    },
}
"""What clients change of a topic."""


class Runs(Protocol):
    """A client: it works until the shop closes."""

    async def run(self) -> None: ...


ROUGH: dict[str, Callable[[Shop, str, PartitionTruth], Runs]] = {
    "careless": Careless,
    "vandal": Vandal,
}


class Crowd:
    """Draws them, in an order that never changes: the seed's clients are always the same."""

    def __init__(self, shop: Shop, chance: random.Random, partitions: list[PartitionTruth]) -> None:
        self.shop = shop
        self.chance = chance
        self.partitions = partitions
        self.committers: list[Committer] = []
        """Those whose offsets are asked for once more at the end."""

    def clients(self) -> dict[str, Runs]:
        """By name. Call it once."""
        if is_quiet(self.shop.seed):
            return {"flood": Flooder(self.shop, "flood")}
        members = Group("members", self.partitions[-1], is_forgotten=self.shop.is_forgetful)
        clients = self._partition_clients()
        clients |= self._wide_clients()
        clients |= self._other_clients(members)
        clients |= self._group_clients(members)
        if is_wide(self.shop.seed):
            clients |= self._late_comers(members)
        if is_contested(self.shop.seed):
            clients |= self._rivals()
        return clients

    def _rivals(self) -> dict[str, Runs]:
        deleted = [at for at in self.partitions if at.topic == "deleted"]
        return {f"rival-{at}": Deleter(self.shop, f"rival-{at}", at) for at in deleted}

    def _late_comers(self, members: Group) -> dict[str, Runs]:
        chance = self.shop.chance("late comers")
        every: dict[str, Runs] = {
            "odd": OddMember(self.shop, "odd", members),
            "auditor": Auditor(self.shop, "auditor"),
            "witness": Witness(self.shop, "witness"),
        }
        return {name: client for name, client in every.items() if chance.random() < 0.35}

    def _partition_clients(self) -> dict[str, Runs]:
        clients: dict[str, Runs] = {}
        for at in self.partitions:
            for number in range(self.chance.randint(0, 2)):
                name = f"idem-{at}-{number}"
                clients[name] = IdempotentProducer(self.shop, name, at)
            name = f"tail-{at}"
            clients[name] = Reader(self.shop, name, at, is_cold=False)
            if self.chance.random() < 0.5:
                name = f"cold-{at}"
                clients[name] = Reader(self.shop, name, at, is_cold=True)
            if at.topic == "deleted":
                name = f"deleter-{at}"
                clients[name] = Deleter(self.shop, name, at)
        return clients

    def _wide_clients(self) -> dict[str, Runs]:
        clients: dict[str, Runs] = {}
        for number in range(self.chance.randint(0, 2)):
            name = f"plain-{number}"
            some = self.chance.sample(self.partitions, self.chance.randint(1, len(self.partitions)))
            clients[name] = PlainProducer(self.shop, name, some)
        if self.chance.random() < 0.5:
            clients["wide"] = WideReader(self.shop, "wide", self.partitions)
        if self.chance.random() < 0.5:
            clients["churn"] = Churner(self.shop, "churn")
        return clients

    def _other_clients(self, members: Group) -> dict[str, Runs]:
        clients: dict[str, Runs] = {}
        if self.chance.random() < 0.5:
            clients["onlooker"] = Onlooker(self.shop, "onlooker", self.partitions, members)
        for topic, choices in CHANGES.items():
            if self.chance.random() < 0.3:
                name = f"changer-{topic}"
                clients[name] = ConfigChanger(self.shop, name, topic, choices)
        for name, kind in ROUGH.items():
            if self.chance.random() < 0.3:
                clients[name] = kind(self.shop, name, self.chance.choice(self.partitions))
        return clients

    def _group_clients(self, members: Group) -> dict[str, Runs]:
        clients: dict[str, Runs] = {}
        for number in range(self.chance.randint(0, 2)):
            committer = Committer(
                self.shop,
                f"group-{number}",
                self.partitions[0],
                is_forgotten=self.shop.is_forgetful,
            )
            self.committers.append(committer)
            clients[committer.group] = committer
        if self.chance.random() < 0.3:
            clients["forgotten"] = Committer(
                self.shop, "forgotten", self.partitions[0], is_forgotten=True
            )
        for number in range(self.chance.choice([0, 0, 1, 3])):
            name = f"member-{number}"
            clients[name] = Member(self.shop, name, members)
        return clients
