"""`automq storage`: what lies in the object store, and whether it is what should lie there.

One module a command: `audit.py` compares the store with the metadata, `inspect.py` shows one thing
in a readable form, `check.py` tries whether a store is fit. `sizes.py` writes sizes for people.

Nothing here changes a store but `audit --repair`, which deletes what can never be needed, and
`check`, which deletes what it wrote. A cluster may run meanwhile.

Exit status: 0 all is as it should be, 1 something is not (or could not be asked), 2 the input was
wrong and nothing was done; and those that a command's help names.
"""

import click

from automq.cli.storage.audit import audit
from automq.cli.storage.check import check
from automq.cli.storage.inspect import inspect

__all__ = ["storage"]


@click.group()
def storage() -> None:
    """Look at the object store."""


storage.add_command(audit)
storage.add_command(check)
storage.add_command(inspect)
