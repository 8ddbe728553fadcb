"""Incremental fetch sessions (KIP-227, with topic ids by KIP-516): what a consumer asked before.

Pure: no clock, no chance; time and new ids arrive as arguments.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from automq.protocol import errors

INVALID_SESSION_ID = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
EPOCH_MAX = 2**31 - 1
EVICTION_MS = 120_000

Key = tuple[bytes | str, int]


@dataclass(slots=True)
class FetchedPartition:
    """One partition of a fetch: what is asked, and (in a session) what was answered last."""

    topic: str
    topic_id: bytes
    partition: int
    fetch_offset: int
    partition_max_bytes: int
    current_leader_epoch: int = -1
    last_fetched_epoch: int = -1
    high_watermark: int = -1
    log_start_offset: int = -1
    last_error: int = 0


@dataclass(slots=True)
class Session:
    """The state of one session. `partitions` is in the order in which they are served."""

    session_id: int
    uses_topic_ids: bool
    created_ms: float
    last_used_ms: float
    epoch: int = 1
    partitions: dict[Key, FetchedPartition] = field(default_factory=dict)

    def update(self, asked: dict[Key, FetchedPartition], forgotten: Iterable[Key]) -> None:
        """Take in what an incremental request adds, changes and drops."""
        for key, wanted in asked.items():
            known = self.partitions.get(key)
            if known is None:
                self.partitions[key] = wanted
                continue
            known.fetch_offset = wanted.fetch_offset
            known.partition_max_bytes = wanted.partition_max_bytes
            known.current_leader_epoch = wanted.current_leader_epoch
            known.last_fetched_epoch = wanted.last_fetched_epoch
        for key in forgotten:
            self.partitions.pop(key, None)

    def move_to_end(self, key: Key) -> None:
        """A partition that gave data is served last next time, so that none is starved."""
        self.partitions[key] = self.partitions.pop(key)


@dataclass(slots=True)
class FetchContext:
    """What one Fetch request is about, after its session is taken into account."""

    partitions: dict[Key, FetchedPartition]
    session: Session | None = None
    is_incremental: bool = False

    @property
    def session_id(self) -> int:
        return self.session.session_id if self.session else INVALID_SESSION_ID


class FetchSessions:
    """The sessions of a broker, at most `sessions_max` (`max.incremental.fetch.session...`)."""

    def __init__(self, sessions_max: int) -> None:
        self.sessions_max = sessions_max
        self.evictions = 0
        self._sessions: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def partitions(self) -> int:
        return sum(len(session.partitions) for session in self._sessions.values())

    def known_to(self, session_id: int) -> Iterable[FetchedPartition]:
        """The partitions of a session, none if there is no such session."""
        session = self._sessions.get(session_id)
        return () if session is None else session.partitions.values()

    def context(
        self,
        *,
        session_id: int,
        epoch: int,
        uses_topic_ids: bool,
        asked: dict[Key, FetchedPartition],
        forgotten: Iterable[Key],
        now_ms: float,
        new_id: int,
    ) -> FetchContext:
        """The context of a request; `new_id` is used if a session is created.

        Raises FetchSessionIdNotFound, InvalidFetchSessionEpoch, FetchSessionTopicIdError.
        """
        if epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._sessions.pop(session_id, None)
            if epoch == FINAL_EPOCH or not asked:
                return FetchContext(asked)
            return FetchContext(asked, self._create(new_id, uses_topic_ids, asked, now_ms))
        session = self._sessions.get(session_id)
        if session is None:
            raise errors.FetchSessionIdNotFound(f"session {session_id}")
        if session.epoch != epoch:
            raise errors.InvalidFetchSessionEpoch(f"sent {epoch}, expected {session.epoch}")
        if session.uses_topic_ids != uses_topic_ids:
            raise errors.FetchSessionTopicIdError("a session uses topic ids or names, not both")
        session.update(asked, forgotten)
        session.last_used_ms = now_ms
        # Kept in the order of last use: the first one is the first to be evicted.
        self._sessions[session_id] = self._sessions.pop(session_id)
        if not session.partitions:
            del self._sessions[session_id]
            return FetchContext({})
        session.epoch = session.epoch + 1 if session.epoch < EPOCH_MAX else 1
        return FetchContext(session.partitions, session, is_incremental=True)

    def _create(
        self, new_id: int, uses_topic_ids: bool, asked: dict[Key, FetchedPartition], now_ms: float
    ) -> Session | None:
        """A new session, or None when there is no room for one (the fetch is served without)."""
        if new_id == INVALID_SESSION_ID or new_id in self._sessions:
            return None
        if len(self._sessions) >= self.sessions_max and not self._evict(len(asked), now_ms):
            return None
        session = Session(new_id, uses_topic_ids, now_ms, now_ms, partitions=asked)
        self._sessions[new_id] = session
        return session

    def _evict(self, size: int, now_ms: float) -> bool:
        """Make room: the longest unused session if it is stale, else an old smaller one."""
        if not self._sessions:
            return False
        oldest = next(iter(self._sessions.values()))
        victim: Session | None = None
        if now_ms - oldest.last_used_ms > EVICTION_MS:
            victim = oldest
        else:
            old = [it for it in self._sessions.values() if now_ms - it.created_ms > EVICTION_MS]
            smallest = min(old, key=lambda session: len(session.partitions), default=None)
            if smallest is not None and len(smallest.partitions) < size:
                victim = smallest
        if victim is None:
            return False
        del self._sessions[victim.session_id]
        self.evictions += 1
        return True
