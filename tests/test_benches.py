"""The arithmetic of the benchmark: medians, ratios, goals, pictures. No broker is started."""

import json
import os
import tomllib
from xml.etree import ElementTree

import pytest
from benches import counts, pages, svg, table, workloads
from benches.__main__ import choose
from benches.brokers import Kind
from benches.figures import STANDARD, Figure, Part, Workload
from benches.machine import Machine
from benches.plot import picture
from benches.process import memory_mib, usage
from benches.soak import Sample, drawn, judge

RATE = Figure("rate", "MB/s", more_is_better=True, ratio_goal=2.0, sync_ratio_goal=5.0)
WAIT = Figure("wait", "p99 ms", value_goal=1.5)
WORKLOAD = Workload("load", "a load", lambda *_: {}, (RATE, WAIT))
HERE = Machine(
    date="2026-01-02T03:04:05+00:00",
    commit="abc",
    automq="0.1.0",
    kafka="4.3.1",
    java="java 17",
    python="3.11.1",
    librdkafka="2.10.0",
    kernel="6.1",
    processor="a processor",
    cores=2,
    memory_gib=16.0,
    file_system="ext4",
    sync_ms=0.2,
    load_average=0.0,
)


def results(ours: list[float], theirs: list[float]) -> table.Results:
    made = table.Results()
    for kind, rates in ((Kind.AUTOMQ, ours), (Kind.KAFKA, theirs)):
        for rate in rates:
            made.add("load", kind, {"rate": rate, "wait": 1.0})
    return made


def sample(memory: float) -> Sample:
    return Sample(
        at_s=0.0,
        memory_mib=memory,
        cpu_percent=0.0,
        mb_per_s=0.0,
        p50_ms=0.0,
        p99_ms=0.0,
        p999_ms=0.0,
        lag_records=0.0,
        disk_mib=0.0,
        uploads=0.0,
        merges=0.0,
    )


def test_a_row_holds_medians_ranges_and_the_ratio_of_the_medians() -> None:
    row = table.figure_row(results([290.0, 300.0, 310.0], [100.0, 90.0, 110.0]), "load", RATE)

    assert row[:4] == ("MB/s", "300 (290-310)", "100 (90.0-110)", "3.00")


def test_a_goal_is_judged_only_by_what_was_measured() -> None:
    row = table.figure_row(results([300.0], [100.0]), "load", RATE)

    assert row[4:] == ("-", "-", "≥ 2x: met")


def test_a_missed_goal_says_so() -> None:
    row = table.figure_row(results([150.0], [100.0]), "load", RATE)

    assert row[-1] == "≥ 2x: missed"


def test_less_is_better_unless_a_figure_says_otherwise() -> None:
    assert WAIT.meets(1.5, 1.5)
    assert not WAIT.meets(1.6, 1.5)


def test_nothing_is_compared_with_zero() -> None:
    assert table.ratio([1.0], [0.0]) is None
    assert table.ratio([], [1.0]) is None


def test_the_table_says_what_was_measured_on_what() -> None:
    text = table.to_markdown(results([300.0], [100.0]), [WORKLOAD], HERE, STANDARD)

    assert "Apache Kafka 4.3.1" in text
    assert "| load | MB/s | 300 | 100 | 3.00 | - | - | ≥ 2x: met |" in text
    assert "|  | p99 ms | 1.00 | 1.00 | 1.00 | - | - | ≤ 1.5: met |" in text


def test_every_round_is_kept_in_the_json() -> None:
    text = table.to_json(results([1.0, 2.0], [3.0]), [WORKLOAD], HERE, STANDARD)

    rounds = json.loads(text)["workloads"]["load"]["rounds"]
    assert [numbers["rate"] for numbers in rounds["automq"]] == [1.0, 2.0]


def test_a_name_chooses_every_workload_that_begins_with_it() -> None:
    assert [w.name for w in choose("latency", Part.PEER)] == ["latency-1k", "latency-20k"]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="no workload smal1; there are small, produce-16k"):
        choose("smal1", Part.PEER)


def test_without_names_the_workloads_of_one_part_are_measured() -> None:
    chosen = [workload for part in Part for workload in choose("", part)]

    assert all(choose("", part) for part in Part)
    assert sorted(w.name for w in chosen) == sorted(w.name for w in workloads.ALL)


def test_every_workload_and_figure_has_one_name() -> None:
    names = [w.name for w in workloads.ALL]

    assert len(set(names)) == len(names)
    assert all(len({f.name for f in w.figures}) == len(w.figures) for w in workloads.ALL)


def test_a_broker_that_grows_is_found() -> None:
    faults = judge([sample(mib) for mib in (90, 100, 100, 100, 104, 104, 110, 110)])

    assert faults == ["memory grew from 100 MiB in the second quarter to 110 MiB"]


def test_a_broker_that_leaves_its_budget_is_found() -> None:
    assert judge([sample(mib) for mib in (100, 500, 100, 100)]) == [
        "memory reached 500 MiB, the budget is 484 MiB",
    ]


def test_a_steady_broker_has_no_faults() -> None:
    assert judge([sample(300)] * 8) == []


def test_a_picture_rises_with_its_numbers() -> None:
    assert picture("RSS", [0.0, 50.0, 100.0]) == "RSS: 0.0 to 100.0\n▁▅█"


def test_a_picture_of_many_numbers_shows_the_worst_of_each_column() -> None:
    numbers = [1.0] * 960
    numbers[955] = 8.0

    assert picture("p99", numbers).splitlines()[1] == "▂" * 95 + "█"


def test_a_run_is_drawn_as_panels_over_one_axis_of_time() -> None:
    picture = ElementTree.fromstring(drawn([sample(100), sample(200)], HERE, 50.0))

    lines = [element for element in picture if element.tag.endswith("polyline")]
    assert len(lines) == 6
    assert "at 50 MB/s" in "".join(picture.itertext())


def test_a_line_rises_to_the_top_of_its_panel_and_a_bound_makes_room() -> None:
    panel = svg.Panel("a", (("b", [0.0, 1.0]),), bound=2.0)
    lines = [line for line in svg.panel_lines(panel, [0.0, 60.0], 100) if "polyline" in line]

    assert f'points="{svg.LEFT}.0,220.0 {svg.WIDTH - svg.RIGHT}.0,160.0"' in lines[0]


def test_a_process_has_memory_and_has_used_time() -> None:
    assert memory_mib(os.getpid()) > 1
    assert usage(os.getpid()).cpu_s > 0


def test_instructions_are_compared_with_what_is_kept() -> None:
    kept = {"same": 1000, "little": 1000, "more": 1000, "less": 1000, "gone": 1000}
    now = {"same": 1000, "little": 1040, "more": 1060, "less": 900, "new": 7}

    assert list(counts.compare(kept, now)) == [
        "more: +6.0%, 1,000 before, 1,060 now",
        "less: -10.0%, 1,000 before, 900 now",
        "gone: is not counted any more, 1,000 before",
        "new: 7, not counted before",
    ]


def test_only_more_instructions_are_a_fault() -> None:
    assert counts.grew({"a": 1000, "b": 1000}, {"a": 500, "b": 1051})
    assert not counts.grew({"a": 1000, "gone": 1000}, {"a": 1049, "new": 5})


def test_the_least_of_the_windows_counts_and_what_lies_between_does_not() -> None:
    assert counts.least([1, 50, 40, 60, 2, 9, 9, 8]) == [40, 8]


def test_what_is_counted_is_kept() -> None:
    kept = counts.read_kept().instructions

    assert kept
    assert "decode ProduceRequest" in kept


@pytest.mark.parametrize("language", [pages.ENGLISH, pages.CHINESE], ids=lambda each: each.name)
def test_the_page_of_results_says_what_its_files_say(language: pages.Language) -> None:
    text = language.page.read_text("utf-8")
    files = pages.named_files(text)

    assert files
    assert pages.with_results(text, language, files) == text


def test_a_reason_for_a_missed_goal_belongs_to_a_figure_and_is_in_both_languages() -> None:
    known = {w.name for w in workloads.ALL}
    known |= {f"{w.name}.{figure.name}" for w in workloads.ALL for figure in w.figures}
    reasons = tomllib.loads(pages.REASONS.read_text("utf-8"))

    assert set(reasons) <= known
    assert all(reason["en"] and reason["zh"] for reason in reasons.values())
