"""Short tasks whose failure is news, and not the end of the node."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Tasks(Protocol):
    """Where background work belongs: an `asyncio.TaskGroup`, whose end is its end."""

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None
    ) -> "asyncio.Task[T]": ...


async def beside(work: Callable[[], T]) -> T:
    """Native work beside the loop, without the GIL."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


def begin(tasks: Tasks, name: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T] | None":
    """Run `work` as a task; None if the group is ending, and the node with it: what comes then is
    not begun.
    """
    try:
        return tasks.create_task(work, name=name)
    except RuntimeError:
        work.close()
        return None


class Background:
    """Tasks of a `TaskGroup` that may fail alone: the stack is logged, the failure counted.

    What a node cannot live without (uploading, the metadata log) is a task of the group itself.
    """

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self.failures = 0

    def spawn(self, name: str, work: Coroutine[Any, Any, object]) -> "asyncio.Task[None] | None":
        """Run `work` until it ends or the group does; None if the group is ending already."""
        task = begin(self._tasks, name, self._run(name, work))
        if task is None:
            work.close()
            return None
        # What was cancelled before it began would be missed as never awaited.
        task.add_done_callback(lambda _: work.close())
        return task

    async def _run(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception:
            self.failures += 1
            log.exception("%s failed", name)
