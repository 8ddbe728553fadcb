"""Background work of a test that has no task group."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LooseTasks:
    """Tasks of whatever loop is running."""

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None
    ) -> "asyncio.Task[T]":
        return asyncio.get_running_loop().create_task(coro, name=name)
