"""The stores that a broker is measured on: a directory, or a SeaweedFS of its own."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benches import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from support.s3_servers import environment, seaweedfs, uri

KINDS = ("directory", "seaweedfs")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a broker puts its objects, and who serves them."""

    uri: str
    pid: int | None
    """The server's process; None for a directory."""

    @property
    def settings(self) -> tuple[str, ...]:
        return (f"automq.storage.uri={self.uri}",)


@contextmanager
def of(kind: str, directory: Path) -> Iterator[Place]:
    """A store for the time of a `with` block, with its data in `directory`."""
    assert kind in KINDS, kind
    if kind == "directory":
        yield Place(f"file://{directory / 'objects'}", None)
        return
    os.environ.update(environment())
    where = directory / "weed"
    where.mkdir()
    with seaweedfs(where) as server:
        assert server.process is not None
        yield Place(uri(server), server.process.pid)
