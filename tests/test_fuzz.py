"""Every parser of bytes from outside, for a moment; `make fuzz` goes on for longer."""

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

from automq.broker.dispatch import load_apis
from support.damage import Target, first_failure
from support.message_vectors import recorded

ROUNDS = 2000


def fuzz() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "tools/fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FUZZ = fuzz()


@pytest.mark.parametrize("target", FUZZ.TARGETS, ids=lambda target: target.name.replace(" ", "-"))
def test_damaged_bytes_are_answered_or_refused(target: Target) -> None:
    """From the inputs that are kept on, each of which ended in another way."""
    known = FUZZ.outcomes(target)
    assert first_failure(target, random.Random(1), ROUNDS, known) is None


def test_every_parser_has_kept_inputs() -> None:
    assert [it.name for it in FUZZ.TARGETS if not FUZZ.kept_in(it.name).exists()] == []


def test_damage_is_fed_to_every_request_that_is_served() -> None:
    names = {served.request.__name__ for served in load_apis().values()}
    assert names - set(recorded()) == set()
