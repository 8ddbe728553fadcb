"""The register itself: rows that are inserted once."""

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial

from automq.metadata.postgres.links import Links, Session
from automq.objectstore import ObjectInfo

KEYS_MAX = 1_000
"""Of one page of a list, and of one delete."""


class PostgresRegister:
    """A register on one table; see the package for what its answers promise."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def create(self, key: str, data: bytes) -> bool:
        return await self._links.ask(lambda session: session.insert(key, data))

    async def read(self, key: str) -> bytes | None:
        return await self._links.ask(lambda session: session.select(key))

    async def delete(self, key: str) -> None:
        await self._links.ask(partial(_delete, (key,)))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Every key that starts with `prefix`, by key. Raises Unsettled."""
        after = ""
        while True:
            page = await self._links.ask(partial(_page, prefix, after))
            for info in page:
                yield info
            if len(page) < KEYS_MAX:
                return
            after = page[-1].key

    async def delete_many(self, keys: Iterable[str]) -> None:
        """All of them are absent afterwards. Raises Unsettled, with some of them gone."""
        some = tuple(keys)
        for at in range(0, len(some), KEYS_MAX):
            await self._links.ask(partial(_delete, some[at : at + KEYS_MAX]))

    async def close(self) -> None:
        await self._links.close()


async def _page(prefix: str, after: str, session: Session) -> list[ObjectInfo]:
    return await session.page(prefix, after, KEYS_MAX)


async def _delete(keys: Sequence[str], session: Session) -> None:
    await session.delete(keys)
