"""Tasks that may fail alone."""

import asyncio

import pytest

from automq.world.background import Background


async def nothing() -> None:
    """Done at once."""


async def fails() -> None:
    raise ValueError("alone")


async def test_a_failure_is_counted_and_ends_no_other() -> None:
    async with asyncio.TaskGroup() as tasks:
        background = Background(tasks)
        background.spawn("fails", fails())
        background.spawn("nothing", nothing())
    assert background.failures == 1


async def test_work_that_comes_when_the_node_ends_is_not_begun() -> None:
    with pytest.raises(ExceptionGroup):  # noqa: PT012  the group is what raises
        async with asyncio.TaskGroup() as tasks:
            background = Background(tasks)
            tasks.create_task(fails())
            try:
                await asyncio.sleep(10)
            finally:
                background.spawn("too late", nothing())
    assert background.failures == 0


async def test_work_that_is_cancelled_before_it_begins_is_not_missed() -> None:
    with pytest.raises(ExceptionGroup):  # noqa: PT012  the group is what raises
        async with asyncio.TaskGroup() as tasks:
            Background(tasks).spawn("early", nothing())
            raise ValueError("the node ends")
