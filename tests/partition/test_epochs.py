"""Leader epochs, by the rules of Kafka's LeaderEpochFileCache."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automq.partition.epochs import LeaderEpochs


def history(*opens: tuple[int, int], start: int = 0) -> LeaderEpochs:
    return LeaderEpochs(opens, log_start_offset=start)


@pytest.mark.parametrize(
    ("epoch", "answer"),
    [
        (-1, (-1, -1)),  # undefined
        (1, (1, 10)),  # older than all known: ends where the first one begins
        (2, (2, 20)),
        (3, (2, 20)),  # never led here: the largest below it, and where that ended
        (4, (4, 30)),
        (6, (6, 99)),  # the current one ends where the log does
        (7, (-1, -1)),  # newer than all known
    ],
)
def test_where_an_epoch_ended(epoch: int, answer: tuple[int, int]) -> None:
    assert history((2, 10), (4, 20), (6, 30)).end_of(epoch, log_end_offset=99) == answer


def test_nothing_is_known_of_an_empty_history() -> None:
    assert history().end_of(0, log_end_offset=5) == (-1, -1)
    assert history().epoch_at(0) == -1


def test_opens_at_one_offset_collapse_to_the_newest() -> None:
    epochs = history((0, 0), (1, 5), (2, 5), (3, 5))
    assert epochs.end_of(2, log_end_offset=9) == (0, 5)
    assert epochs.epoch_at(5) == 3


def test_an_open_below_what_is_known_takes_the_place_of_all_behind_it() -> None:
    assert history((0, 0), (1, 10), (2, 7)).end_of(1, log_end_offset=9) == (0, 7)


def test_the_epoch_that_covers_the_start_begins_there() -> None:
    epochs = history((0, 0), (3, 10), (5, 20), start=15)
    assert epochs.end_of(0, log_end_offset=30) == (0, 15)
    assert epochs.end_of(3, log_end_offset=30) == (3, 20)
    assert epochs.epoch_at(14) == -1
    epochs.trim(20)
    assert epochs.end_of(3, log_end_offset=30) == (3, 20)
    assert epochs.end_of(5, log_end_offset=30) == (5, 30)


def test_a_trim_to_the_end_keeps_the_newest() -> None:
    epochs = history((0, 0), (1, 10))
    epochs.trim(50)
    assert epochs.epoch_at(50) == 1
    assert epochs.end_of(1, log_end_offset=50) == (1, 50)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), max_size=12), st.integers(0, 60))
def test_any_history_answers_like_a_plain_list(steps: list[tuple[int, int]], start: int) -> None:
    """Against the definition: the epoch of each offset, written down one by one."""
    opens: list[tuple[int, int]] = []
    led: list[int] = []
    epoch = -1
    for epochs, length in steps:
        epoch += epochs
        opens.append((epoch, len(led)))
        led += [epoch] * length
    start = min(start, len(led))
    known = history(*opens, start=start)
    for offset in range(start, len(led)):
        assert known.epoch_at(offset) == led[offset]
    for asked in set(led[start:]):
        last = max(offset for offset in range(start, len(led)) if led[offset] == asked)
        if asked != epoch:
            assert known.end_of(asked, log_end_offset=len(led)) == (asked, last + 1)
