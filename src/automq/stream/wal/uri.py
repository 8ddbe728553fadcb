"""WALs by URI."""

from pathlib import Path
from urllib.parse import unquote

from automq.stream.wal.file import FileWals
from automq.stream.wal.wal import WalHome


def wal_home(uri: str) -> WalHome:
    """The place that `uri` names. `file://path` is relative, `file:///path` absolute.

    Raises ValueError for anything else.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise ValueError(f"WAL URI {uri!r}: has no scheme; write file://<directory>")
    if scheme != "file":
        raise ValueError(
            f"WAL URI {uri!r}: scheme {scheme!r} is not known; write file://<directory>"
        )
    if "?" in rest or "#" in rest:
        raise ValueError(
            f"WAL URI {uri!r}: a file URI takes no parameters; write file://<directory>"
        )
    if not rest:
        raise ValueError(f"WAL URI {uri!r}: names no directory; write file://<directory>")
    return FileWals(Path(unquote(rest)))
