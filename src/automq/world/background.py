"""Short tasks whose failure is news, and not the end of the node."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """Tasks of a `TaskGroup` that may fail alone: the stack is logged, the failure counted.

    What a node cannot live without (uploading, the metadata log) is a task of the group itself.
    """

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self.failures = 0

    def spawn(self, name: str, work: Coroutine[Any, Any, object]) -> "asyncio.Task[None] | None":
        """Run `work` until it ends or the group does; None if the group is ending already."""
        running = self._run(name, work)
        try:
            task = self._tasks.create_task(running, name=name)
        except RuntimeError:
            # The group is ending, and the node with it: what comes now is not begun.
            running.close()
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
