"""`automq metadata`: looking at the metadata log."""

import click

from automq.cli.configured import configured, run
from automq.config.node_config import NodeConfig


@click.group()
def metadata() -> None:
    """Look at the metadata log."""


@metadata.command()
@configured
def dump(config: NodeConfig) -> None:
    """Print the log: its newest snapshot and every entry after it.

    It only reads, and so may be used while a node runs. What cannot be read ends it.
    """
    run(lambda: print_log(config))


async def print_log(config: NodeConfig) -> None:
    """The lines of the log that `config` names, on standard output."""
    from automq.metadata.dump import dump_log
    from automq.node.storage import register_at
    from automq.world import system_world

    async with register_at(config, system_world()) as register:
        async for line in dump_log(register):
            print(line)
