"""WALs by URI."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from automq.objectstore import Retrying
from automq.stream.wal.file import FileWals
from automq.stream.wal.object_home import ObjectWals
from automq.stream.wal.wal import WalHome
from automq.world import World
from automq.world.background import Tasks

OBJECTS = "object+"
"""In front of `file://` it means a directory as an object store, not the WAL of segment files."""
RIGHT = "write file://<directory> or the URI of an object store"

SHARED = {"": None, "shared=true": True, "shared=false": False}


def store_uri_of(uri: str) -> str | None:
    """The object store that a WAL's URI names; None for a WAL of segment files.

    Raises ValueError for a URI that names neither.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise ValueError(f"WAL URI {uri!r}: has no scheme; {RIGHT}")
    if scheme == "file":
        directory, _, parameters = rest.partition("?")
        if parameters not in SHARED or "#" in rest:
            raise ValueError(f"WAL URI {uri!r}: takes only shared=true or shared=false; {RIGHT}")
        if not directory:
            raise ValueError(f"WAL URI {uri!r}: names no directory; {RIGHT}")
        return None
    if scheme == "memory":
        raise ValueError(f"WAL URI {uri!r}: memory survives nothing; {RIGHT}")
    return uri.removeprefix(OBJECTS)


def wal_home(
    uri: str,
    *,
    cluster_id: bytes,
    world: World,
    tasks: Tasks,
    store_at: Callable[[str], Retrying],
) -> WalHome:
    """The place that `uri` names: `file://path` is relative, `file:///path` absolute, any other is
    an object store, which `store_at` opens. `file:///path?shared=true`: on a file system that
    other machines may write (see `FileWals`).

    Raises ValueError, and what `store_at` raises.
    """
    store_uri = store_uri_of(uri)
    if store_uri is None:
        directory, _, parameters = uri.partition("://")[2].partition("?")
        return FileWals(Path(unquote(directory)), shared=SHARED[parameters])
    return ObjectWals(store_at(store_uri), world, cluster_id, tasks)
