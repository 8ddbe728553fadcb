"""What only stores of the native core have: completions, closing, opening."""

import asyncio
from pathlib import Path

import pytest

from automq.objectstore import Denied, open_store
from automq.world import system_world


async def test_a_closed_store_answers_nobody(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}", system_world())
    await store.put("a", [b"x"])
    pending = asyncio.ensure_future(store.get("a"))
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(pending, return_exceptions=True)
    with pytest.raises(RuntimeError, match="closed"):
        await store.get("a")


async def test_two_stores_of_one_directory_see_each_other(tmp_path: Path) -> None:
    one, other = (open_store(f"file://{tmp_path}/s", system_world()) for _ in range(2))
    await one.put("a/b", [b"x"])
    assert bytes(await other.get("a/b")) == b"x"
    await one.close()
    await other.close()


def test_a_directory_that_cannot_be_one_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied, match=r"open .*file/store: cannot open directory .*: Not a dir"):
        open_store(f"file://{tmp_path}/file/store", system_world())
