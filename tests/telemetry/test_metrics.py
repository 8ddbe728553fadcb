"""Metrics, from the number that is counted to the text that is scraped."""

from dataclasses import dataclass

import pytest

from automq.telemetry import Histogram, Metrics, counter, gauge, metric_set
from automq.telemetry.metrics import METRIC_SETS, histogram


@metric_set("test_shelf", labels=("room",))
@dataclass(slots=True)
class ShelfMetrics:
    room_number: int = 0  # no metric
    books: int = counter("Books that were put on the shelf.")
    free_cm: float = gauge("How much room there is.")
    pages: Histogram = histogram("How thick the books are.", (100, 500))


def test_numbers_are_read_when_they_are_scraped() -> None:
    metrics = Metrics()
    shelf = metrics.add(ShelfMetrics(), room="study")

    shelf.books += 3
    shelf.free_cm = 4.5
    shelf.pages.observe(100)
    shelf.pages.observe(700)

    text = metrics.exposition().decode()
    assert "# HELP test_shelf_books_total Books that were put on the shelf." in text
    assert 'test_shelf_books_total{room="study"} 3.0' in text
    assert 'test_shelf_free_cm{room="study"} 4.5' in text
    assert 'test_shelf_pages_bucket{le="100",room="study"} 1.0' in text
    assert 'test_shelf_pages_bucket{le="+Inf",room="study"} 2.0' in text
    assert 'test_shelf_pages_sum{room="study"} 800.0' in text
    assert "room_number" not in text


def test_several_objects_of_a_set_share_its_names() -> None:
    metrics = Metrics()
    study, hall = ShelfMetrics(), ShelfMetrics()
    metrics.add(study, room="study").books = 1
    metrics.add(hall, room="hall").books = 2

    text = metrics.exposition().decode()

    assert text.count("# TYPE test_shelf_books_total counter") == 1
    assert 'test_shelf_books_total{room="hall"} 2.0' in text


def test_what_was_removed_is_shown_no_more() -> None:
    metrics = Metrics()
    shelf = metrics.add(ShelfMetrics(), room="study")

    metrics.remove(shelf)

    assert "study" not in metrics.exposition().decode()


def test_labels_must_be_those_that_were_declared() -> None:
    with pytest.raises(AssertionError, match="test_shelf has"):
        Metrics().add(ShelfMetrics(), floor="2")


def test_metrics_of_the_process_come_along() -> None:
    assert b"process_resident_memory_bytes" in Metrics().exposition()


def test_a_prefix_is_declared_once() -> None:
    with pytest.raises(AssertionError, match="declared twice"):
        metric_set("test_shelf")(ShelfMetrics)


def test_a_value_on_a_bound_belongs_below_it() -> None:
    lengths = Histogram((1, 2))

    lengths.observe(1)
    lengths.observe(1.5)
    lengths.observe(9)

    assert lengths.cumulative() == [("1", 1.0), ("2", 2.0), ("+Inf", 3.0)]


def test_a_set_lists_its_metrics_for_documentation() -> None:
    names = [name for name, _ in METRIC_SETS["test_shelf"].metrics()]

    assert names == ["test_shelf_books_total", "test_shelf_free_cm", "test_shelf_pages"]
