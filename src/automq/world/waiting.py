"""From callbacks to coroutines."""

import asyncio
from collections.abc import Callable


def settle(future: "asyncio.Future[None]") -> None:
    """Let whoever waits for `future` go on; nobody may wait any more, and that is fine."""
    if not future.done():
        future.set_result(None)


async def called(register: Callable[[Callable[[], None]], object]) -> None:
    """Wait until the callback that `register` is given runs (perhaps before it returns)."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    register(lambda: settle(future))
    await future
