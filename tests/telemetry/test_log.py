"""Log lines, as people and machines read them."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from automq.telemetry import Log, set_up_logging

log = Log("stream")


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("automq")
    before = (root.handlers[:], root.level, ours.level)
    stream = io.StringIO()
    yield stream
    root.handlers[:], ours_level = before[0], before[2]
    root.setLevel(before[1])
    ours.setLevel(ours_level)
    logging.captureWarnings(capture=False)


def test_people_read_a_message_and_its_facts(output: io.StringIO) -> None:
    set_up_logging(form="plain", level="INFO", stream=output)

    log.info("stream opened", stream_id=7, topic="orders", reason="node 3 died", note="")

    stamp, line = output.getvalue()[:24], output.getvalue()[24:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", stamp)
    assert line == (
        'INFO    stream: stream opened stream_id=7 topic=orders reason="node 3 died" note=""\n'
    )


def test_a_fact_cannot_forge_a_line(output: io.StringIO) -> None:
    set_up_logging(form="plain", level="INFO", stream=output)

    log.info("client connected", client_id="x\n2026-01-01 INFO all is well")

    assert output.getvalue().count("\n") == 1


def test_machines_read_json(output: io.StringIO) -> None:
    set_up_logging(form="json", level="INFO", stream=output)

    log.warning("stream opened", stream_id=7, tags=("a", "b"), level="x", other=ValueError("y"))

    line = json.loads(output.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "WARNING",
        "logger": "automq.stream",
        "message": "stream opened",
        "stream_id": 7,
        "tags": ["a", "b"],
        "level_": "x",
        "other": "y",
    }


@pytest.mark.parametrize("form", ["plain", "json"])
def test_an_error_comes_with_its_stack(output: io.StringIO, form: str) -> None:
    set_up_logging(form=form, level="INFO", stream=output)

    try:
        raise ValueError("broken")
    except ValueError as error:
        log.error("upload failed", cause=error, attempt=2)

    assert "ValueError: broken" in output.getvalue()
    assert "test_log.py" in output.getvalue()


def test_less_important_lines_are_left_out(output: io.StringIO) -> None:
    set_up_logging(form="plain", level="warning", stream=output)

    log.debug("a")
    log.info("b")
    log.error("c")

    assert output.getvalue().endswith("ERROR   stream: c\n")
    assert output.getvalue().count("\n") == 1


def test_a_percent_sign_in_a_message_is_one(output: io.StringIO) -> None:
    set_up_logging(form="plain", level="INFO", stream=output)

    log.info("cache is 90% full", used="100%s")

    assert output.getvalue().endswith('cache is 90% full used="100%s"\n')
