"""The register on a table of PostgreSQL: for stores that do not keep the promise, and for haste.

Main names: `parse_uri` reads `postgresql://...` into a `Location`; `open_register` makes the
`PostgresRegister` of one. It asks through `Links`, which are a few sessions to one server; the real
ones are `AsyncpgSession`, those of a simulation come from `simulated`.

Invariants, each of which an acknowledgement rests on:

* A create is one statement, so at most one creator of a key is told that it won.
* Every verdict (won, exists, what is read) is a commit of its own where a standby may take over: it
  is answered only when the standby has it, and with it everything that it rests on.
* Before each create its own session says that commits are synchronous; what it says, not what it
  said once, counts.
* All sessions are to one server and one history of it; an answer from an older one is no answer.

It never repeats anything (`SteadyRegister` does), never cancels a statement (that would make a row
seen that no standby has), and never shows or keeps a password.
"""

from automq.metadata.postgres.location import Location, parse_uri
from automq.metadata.postgres.register import PostgresRegister
from automq.metadata.postgres.sessions import open_register

__all__ = ["Location", "PostgresRegister", "open_register", "parse_uri"]
