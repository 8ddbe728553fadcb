"""Seeds of the simulation: some that are always the same, a few that never are."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sim.bugs_of_log import BUGS
from sim.found import seeds_for
from sim.run import play, shrink

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (3, 5, 6, 9, 10, 13, 15, 19, 23, 27, 40, 47)
POSTGRES_SEEDS = (64, 68, 72, 76)
"""Seeds whose metadata lie in a simulated PostgreSQL."""
FOUND_SEEDS = (
    *(100, 30014, 30043, 30074, 200028, 200196),
    *(400627, 400784, 400881, 401318, 410145, 410210, 410232, 500722, 500829),
    *(502009, 502340),
)
"""Seeds that failed once; `docs/internals/proof.md` says why."""
WIDE_SEEDS = (300002, 300006, 300043)
"""Seeds with all there is; the last floods a topic."""
RANDOM_SEEDS = 3
FEW_SEEDS, MANY_SEEDS = 12, 60
RARE = "reads on without asking whether the log was closed"
"""Deceives only who reads beside a cluster and writes nothing: `docs/internals/proof.md`."""


def first_seed_that_finds(name: str, seeds: int) -> int | None:
    for seed in seeds_for(name, 1, seeds):
        with BUGS[name]():
            if not play(seed, is_hasty=True).is_good:
                return seed
    return None


@pytest.mark.parametrize("seed", SEEDS + POSTGRES_SEEDS + FOUND_SEEDS + WIDE_SEEDS)
def test_a_seed_that_is_always_played_holds(seed: int) -> None:
    result = play(seed)
    assert result.is_good, f"make sim SEED={seed}: {result.violations}"


@pytest.mark.long  # what decides whether a change may land says the same twice
@pytest.mark.parametrize("number", range(RANDOM_SEEDS))
def test_a_seed_nobody_has_chosen_holds(number: int) -> None:
    seed = random.SystemRandom().getrandbits(31)
    print(f"seed {seed}")
    result = play(seed)
    assert result.is_good, f"make sim SEED={seed}: {result.violations}"


def test_a_seed_is_the_same_run_in_every_process() -> None:
    script = "from sim.run import play; print(play(13).digest)"
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "name",
    [
        "acknowledges before the sync",
        "shows what is not durable",
        "trims the wal before the commit is stored",
        "recovery leaves out the last record",
        "deletes objects that are still read",
        "takes out a range that was not merged",
        "never lets go of a wal full of deleted records",
    ],
)
def test_a_bug_that_few_seeds_are_enough_for_is_found(name: str) -> None:
    assert first_seed_that_finds(name, FEW_SEEDS) is not None


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", BUGS)
def test_a_bug_put_in_on_purpose_is_found(name: str) -> None:
    seed = first_seed_that_finds(name, MANY_SEEDS)
    if seed is None and name == RARE:
        pytest.xfail(f"{name}: not found by {MANY_SEEDS} seeds")
    assert seed is not None


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_hundreds_of_seeds_hold() -> None:
    first = random.SystemRandom().getrandbits(30)
    for seed in range(first, first + 300):
        result = play(seed)
        assert result.is_good, f"make sim SEED={seed}: {result.violations}"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_failing_seed_is_shrunk_to_less_that_still_fails() -> None:
    with BUGS["acknowledges before the sync"]():
        without = shrink(1, print)
        assert without
        assert not play(1, without=without).is_good
