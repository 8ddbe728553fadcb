"""What happened, line by line: a hash of all of it, and the lines themselves if wanted."""

import hashlib
from collections import deque
from collections.abc import Callable

LAST_LINES = 400


class Trace:
    """Equal seeds give equal hashes, in whatever process they run."""

    def __init__(self, now_s: Callable[[], float], *, tell: Callable[[str], None] | None) -> None:
        self._now_s = now_s
        self._tell = tell
        self._hash = hashlib.sha256()
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.lines = 0

    def note(self, who: str, what: str) -> None:
        line = f"{self._now_s():12.6f} {who:<12} {what}"
        self.lines += 1
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.last.append(line)
        if self._tell is not None:
            self._tell(line)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
