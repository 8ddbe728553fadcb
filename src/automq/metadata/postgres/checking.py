"""What `automq storage check` finds out about a server before it tries the register on it."""

from dataclasses import dataclass

from automq.metadata.postgres.location import Location, Standby
from automq.metadata.postgres.sessions import Connector, Dial
from automq.objectstore.check import Finding, Outcome


@dataclass(frozen=True, slots=True)
class Look:
    """What the server that takes writes says of itself."""

    standby_names: str
    """`synchronous_standby_names`."""
    has_table: bool


async def look(location: Location, password: str | None, *, connect: Dial | None = None) -> Look:
    """Ask it, by a session that it accepts only with commits as they have to be.

    Raises Unsafe if they are not, Unfit, Unsettled.
    """
    session = await Connector(location, password, connect=connect, warns=False).open()
    try:
        standby_names, persistence = await session.introduce()
    finally:
        await session.close()
    return Look(standby_names, bool(persistence))


async def drop_if_empty(
    location: Location, password: str | None, *, connect: Dial | None = None
) -> None:
    """Take away a table that the check has made, unless somebody has put something into it.

    Raises Unsettled.
    """
    session = await Connector(location, password, connect=connect, warns=False).open()
    try:
        await session.drop_if_empty()
    finally:
        await session.close()


def commits(location: Location, found: Look) -> Finding:
    """How safe a commit is, which the server was asked, and where one may be lost all the same."""
    what, names = "synchronous commits", found.standby_names
    match location.standby:
        case Standby.REQUIRED:
            return Finding(what, Outcome.OK, f"each waits for a synchronous standby: {names}")
        case Standby.NONE:
            text = "each is on the server's disk; standby=none says that no other takes over"
            return Finding(what, Outcome.OK, text)
    if names:
        text = f"each waits for a standby ({names}), but reads do not: say standby=required"
    else:
        text = (
            "each is on the server's disk and nowhere else: never fail over to another; say "
            "standby=none if none ever takes over, or standby=required"
        )
    return Finding(what, Outcome.WARNING, text)
