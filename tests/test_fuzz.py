"""Every parser of bytes from outside, for a moment; `make fuzz` goes on for longer."""

import importlib.util
import random
from pathlib import Path

import pytest

from support.damage import Target, first_failure

ROUNDS = 2000


def targets() -> list[Target]:
    path = Path(__file__).resolve().parent.parent / "tools/fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.TARGETS
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name.replace(" ", "-"))
def test_damaged_bytes_are_answered_or_refused(target: Target) -> None:
    assert first_failure(target, random.Random(1), ROUNDS) is None
