"""WALs by URI."""

from pathlib import Path
from urllib.parse import unquote

from automq.stream.wal.file import FileWals
from automq.stream.wal.wal import Wal, WalHome, WalOptions, WalRecovery


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


def open_wal(uri: str, *, wal_id: int, node_id: int, cluster_id: bytes, options: WalOptions) -> Wal:
    """A new WAL at `uri`. Errors: those of `wal_home` and `WalHome.open`."""
    home = wal_home(uri)
    return home.open(wal_id=wal_id, node_id=node_id, cluster_id=cluster_id, options=options)


def recover_wal(
    uri: str, *, wal_id: int, start: int, cluster_id: bytes | None = None
) -> WalRecovery:
    """The records of a WAL at `uri`. Errors: those of `wal_home` and `WalHome.recover`."""
    return wal_home(uri).recover(wal_id=wal_id, start=start, cluster_id=cluster_id)
