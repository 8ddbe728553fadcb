"""The lock of a data directory: one process at a time, and its pid for whoever comes second."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from automq.node.failure import NodeFailure

LOCK_FILE = "lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory for this process. Raises NodeFailure with the holder's pid.

    The system lets go of the lock when the process ends, however it ends. It guards against
    accidents on this machine, and is no fence between machines (HAZARDS 3).
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise NodeFailure(
            f"cannot use the data directory {directory}: {error.strerror}; "
            "make it writable or set automq.data.dir"
        ) from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            raise NodeFailure(
                f"the data directory {directory} is in use by process {holder}; "
                "stop it first, or set another automq.data.dir"
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(file)
