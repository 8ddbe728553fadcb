"""Objects whose names are taken in a register, on a store that keeps bytes and no promise."""

import asyncio
import random

import pytest

from automq.metadata.register import Unsettled
from automq.metadata.registered_store import INLINE_BYTES, RegisteredStore, Row
from automq.objectstore import AlreadyExists, Corrupt, NotFound, OutcomeUnknown, Retrying
from automq.objectstore.memory import MemoryStore
from automq.objectstore.simulated import Effect, Fault, SimulatedStore
from automq.world import World
from support.memory_register import Faults, MemoryRegister, Wire
from support.virtual_time import LoopClock, virtual

KEY = "wal/00/c/1/0000000000000000"
LARGE, OTHER = b"a" * (INLINE_BYTES + 1), b"b" * (INLINE_BYTES + 1)


@pytest.fixture
def keeping(world: World) -> MemoryStore:
    return MemoryStore(world.clock)


@pytest.fixture
def registered(keeping: MemoryStore, store: MemoryRegister) -> RegisteredStore:
    return RegisteredStore(keeping, store)


async def keys_of(store: MemoryStore) -> list[str]:
    return [it.key async for it in store.list("")]


@pytest.mark.parametrize("body", [b"", b"small", LARGE])
async def test_what_was_created_is_read_whole_and_in_ranges(
    registered: RegisteredStore, body: bytes
) -> None:
    await registered.put_if_absent(KEY, [body[:2], body[2:]])

    assert bytes(await registered.get(KEY)) == body
    assert bytes(await registered.get_range(KEY, 0, len(body))) == body
    assert (await registered.head(KEY)).size_bytes == len(body)
    with pytest.raises(Corrupt):
        await registered.get_range(KEY, 0, len(body) + 1)


async def test_of_many_creators_one_wins_and_what_the_others_put_is_gone(
    registered: RegisteredStore, keeping: MemoryStore
) -> None:
    bodies = [bytes([number]) * 2_000 for number in range(20)]
    creating = [registered.put_if_absent(KEY, [body]) for body in bodies]
    results = await asyncio.gather(*creating, return_exceptions=True)
    [winner] = [number for number, it in enumerate(results) if it is None]

    assert bytes(await registered.get(KEY)) == bodies[winner]
    assert all(isinstance(it, AlreadyExists) for it in results if it is not None)
    assert await keys_of(keeping) == [Row.of(bodies[winner]).name(KEY)]


async def test_a_repeated_create_does_not_take_its_own_object_away(
    registered: RegisteredStore, keeping: MemoryStore
) -> None:
    await registered.put_if_absent(KEY, [LARGE])
    with pytest.raises(AlreadyExists):
        await registered.put_if_absent(KEY, [LARGE])

    assert bytes(await registered.get(KEY)) == LARGE


async def test_a_lost_verdict_is_said_to_be_unknown(
    keeping: MemoryStore, store: MemoryRegister
) -> None:
    class Lost(MemoryRegister):
        async def create(self, key: str, data: bytes) -> bool:
            await store.create(key, data)
            raise Unsettled("the answer was lost")

    with pytest.raises(OutcomeUnknown, match="the answer was lost"):
        await RegisteredStore(keeping, Lost()).put_if_absent(KEY, [LARGE])

    assert bytes(await RegisteredStore(keeping, store).get(KEY)) == LARGE


async def test_bytes_that_are_not_those_that_were_registered_are_no_answer(
    registered: RegisteredStore, keeping: MemoryStore
) -> None:
    await registered.put_if_absent(KEY, [LARGE])
    await keeping.put(Row.of(LARGE).name(KEY), [OTHER])

    with pytest.raises(Corrupt, match="its bytes are not those that were registered"):
        await registered.get(KEY)


async def test_a_damaged_row_is_no_answer(
    registered: RegisteredStore, store: MemoryRegister
) -> None:
    store.data[KEY] = Row.of(b"small").encode()[:-1]
    with pytest.raises(Corrupt, match="is damaged"):
        await registered.get(KEY)


async def test_what_was_put_and_never_registered_is_listed_and_deleted(
    registered: RegisteredStore, keeping: MemoryStore
) -> None:
    await registered.put_if_absent("wal/1", [b"small"])
    await keeping.put(Row.of(LARGE).name("wal/2"), [LARGE])
    await keeping.put(Row.of(LARGE).name("wal/0"), [LARGE])

    listed = [it.key async for it in registered.list("wal/")]
    await registered.delete_many(listed)

    assert listed == ["wal/1", "wal/2"], "what lies before the first row is older than all"
    assert await keys_of(keeping) == [Row.of(LARGE).name("wal/0")]
    with pytest.raises(NotFound):
        await registered.get("wal/1")


@virtual
async def test_on_a_store_that_ignores_conditions_one_creator_wins_whatever_is_lost() -> None:
    chance = random.Random(5)
    world = World(clock=LoopClock(), chance=chance)
    keeping = SimulatedStore(world, "sim://careless")
    keeping.inject(Fault(Effect.IGNORE_CONDITION, times=None))
    keeping.inject(Fault(Effect.LOSE_ANSWER, times=None, probability=0.2))
    data = MemoryRegister()

    class Way(Wire):
        """With faults for what is decided; lists are the register's own."""

        list, delete_many = data.list, data.delete_many

    async def create(key: str, body: bytes) -> bool:
        way = Way(data, chance, Faults(lost=0.2, refused=0.2))
        store = Retrying(RegisteredStore(keeping, way), world)
        try:
            await store.create_until_settled(key, [body])
        except AlreadyExists:
            return bytes(await store.get(key)) == body
        return True

    for number in range(30):
        bodies = [b"%d" % creator * 2_000 for creator in range(4)]
        won = await asyncio.gather(*(create(f"wal/{number}", body) for body in bodies))
        assert won.count(True) == 1
        store = Retrying(RegisteredStore(keeping, data), world)
        assert bytes(await store.get(f"wal/{number}")) == bodies[won.index(True)]
