"""Real processes: a node's log is taken over while it lives, is stopped, or is dead."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crash.takers import Pair, objects, outcome, pair, shared_files, when

FENCED = re.compile(
    r"^automq: .*(has taken (this log|it) over|another controller has taken over|was fenced)"
)
"""The one line of a node that was taken over: whichever it was that it found first."""

POINTS: dict[str, Callable[[Pair, int], bool]] = {
    "the takeover is stored": lambda nodes, entries: nodes.entries() > entries,
    "the log is fenced": lambda nodes, _: nodes.place.fenced(),
    "an object is stored": lambda nodes, _: nodes.objects() > 0,
}


PLACES = {"shared files": shared_files, "objects": objects}
on_each_kind_of_log = pytest.mark.parametrize("nodes", PLACES, indirect=True)
on_shared_files = pytest.mark.parametrize("nodes", ["shared files"], indirect=True)


@pytest.fixture
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path, PLACES[request.param](tmp_path)) as nodes:
        yield nodes


@on_shared_files
def test_a_log_is_taken_over_while_its_owner_lives_and_serves(nodes: Pair) -> None:
    said = nodes.take_over()
    assert "node 1 is fenced and taken over" in said
    assert FENCED.match(nodes.ended_one())
    nodes.two.start()
    nodes.finish()


@on_each_kind_of_log
def test_a_stopped_owner_acknowledges_nothing_of_what_it_had_in_hand_once_it_resumes(
    nodes: Pair,
) -> None:
    nodes.stop_one()
    nodes.take_over()
    nodes.two.start()
    nodes.resume_one()
    assert FENCED.match(nodes.ended_one())
    nodes.finish()


@on_shared_files
def test_a_dead_owners_log_is_taken_over(nodes: Pair) -> None:
    nodes.one.kill()
    nodes.take_over()
    nodes.two.start()
    nodes.finish()


@pytest.mark.parametrize("point", ["the log is fenced"])
@on_shared_files
def test_a_taker_that_dies_half_way_is_followed_by_another(nodes: Pair, point: str) -> None:
    followed(nodes, point)


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
@on_each_kind_of_log
def test_a_taker_that_dies_anywhere_is_followed_by_another(nodes: Pair, point: str) -> None:
    followed(nodes, point)


@pytest.mark.long
@pytest.mark.parametrize("nodes", ["objects"], indirect=True)
def test_a_log_in_objects_is_taken_over_from_an_owner_that_lives(nodes: Pair) -> None:
    nodes.take_over()
    assert FENCED.match(nodes.ended_one())
    nodes.two.start()
    nodes.finish()


def followed(nodes: Pair, point: str) -> None:
    """A first taker is killed at a point, a second one does it all."""
    nodes.stop_one()
    entries = nodes.entries()
    when(first := nodes.taker(), lambda: POINTS[point](nodes, entries), signal.SIGKILL)
    outcome(first)
    nodes.take_over()
    nodes.two.start()
    nodes.resume_one()
    assert FENCED.match(nodes.ended_one())
    nodes.finish()


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
@on_each_kind_of_log
def test_a_taker_that_stops_half_way_and_goes_on_later_is_told(nodes: Pair, point: str) -> None:
    nodes.one.kill()
    entries = nodes.entries()
    when(first := nodes.taker(), lambda: POINTS[point](nodes, entries), signal.SIGSTOP)
    # Its data directory is locked: the second one is on another machine, so to say.
    nodes.two.directory = nodes.two.directory.with_name("three")
    nodes.take_over()
    nodes.two.start()
    first.send_signal(signal.SIGCONT)
    said, status = outcome(first)
    assert status in (0, 1), said
    assert len(said.splitlines()) == 1 or status == 0, said
    nodes.finish()
