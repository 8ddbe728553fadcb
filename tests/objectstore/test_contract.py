"""What every object store keeps: the same tests on all of them."""

import asyncio

import pytest

from automq._native import Buf
from automq.objectstore import AlreadyExists, Corrupt, NotFound, ObjectStore

UNUSUAL_KEYS = [
    "a b/c+d",
    "per%cent/%2F/100%",
    "数据/ключ/é",
    "a..b/-/~x",
    "quotes'\"/<tag>&amp;",
    "q?x=1&y=2#z",
    "back\\slash/*[x]{y}|z^`",
    "x" * 255,
]


async def keys(store: ObjectStore, prefix: str = "", after: str | None = None) -> list[str]:
    return [known.key async for known in store.list(prefix, after=after)]


async def test_an_object_is_read_as_it_was_written(store: ObjectStore) -> None:
    await store.put("a/b", [b"one ", Buf(b"two "), b"", b"three"])
    assert bytes(await store.get("a/b")) == b"one two three"


async def test_a_put_replaces_an_older_object(store: ObjectStore) -> None:
    await store.put("a", [b"old and long"])
    await store.put("a", [b"new"])
    assert bytes(await store.get("a")) == b"new"


async def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    await store.put("empty", [])
    await store.put_if_absent("empty2", [b""])
    assert bytes(await store.get("empty")) == b""
    assert (await store.head("empty2")).size_bytes == 0


async def test_a_create_of_an_existing_key_loses_and_changes_nothing(store: ObjectStore) -> None:
    await store.put_if_absent("log/1", [b"first"])
    with pytest.raises(AlreadyExists, match="log/1"):
        await store.put_if_absent("log/1", [b"second"])
    assert bytes(await store.get("log/1")) == b"first"


async def test_a_create_after_a_delete_wins(store: ObjectStore) -> None:
    await store.put_if_absent("log/1", [b"first"])
    await store.delete("log/1")
    await store.put_if_absent("log/1", [b"second"])
    assert bytes(await store.get("log/1")) == b"second"


async def test_of_32_creators_exactly_one_wins_and_its_bytes_stay(store: ObjectStore) -> None:
    async def create(writer: int) -> int | None:
        try:
            await store.put_if_absent("race", [b"%d" % writer * 1000])
        except AlreadyExists:
            return None
        return writer

    outcomes = await asyncio.gather(*map(create, range(32)))
    winners = [writer for writer in outcomes if writer is not None]
    assert len(winners) == 1
    assert bytes(await store.get("race")) == b"%d" % winners[0] * 1000


async def test_ranges_are_cut_exactly(store: ObjectStore) -> None:
    await store.put("a", [bytes(range(100)), bytes(range(100, 200))])
    assert bytes(await store.get_range("a", 95, 105)) == bytes(range(95, 105))
    assert bytes(await store.get_range("a", 199, 200)) == b"\xc7"
    ranges = await store.get_ranges("a", [(150, 160), (0, 1), (0, 200)])
    assert [len(piece) for piece in ranges] == [10, 1, 200]
    assert bytes(ranges[0]) == bytes(range(150, 160))


async def test_no_ranges_are_no_bytes(store: ObjectStore) -> None:
    await store.put("a", [b"xyz"])
    assert await store.get_ranges("a", []) == []


async def test_a_range_beyond_the_end_is_damage_not_a_short_answer(store: ObjectStore) -> None:
    await store.put("a", [b"xyz"])
    for start, end in [(0, 4), (2, 9), (3, 4), (1000, 1001)]:
        with pytest.raises(Corrupt):
            await store.get_range("a", start, end)


async def test_an_empty_range_is_the_callers_mistake(store: ObjectStore) -> None:
    await store.put("a", [b"xyz"])
    with pytest.raises(ValueError, match="empty or backwards"):
        await store.get_range("a", 1, 1)


async def test_a_missing_object_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match="get 'no/such'"):
        await store.get("no/such")
    with pytest.raises(NotFound):
        await store.get_range("no/such", 0, 1)
    with pytest.raises(NotFound):
        await store.head("no/such")


async def test_deleting_what_is_not_there_is_fine(store: ObjectStore) -> None:
    await store.delete("no/such")
    await store.put("a", [b"x"])
    await store.delete_many(["a", "no/such", "nor/this"])
    await store.delete_many([])
    assert await keys(store) == []


async def test_many_objects_are_listed_and_deleted_together(store: ObjectStore) -> None:
    await _fill_list_and_delete(store, 40)


@pytest.mark.long
async def test_more_objects_than_a_request_takes_are_listed_and_deleted(store: ObjectStore) -> None:
    await _fill_list_and_delete(store, 1_050)


async def _fill_list_and_delete(store: ObjectStore, objects: int) -> None:
    names = [f"many/{number:05}" for number in range(objects)]
    await asyncio.gather(*(store.put(name, [b"x"]) for name in names))
    assert await keys(store, "many/") == names
    await store.delete_many(names[1:])
    assert await keys(store) == names[:1]


async def test_a_list_is_in_the_order_of_the_keys_bytes(store: ObjectStore) -> None:
    names = ["a-b", "a.b", "a/x", "a/y/z", "a0", "b", "é", "数", "B"]
    for name in reversed(names):
        await store.put(name, [name.encode()])
    assert await keys(store) == sorted(names, key=str.encode)


async def test_a_list_shows_what_starts_with_its_prefix(store: ObjectStore) -> None:
    for name in ["m/0/1", "m/0/2", "m/00", "m/1", "n"]:
        await store.put(name, [b"x"])
    assert await keys(store, "m/0") == ["m/0/1", "m/0/2", "m/00"]
    assert await keys(store, "m/0/") == ["m/0/1", "m/0/2"]
    assert await keys(store, "m/0/2") == ["m/0/2"]
    assert await keys(store, "x") == []
    assert await keys(store, after="m/0/2") == ["m/00", "m/1", "n"]
    assert await keys(store, "m/", after="m/0") == ["m/0/1", "m/0/2", "m/00", "m/1"]


async def test_a_list_and_a_head_know_the_size(store: ObjectStore) -> None:
    await store.put("a", [b"12345"])
    listed = [known async for known in store.list("")]
    assert listed == [await store.head("a")]
    assert listed[0].size_bytes == 5
    assert listed[0].modified_ms > 1_600_000_000_000


@pytest.mark.parametrize("key", UNUSUAL_KEYS)
async def test_unusual_keys_are_keys(store: ObjectStore, key: str) -> None:
    if store.name.startswith("az://") and "\\" in key:
        pytest.skip("Azure takes a backslash for a slash: refused")
    await store.put_if_absent(key, [b"x"])
    assert await keys(store) == [key]
    assert (await store.head(key)).key == key
    assert bytes(await store.get_range(key, 0, 1)) == b"x"
    await store.delete_many([key])
    assert await keys(store) == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../x", "a/./b", ".hidden", "a\n", "x" * 256]
)
async def test_keys_that_some_store_cannot_hold_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        await store.put(key, [b"x"])
    with pytest.raises(ValueError, match="key"):
        await store.get(key)


async def test_a_big_object_comes_back_whole(store: ObjectStore) -> None:
    piece = bytes(range(256)) * 4096
    await store.put("big", [piece] * 20)
    assert bytes(await store.get("big")) == piece * 20
    assert bytes(await store.get_range("big", 5 << 20, 6 << 20)) == piece


async def test_a_cancelled_call_leaves_the_store_usable(store: ObjectStore) -> None:
    calls = [asyncio.ensure_future(store.put(f"a/{n}", [b"x" * 10_000])) for n in range(50)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await store.put("b", [b"y"])
    assert bytes(await store.get("b")) == b"y"


async def test_a_copy_has_the_bytes_and_replaces_an_older_object(store: ObjectStore) -> None:
    await store.put("a/source", [b"one ", b"two"])
    await store.put("b/target", [b"older"])
    await store.copy("a/source", "b/target")
    await store.put("a/source", [b"changed later"])
    assert bytes(await store.get("b/target")) == b"one two"


async def test_a_copy_of_nothing_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        await store.copy("no/such", "target")
    assert await keys(store) == []


async def test_ranges_near_and_far_keep_the_order_asked_for(store: ObjectStore) -> None:
    piece = bytes(range(256)) * 4096
    await store.put("big", [piece] * 4)
    ranges = [(3 << 20, (3 << 20) + 10), (5, 9), (7, 8), ((3 << 20) + 4, (3 << 20) + 6), (0, 1)]
    read = await store.get_ranges("big", ranges)
    assert [bytes(each) for each in read] == [(piece * 4)[start:end] for start, end in ranges]
