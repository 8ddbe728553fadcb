"""An object store, by each of its addresses, for `automq storage check`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from automq.cli.configured import UNUSABLE
from automq.cli.storage.tried import Tried
from automq.config.node_config import NodeConfig
from automq.node import NodeFailure
from automq.node.storage import open_at
from automq.objectstore import BadUri, ObjectStore, parse_uri
from automq.objectstore.check import CANNOT_SHOW, Trial, examine
from automq.objectstore.location import FileLocation
from automq.objectstore.store import PART_BYTES
from automq.world import World

ADDRESSES_MAX = 16


@asynccontextmanager
async def store(config: NodeConfig, world: World, uri: str) -> AsyncIterator[Tried]:
    """The store through each address of its endpoint. Raises NodeFailure."""
    refuse_missing_directory(uri)
    temporary = temporary_of(uri)
    first = open_at(config, world, uri, multipart_bytes=PART_BYTES)
    stores = []
    try:
        addresses = await addresses_of(first, uri)
        for address in addresses:
            at = ip_address(address)
            stores.append(open_at(config, world, uri, address=at, multipart_bytes=PART_BYTES))
        trial = Trial(stores or [first], world)
        yield Tried(first.name, addresses, trial.prefix, examine(trial), trial.clean, CANNOT_SHOW)
    finally:
        for store in (first, *stores):
            await store.close()
        if temporary is not None:
            with suppress(OSError):
                temporary.rmdir()


def refuse_missing_directory(uri: str) -> None:
    """Opening a directory makes it, and a check leaves nothing behind. Raises NodeFailure."""
    try:
        location = parse_uri(uri)
    except BadUri as error:
        raise NodeFailure(str(error), status=UNUSABLE) from None
    if isinstance(location, FileLocation) and not Path(location.path).is_dir():
        raise NodeFailure(f"there is no directory {location.path}; make it first", status=UNUSABLE)


def temporary_of(uri: str) -> Path | None:
    """What opening a directory makes in it, unless it is there already."""
    location = parse_uri(uri)
    if not isinstance(location, FileLocation):
        return None
    folder = Path(location.path) / ".tmp"
    return None if folder.exists() else folder


async def addresses_of(store: "ObjectStore", uri: str) -> list[str]:
    """Every address at which the store's host may be asked; none for a directory.

    Raises NodeFailure if the host has none.
    """
    authority = getattr(store, "authority", None)
    if authority is None or "proxy=" in uri:
        return []
    host = urlsplit(f"//{authority}").hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, 0)
    except OSError as error:
        raise NodeFailure(
            f"{uri}: the host {host} is not known ({error.strerror}); look at bucket and endpoint",
            status=UNUSABLE,
        ) from None
    return list(dict.fromkeys(str(it[4][0]) for it in found))[:ADDRESSES_MAX]
