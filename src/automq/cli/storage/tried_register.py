"""A register on PostgreSQL, for `automq storage check postgresql://...`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from automq.cli.configured import UNUSABLE, say
from automq.cli.storage.tried import Tried
from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.metadata.postgres import Location, open_register, parse_uri
from automq.metadata.postgres.checking import Look, commits, drop_if_empty, look
from automq.metadata.register import Unfit, Unsafe, Unsettled
from automq.metadata.register_check import CANNOT_SHOW, RegisterTrial, examine_register
from automq.node import NodeFailure
from automq.objectstore import BadUri
from automq.objectstore.check import Finding, Outcome
from automq.world import World

NODES = 4
"""So many use it at once, each with sessions of its own."""


@asynccontextmanager
async def register(config: NodeConfig, world: World, uri: str) -> AsyncIterator[Tried]:
    """The register at a URI, used by several at once. Raises NodeFailure.

    The table is taken away again if it was not there and is empty afterwards.
    """
    password = config.get(keys.automq.POSTGRES_PASSWORD)
    try:
        location = parse_uri(uri)
        registers = [open_register(location, password, world.clock) for _ in range(NODES)]
        found = await looked_at(location, password)
    except (BadUri, Unfit) as error:
        raise NodeFailure(str(error), status=UNUSABLE) from None
    except Unsettled as error:
        raise NodeFailure(f"{location}: {error}", status=UNUSABLE) from None
    trial = RegisterTrial(registers, world)
    try:
        if isinstance(found, Look):
            steps = examine_register(trial, commits(location, found))
        else:
            steps = examine_register(trial, found, is_tried=False)
        yield Tried(str(location), (), trial.prefix, steps, trial.clean, CANNOT_SHOW)
    finally:
        for it in registers:
            await it.close()
        if isinstance(found, Look) and not found.has_table:
            await taken_away(location, password)


async def looked_at(location: Location, password: str | None) -> Look | Finding:
    """What the server says of itself, or why nothing more needs to be tried. Raises Unsettled."""
    try:
        return await look(location, password)
    except Unsafe as why:
        return Finding("synchronous commits", Outcome.UNFIT, str(why))


async def taken_away(location: Location, password: str | None) -> None:
    try:
        await drop_if_empty(location, password)
    except Unsettled as error:
        say(f"automq: the table {location.table}, which the check made, stays: {error}")
