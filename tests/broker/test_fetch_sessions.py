"""Incremental fetch sessions, by the rules of KIP-227."""

import pytest

from automq.broker.fetch_sessions import (
    EPOCH_MAX,
    EVICTION_MS,
    FetchContext,
    FetchedPartition,
    FetchSessions,
    Key,
)
from automq.protocol import errors


def asked(*partitions: int, offset: int = 0) -> dict[Key, FetchedPartition]:
    return {
        ("t", index): FetchedPartition("t", bytes(16), index, offset, 100) for index in partitions
    }


class Sessions(FetchSessions):
    """Numbers its sessions, and has a clock that a test moves."""

    def __init__(self, sessions_max: int = 10) -> None:
        super().__init__(sessions_max)
        self.now_ms = 0.0
        self.next_id = 0

    def ask(
        self,
        wanted: dict[Key, FetchedPartition],
        *,
        session: int = 0,
        epoch: int = 0,
        forgotten: tuple[Key, ...] = (),
        by_id: bool = False,
    ) -> FetchContext:
        self.next_id += 1
        return self.context(
            session_id=session,
            epoch=epoch,
            uses_topic_ids=by_id,
            asked=wanted,
            forgotten=forgotten,
            now_ms=self.now_ms,
            new_id=self.next_id,
        )


def test_a_full_fetch_makes_a_session_and_incremental_ones_go_on_with_it() -> None:
    sessions = Sessions()
    first = sessions.ask(asked(0, 1))
    assert (first.session_id, first.is_incremental) == (1, False)
    second = sessions.ask(asked(1, 2, offset=5), session=1, epoch=1)
    assert second.is_incremental
    assert list(second.partitions) == [("t", 0), ("t", 1), ("t", 2)]
    assert [row.fetch_offset for row in second.partitions.values()] == [0, 5, 5]
    third = sessions.ask({}, session=1, epoch=2, forgotten=(("t", 0),))
    assert list(third.partitions) == [("t", 1), ("t", 2)]


def test_the_last_epoch_closes_a_session_and_serves_without_one() -> None:
    sessions = Sessions()
    sessions.ask(asked(0))
    last = sessions.ask(asked(0), session=1, epoch=-1)
    assert (last.session_id, len(sessions)) == (0, 0)
    with pytest.raises(errors.FetchSessionIdNotFound):
        sessions.ask({}, session=1, epoch=1)


def test_a_fetch_of_the_first_epoch_replaces_the_session_it_names() -> None:
    sessions = Sessions()
    sessions.ask(asked(0))
    again = sessions.ask(asked(1), session=1, epoch=0)
    assert (again.session_id, len(sessions)) == (2, 1)


def test_an_unexpected_epoch_is_refused_and_the_session_stays() -> None:
    sessions = Sessions()
    sessions.ask(asked(0))
    for wrong in (2, 5):
        with pytest.raises(errors.InvalidFetchSessionEpoch):
            sessions.ask({}, session=1, epoch=wrong)
    assert sessions.ask({}, session=1, epoch=1).is_incremental


def test_epochs_go_from_the_largest_to_one() -> None:
    sessions = Sessions()
    context = sessions.ask(asked(0))
    assert context.session is not None
    context.session.epoch = EPOCH_MAX
    sessions.ask({}, session=1, epoch=EPOCH_MAX)
    assert sessions.ask({}, session=1, epoch=1).is_incremental


def test_a_session_is_of_topic_ids_or_of_names() -> None:
    sessions = Sessions()
    sessions.ask(asked(0), by_id=True)
    with pytest.raises(errors.FetchSessionTopicIdError):
        sessions.ask({}, session=1, epoch=1)
    assert sessions.ask({}, session=1, epoch=1, by_id=True).is_incremental


def test_a_session_without_partitions_ends() -> None:
    sessions = Sessions()
    sessions.ask(asked(0))
    left = sessions.ask({}, session=1, epoch=1, forgotten=(("t", 0),))
    assert (left.session_id, left.partitions, len(sessions)) == (0, {}, 0)


def test_without_room_a_fetch_is_served_without_a_session() -> None:
    sessions = Sessions(1)
    sessions.ask(asked(0))
    assert sessions.ask(asked(0, 1)).session_id == 0
    assert Sessions(0).ask(asked(0)).session_id == 0


def test_a_stale_session_makes_room() -> None:
    sessions = Sessions(2)
    sessions.ask(asked(0, 1, 2))
    sessions.ask(asked(0, 1, 2))
    sessions.now_ms = EVICTION_MS
    sessions.ask({}, session=1, epoch=1)
    sessions.now_ms = EVICTION_MS + 1
    assert sessions.ask(asked(0)).session_id != 0, "the second one was not used for too long"
    assert sessions.evictions == 1
    assert sessions.ask({}, session=1, epoch=2).is_incremental


def test_an_old_smaller_session_makes_room_and_a_young_one_does_not() -> None:
    sessions = Sessions(2)
    sessions.ask(asked(0, 1))
    sessions.now_ms = EVICTION_MS
    sessions.ask(asked(0))
    sessions.now_ms = EVICTION_MS + 1
    sessions.ask({}, session=1, epoch=1)
    sessions.ask({}, session=2, epoch=1)
    assert sessions.ask(asked(0, 1)).session_id == 0, "the old one is not smaller, the other young"
    assert sessions.ask(asked(0, 1, 2)).session_id != 0
    with pytest.raises(errors.FetchSessionIdNotFound):
        sessions.ask({}, session=1, epoch=2)


def test_a_partition_that_gave_data_is_served_last_next_time() -> None:
    sessions = Sessions()
    context = sessions.ask(asked(0, 1, 2))
    assert context.session is not None
    context.session.move_to_end(("t", 0))
    assert list(sessions.ask({}, session=1, epoch=1).partitions) == [("t", 1), ("t", 2), ("t", 0)]
