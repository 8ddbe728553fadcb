"""`automq metadata`: looking at the metadata log."""

import asyncio
import sys

import click

from automq.cli.configured import configured, say
from automq.config.node_config import NodeConfig

FAILED = 1


@click.group()
def metadata() -> None:
    """Look at the metadata log."""


@metadata.command()
@configured
def dump(config: NodeConfig) -> None:
    """Print the log: its newest snapshot and every entry after it.

    It only reads, and so may be used while a node runs. What cannot be read ends it.
    """
    from automq.node import NodeFailure

    try:
        asyncio.run(print_log(config))
    except NodeFailure as error:
        say(f"automq: {error}")
        sys.exit(error.status)


async def print_log(config: NodeConfig) -> None:
    """The lines of the log that `config` names, on standard output. Raises NodeFailure."""
    from automq.metadata.dump import dump_log
    from automq.metadata.log import DamagedLog
    from automq.metadata.records.registry import UnknownRecord
    from automq.metadata.register import ObjectStoreRegister, SteadyRegister
    from automq.node import NodeFailure
    from automq.node.storage import open_at
    from automq.objectstore import StoreError
    from automq.world import system_world

    world = system_world()
    store = open_at(config, world, config.metadata_uri)
    try:
        async for line in dump_log(SteadyRegister(ObjectStoreRegister(store), world)):
            print(line)
    except (DamagedLog, UnknownRecord, StoreError) as error:
        raise NodeFailure(str(error)) from None
