"""How long a request may take that has to be stored: its own `timeout_ms`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from automq.protocol import errors


@asynccontextmanager
async def answered_within(timeout_ms: int) -> AsyncIterator[None]:
    """Raise RequestTimedOut in the body once `timeout_ms` are over.

    What has been decided by then is stored all the same: a timeout says nothing about the outcome,
    and a client that asks again is told that it is done. Zero or less does not wait (KIP-4).
    """
    try:
        async with asyncio.timeout(max(timeout_ms, 0) / 1000):
            yield
    except TimeoutError:
        raise errors.RequestTimedOut(f"not stored within {timeout_ms} ms") from None
