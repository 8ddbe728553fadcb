"""What only stores of the native core have: completions, closing, opening."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

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


async def test_a_directory_that_refuses_writes_for_a_while_works_again(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/s", system_world())
    await store.put("a", [b"old"])
    (tmp_path / "s/.tmp").rmdir()
    (tmp_path / "s/.tmp").write_text("in the way")
    with pytest.raises(Denied, match=r"put 'a' in file:.*/s: cannot create a file in .*/s/\.tmp"):
        await store.put("a", [b"new"])
    with pytest.raises(Denied):
        await store.put_if_absent("b", [b"new"])
    assert bytes(await store.get("a")) == b"old"
    (tmp_path / "s/.tmp").unlink()
    await store.put("a", [b"new"])
    await store.put_if_absent("b", [b"new"])
    assert bytes(await store.get("a")) == b"new"
    await store.close()


def test_uvloop_is_woken_too(tmp_path: Path) -> None:
    async def story() -> list[bytes]:
        store = open_store(f"file://{tmp_path}", system_world())
        await asyncio.gather(*(store.put(f"a/{n}", [b"%d" % n]) for n in range(50)))
        bodies = await asyncio.gather(*(store.get(f"a/{n}") for n in range(50)))
        await store.close()
        return list(map(bytes, bodies))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(story()) == [b"%d" % n for n in range(50)]


FORK = """
import asyncio, os, sys
from automq.objectstore import open_store
from automq.world import system_world

async def use():
    await open_store("file://" + sys.argv[1], system_world()).put("a", [b"x"])

asyncio.run(use())
child = os.fork()
if child == 0:
    try:
        asyncio.run(use())
    except ValueError as refused:
        os._exit(7 if "forked" in str(refused) else 8)
    os._exit(9)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_forked_after_the_first_call_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], timeout=30, check=False)
    assert done.returncode == 7
