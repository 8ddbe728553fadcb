"""Every state of the protocols, within small bounds; and what each rule is there for."""

from functools import partial

import pytest

from sim.models import metadata_log
from sim.models.explore import Explored, explore
from sim.models.wal_takeover import (
    FILE_RULES,
    OBJECT_RULES,
    file_broken,
    file_moves,
    file_wal,
    object_broken,
    object_moves,
    object_wal,
)


def explore_object_wal(numbers: int, takers: int, *off: str) -> Explored:
    moves = partial(object_moves, off=frozenset(off))
    return explore(object_wal(numbers, takers), moves, object_broken)


def explore_file_wal(records: int, takers: int, *off: str) -> Explored:
    moves = partial(file_moves, off=frozenset(off), records=records)
    return explore(file_wal(takers), moves, file_broken)


def test_no_takeover_of_an_object_wal_loses_what_is_acknowledged() -> None:
    explored = explore_object_wal(2, 2)
    assert explored.broken is None, explored.way
    assert explored.states > 1_000


@pytest.mark.long
def test_no_takeover_of_a_longer_object_wal_loses_what_is_acknowledged() -> None:
    explored = explore_object_wal(3, 2)
    assert explored.broken is None, explored.way


@pytest.mark.parametrize("rule", OBJECT_RULES)
def test_an_object_wal_needs_this_rule(rule: str) -> None:
    explored = explore_object_wal(2, 1, OBJECT_RULES[rule])
    assert explored.broken is not None


def test_no_takeover_of_a_shared_file_wal_loses_what_is_acknowledged() -> None:
    explored = explore_file_wal(3, 3)
    assert explored.broken is None, explored.way


@pytest.mark.parametrize("rule", FILE_RULES)
def test_a_shared_file_wal_needs_this_rule(rule: str) -> None:
    explored = explore_file_wal(2, 1, FILE_RULES[rule])
    assert explored.broken is not None


def explore_metadata_log(numbers: int, controllers: int, lives: int, *off: str) -> Explored:
    moves = partial(metadata_log.moves, off=frozenset(off))
    start = metadata_log.metadata_log(numbers, controllers, lives)
    return explore(start, moves, metadata_log.broken)


def test_no_schedule_of_two_controllers_breaks_the_metadata_log() -> None:
    explored = explore_metadata_log(3, 2, 0)
    assert explored.broken is None, explored.way


@pytest.mark.parametrize("rule", metadata_log.RULES)
def test_the_metadata_log_needs_this_rule(rule: str) -> None:
    explored = explore_metadata_log(3, 2, 0, *metadata_log.RULES[rule])
    assert explored.broken is not None
