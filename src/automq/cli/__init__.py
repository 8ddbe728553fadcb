"""The `automq` command.

One module or package per noun (`server.py`, `storage/`), added to the group here; `main` is the
entry point of the installed command and of `python -m automq`. Messages name the thing, say what to
do next, and read well without colour.

Exit status: 0 done, 1 failed, 2 the input was wrong and nothing was done. `python -O` is refused,
because assertions guard the data.

Nothing here decides anything; a command parses its words, builds what it needs from the layers
below, and prints.
"""

import sys

import click

from automq.cli.metadata import metadata
from automq.cli.server import server
from automq.cli.storage import storage
from automq.cli.wal import wal

__all__ = ["main"]

OPTIMISED = "automq refuses to run with python -O: its assertions guard the data"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="automq", message="%(prog)s %(version)s")
def cli() -> None:
    """A Kafka-compatible streaming platform that keeps its data in object storage."""


cli.add_command(server)
cli.add_command(metadata)
cli.add_command(wal)
cli.add_command(storage)


def main() -> None:
    """The entry point of the installed command."""
    if not __debug__:
        print(OPTIMISED, file=sys.stderr)
        sys.exit(2)
    cli(prog_name="automq")
