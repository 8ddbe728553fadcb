"""`python -m automq`: the same as the `automq` command."""

from automq.cli import main

main()
