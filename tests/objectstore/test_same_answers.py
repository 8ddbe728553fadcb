"""A directory and a dict are the same store: whatever is asked, they answer the same."""

import asyncio
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from automq.objectstore import ObjectStore, open_store
from automq.objectstore.memory import MemoryStore
from automq.world import system_world

SEGMENTS = st.text(alphabet="ab-0.~é", min_size=1, max_size=2).filter(lambda s: s[0] != ".")
KEYS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)


def without_folders(keys: set[str]) -> list[str]:
    """A directory cannot hold a key that is a folder of another."""
    return [key for key in keys if not any(other.startswith(f"{key}/") for other in keys)]


async def listed(store: ObjectStore, prefix: str, after: str | None) -> list[tuple[str, int]]:
    return [(known.key, known.size_bytes) async for known in store.list(prefix, after=after)]


@settings(max_examples=40, deadline=None)
@given(
    keys=st.sets(KEYS, max_size=8).map(without_folders),
    key=KEYS,
    cut=st.integers(0, 5),
    after=st.none() | KEYS,
)
def test_lists_are_the_same(keys: list[str], key: str, cut: int, after: str | None) -> None:
    async def story(path: str) -> None:
        file = open_store(f"file://{path}", system_world())
        memory = MemoryStore(system_world().clock)
        for stored in keys:
            await file.put(stored, [stored.encode()])
            await memory.put(stored, [stored.encode()])
        prefix = key[:cut] if not key[:cut].endswith(("/.", "//")) else ""
        assert await listed(file, prefix, after) == await listed(memory, prefix, after)
        await file.delete_many(keys[::2])
        await memory.delete_many(keys[::2])
        assert await listed(file, "", after) == await listed(memory, "", after)
        await file.close()

    with tempfile.TemporaryDirectory() as path:
        asyncio.run(story(path))


@settings(max_examples=200, deadline=None)
@given(key=st.text(alphabet=st.characters() | st.sampled_from("/.\n\x7f\x85"), max_size=300))
def test_keys_are_refused_by_both_or_by_none(key: str) -> None:
    async def is_refused(store: ObjectStore) -> bool:
        try:
            await store.delete(key)
        except ValueError:
            return True
        return False

    async def story(path: str) -> None:
        file = open_store(f"file://{path}", system_world())
        memory = MemoryStore(system_world().clock)
        assert await is_refused(file) == await is_refused(memory)
        await file.close()

    with tempfile.TemporaryDirectory() as path:
        asyncio.run(story(path))
