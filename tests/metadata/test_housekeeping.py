"""What keeping the log short costs."""

from dataclasses import dataclass

from automq.metadata.housekeeping import Housekeeper
from automq.metadata.records.cluster import SnapshotTaken
from automq.metadata.register import SteadyRegister
from automq.world import World
from support.memory_register import MemoryRegister

CHUNK = 4096


@dataclass(slots=True)
class CountingRegister(MemoryRegister):
    creates: int = 0

    async def create(self, key: str, data: bytes) -> bool:
        self.creates += 1
        return await MemoryRegister.create(self, key, data)


def snapshot(position: int) -> SnapshotTaken:
    return SnapshotTaken(position, bytes(16), ())


async def test_the_hint_of_a_later_snapshot_costs_as_much_as_that_of_the_first(
    world: World,
) -> None:
    register = CountingRegister()
    keeper = Housekeeper(SteadyRegister(register, world), CHUNK)
    taken = tuple(snapshot(10 * number) for number in range(1, 7))
    for newest in range(1, len(taken)):
        await keeper.tidy(taken[newest - 1 : newest + 1])
    assert register.creates == len(taken) - 1


async def test_another_controller_finds_the_place_behind_the_hints_that_are_there(
    world: World,
) -> None:
    register = CountingRegister()
    steady = SteadyRegister(register, world)
    await Housekeeper(steady, CHUNK).tidy((snapshot(10),))
    await Housekeeper(steady, CHUNK).tidy((snapshot(20),))
    hints = sorted(key for key in register.data if "snapshot-" in key)
    assert [key[-1] for key in hints] == ["0", "1"]
