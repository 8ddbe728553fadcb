"""Registers on a real PostgreSQL, each with a table of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from automq.metadata.postgres import PostgresRegister, open_register, parse_uri
from automq.world import World
from support.postgres_server import Postgres

_numbers = count()


@asynccontextmanager
async def register_on(
    server: Postgres, world: World, *parameters: str, table: str | None = None
) -> AsyncIterator[PostgresRegister]:
    """A register for the time of a `with` block; on a table that nobody else has, unless named."""
    where = (f"table={table or new_table()}", *parameters)
    register = open_register(parse_uri(server.uri(*where)), None, world.clock)
    try:
        yield register
    finally:
        await register.close()


def new_table() -> str:
    return f"register_{next(_numbers)}"
