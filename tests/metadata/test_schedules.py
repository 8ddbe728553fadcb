"""Competing controllers on a register that loses answers, delays writes and lets writers stall.

The truth is what was created first under each number. A seed that fails is a bug that anyone can
replay: `run_seed(SEED)`.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from automq.metadata.decision import Command, Decision
from automq.metadata.election import Elected, elect
from automq.metadata.image import Image
from automq.metadata.log import Author, decode_entry, encode_all, entry_key
from automq.metadata.reader import MetadataReader
from automq.metadata.records.cluster import ClusterCreated
from automq.metadata.records.configs import ConfigResource, ConfigSet
from automq.metadata.register import Patience, Register, SteadyRegister
from automq.metadata.state import MetadataState, Policy, Stopped, StoredEntry
from automq.metadata.writer import Deposed
from automq.world import SystemClock, World
from metadata.virtual import VirtualClock, VirtualLoop
from support.memory_register import Faults, MemoryRegister, Wire

CHUNK = 4
SPEEDS = [0, 1, 1, 4, 40, 200]
POLICY = Policy(lazy_ms=3, probe_ms=40, snapshot_entries=3)


@dataclass(slots=True)
class TruthfulRegister(MemoryRegister):
    """Remembers what was created first."""

    first: dict[str, bytes] = field(default_factory=dict)

    def create_now(self, key: str, data: bytes) -> bool:
        won = MemoryRegister.create_now(self, key, data)
        if won:
            self.first.setdefault(key, data)
        return won


def truth(first: Mapping[str, bytes], positions: set[int]) -> dict[int, bytes]:
    """What the entries that were created first add up to, up to each of these positions."""
    unused = SteadyRegister(MemoryRegister(), World(SystemClock(), random.Random(0)))
    reader = MetadataReader(unused)
    found = {-1: contents(reader.image)}
    for number in range(max(positions) + 1):
        reader.accept(decode_entry(first[entry_key(number, CHUNK)], number))
        if number in positions:
            found[number] = contents(reader.image)
    return found


def contents(image: Image) -> bytes:
    return bytes(encode_all(image.snapshot_records()))


def setting(record: ConfigSet) -> Command[None]:
    return lambda image: Decision([record], None)


@dataclass(slots=True)
class Story:
    """One run: its store, its chance, what was acknowledged, what readers saw."""

    loop: VirtualLoop
    chance: random.Random
    store: TruthfulRegister = field(default_factory=TruthfulRegister)
    wires: list[Wire] = field(default_factory=list)
    names: int = 0
    acknowledged: list[str] = field(default_factory=list)
    views: list[tuple[int, bytes]] = field(default_factory=list)
    heard: dict[int, StoredEntry] = field(default_factory=dict)

    def world(self) -> World:
        return World(VirtualClock(self.loop), self.chance)

    def register(self) -> SteadyRegister:
        faults = Faults(lost=0.1, late=0.08, refused=0.05, pause=self.chance.choice(SPEEDS))
        wire = Wire(self.store, self.chance, faults)
        self.wires.append(wire)
        return SteadyRegister(wire, self.world(), Patience(first_ms=1, longest_ms=20))

    async def controller(self, node_id: int) -> None:
        while True:
            world, register = self.world(), self.register()
            author = Author(node_id, world.new_uuid())
            genesis = [ClusterCreated(bytes(16), 0, CHUNK)]
            result = await elect(register, world, author, genesis=genesis)
            if isinstance(result, Elected):
                self.views.append((result.reader.position, contents(result.reader.image)))
                await self.serve(MetadataState(result, register, world, POLICY))
            await asyncio.sleep(self.chance.random() * 0.2)

    async def serve(self, state: MetadataState) -> None:
        state.on_stored(self.hear)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(state.serve())
                for _ in range(2):
                    group.create_task(self.client(state))
        except* (Deposed, Stopped):
            pass

    def hear(self, entry: StoredEntry) -> None:
        assert entry.number not in self.heard, "two controllers stored one number"
        self.heard[entry.number] = entry

    async def client(self, state: MetadataState) -> None:
        while True:
            self.names += 1
            name = f"v{self.names}"
            record = ConfigSet(ConfigResource.GROUP, name, "k", "1", False)
            run = self.chance.choice([state.run, state.run_lazy])
            await run(setting(record))
            self.acknowledged.append(name)
            if self.chance.random() < 0.3:
                await asyncio.sleep(self.chance.random() * 0.05)

    async def follower(self) -> None:
        while True:
            reader = MetadataReader(self.register())
            await reader.load()
            for _ in range(self.chance.randint(1, 20)):
                self.views.append((reader.position, contents(reader.image)))
                await asyncio.sleep(self.chance.random() * 0.1)
                await reader.poll()

    async def trouble(self, turns: int) -> None:
        """Controllers die, stall and hurry; late writes land."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.follower())
            controllers = [group.create_task(self.controller(node)) for node in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0.002)
                draw = self.chance.random()
                if draw < 0.08:
                    self.disturb(draw / 0.08)
                elif draw < 0.085:
                    node = self.chance.randrange(3)
                    controllers[node].cancel()
                    controllers[node] = group.create_task(self.controller(node))
            raise _Over

    def disturb(self, draw: float) -> None:
        """Trouble of the register's own kind; `draw` says which."""
        if draw < 0.625:
            self.store.land(self.chance)
        else:
            wire = self.chance.choice(self.wires)
            wire.faults = replace(wire.faults, pause=self.chance.choice(SPEEDS))

    def heal(self) -> Register:
        """What was under way has arrived; a register without faults."""
        while self.store.under_way:
            self.store.land(self.chance)
        return self.store

    @property
    def first(self) -> Mapping[str, bytes]:
        """What was created first under each key: the truth."""
        return self.store.first

    async def run(self, turns: int) -> None:
        try:
            await self.trouble(turns)
        except* _Over:
            pass
        await self.finish()

    async def finish(self) -> None:
        reader = MetadataReader(SteadyRegister(self.heal(), self.world()))
        await reader.load()
        self.judge(reader)

    def judge(self, final: MetadataReader) -> None:
        history = truth(self.first, {final.position, *(position for position, _ in self.views)})
        assert contents(final.image) == history[final.position]
        stored = {name for _, name in final.image.cluster.configs}
        lost = [name for name in self.acknowledged if name not in stored]
        assert not lost, "acknowledged and lost"
        for position, view in self.views:
            assert position <= final.position, "a reader saw more than there is"
            assert view == history[position], "a reader saw another history"


class _Over(Exception):
    pass


def run_seed(seed: int, turns: int = 400) -> Story:
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        story = Story(loop, random.Random(seed))
        runner.run(story.run(turns))
    return story


@pytest.mark.parametrize("seed", range(16))
def test_nothing_acknowledged_is_lost_and_there_is_one_history(seed: int) -> None:
    story = run_seed(seed)

    assert story.acknowledged


def test_a_seed_runs_the_same_way_twice() -> None:
    first, second = run_seed(3, 200), run_seed(3, 200)

    assert first.store.data == second.store.data
    assert first.acknowledged == second.acknowledged


def test_chunks_are_closed_while_controllers_compete() -> None:
    story = run_seed(1)

    assert "meta/0000000001/closed" in story.store.data
    assert entry_key(0, CHUNK) not in story.store.data


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_400))
def test_nothing_is_lost_in_many_more_schedules(seed: int) -> None:
    run_seed(seed, turns=4_000)
