"""Which store a URI names, and opening it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from automq._native import BlobError, BlobStore
from automq.objectstore import errors
from automq.objectstore.memory import MemoryStore
from automq.objectstore.native import NativeStore
from automq.objectstore.store import ObjectStore
from automq.world import World


class BadUri(ValueError):
    """The URI names no store. One line: what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A directory, relative to the working directory unless absolute."""

    path: Path

    def __str__(self) -> str:
        return f"file://{self.path}" if self.path.is_absolute() else f"file://./{self.path}"


@dataclass(frozen=True, slots=True)
class MemoryLocation:
    """A store of this process, empty each time it is opened."""

    def __str__(self) -> str:
        return "memory://"


Location: TypeAlias = FileLocation | MemoryLocation


def parse_uri(uri: str) -> Location:
    """The store that `uri` names. Raises BadUri; looks at nothing but the text."""
    try:
        parts = urlsplit(uri)
    except ValueError as why:
        raise BadUri(f"storage URI {uri!r}: {why}") from None
    match parts.scheme:
        case "file":
            return _file(uri, parts)
        case "memory":
            if parts.netloc or parts.path or parts.query or parts.fragment:
                raise BadUri(f"storage URI {uri!r}: memory:// takes nothing after it")
            return MemoryLocation()
        case _:
            raise BadUri(
                f"storage URI {uri!r}: starts with none of file:// (a directory), s3:// and"
                " memory://; a directory is file://./data or file:///var/lib/automq"
            )


def open_store(uri: str, world: World) -> ObjectStore:
    """The store that `uri` names. Raises BadUri, Denied, Unavailable.

    `file://` opens its directory at once, and blocks for that long; the others wait for the first
    call. Processes that share a store share nothing else.
    """
    location = parse_uri(uri)
    match location:
        case MemoryLocation():
            return MemoryStore(world.clock)
        case FileLocation(path=path):
            return NativeStore(_opened(str(location), str(path)), str(location))


def _opened(name: str, path: str) -> BlobStore:
    try:
        return BlobStore.local(path)
    except BlobError as refused:
        kind, why = refused.args
        raise getattr(errors, kind)("open", name, "", why) from None


def _file(uri: str, parts: SplitResult) -> FileLocation:
    if parts.netloc not in ("", ".", "..", "localhost"):
        raise BadUri(
            f"storage URI {uri!r}: {parts.netloc!r} is where a host would be; write"
            f" file://./{parts.netloc}{parts.path} or file:///{parts.netloc}{parts.path}"
        )
    if parts.query or parts.fragment:
        raise BadUri(f"storage URI {uri!r}: file:// takes a path and nothing after it")
    relative = parts.netloc if parts.netloc in (".", "..") else ""
    path = Path(unquote(relative + parts.path))
    if path == Path(relative or "/") and relative != "..":
        raise BadUri(f"storage URI {uri!r}: names no directory; write file://./data")
    return FileLocation(path)
