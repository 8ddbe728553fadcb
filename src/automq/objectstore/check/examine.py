"""Trying a whole store, step by step."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from automq.objectstore.check import bucket, operations, promises
from automq.objectstore.check.finding import Broken, Finding, Outcome
from automq.objectstore.check.speed import Speed, measure
from automq.objectstore.check.trial import Trial, patiently
from automq.objectstore.errors import NotFound, StoreError, advice

CANNOT_SHOW: Final = (
    "what the store does in trouble: a server lost, a network split, a failover",
    "whether it keeps its promises between zones or replicated sites",
    "what happens when somebody changes the bucket's settings later",
)
"""What no check can show (docs/hazards.md, 10): it tries a store that is well."""

_Step = Callable[[Trial], Awaitable[str]]

STEPS: Final[tuple[tuple[str, Outcome, _Step], ...]] = (
    ("missing object", Outcome.UNFIT, promises.absent),
    ("create if absent", Outcome.UNFIT, promises.create_twice),
    (f"race of {promises.RACERS} creators", Outcome.UNFIT, promises.race),
    ("read after write", Outcome.UNFIT, promises.read_after_write),
    ("ranges", Outcome.UNFIT, operations.ranges),
    ("large object", Outcome.UNFIT, operations.parts),
    ("list", Outcome.UNFIT, operations.listing),
    ("delete", Outcome.UNFIT, operations.deleting),
    # No node copies yet.
    ("copy", Outcome.WARNING, operations.copying),
)
"""What is tried, and what its failure means."""


class Unusable(Exception):
    """The store cannot be tried: one line, what to do about it."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one step has told."""

    findings: tuple[Finding, ...] = ()
    speeds: tuple[Speed, ...] = ()


async def examine(trial: Trial) -> AsyncGenerator[Check, None]:
    """Everything, a step at a time. Raises Unusable before the first.

    The caller calls `trial.clean()` at the end, however it comes.
    """
    await reach(trial)
    for what, failure, step in STEPS:
        yield Check((await _tried(trial, what, failure, step),))
    yield await _settings(trial)
    yield await _clock(trial)
    try:
        yield Check(speeds=tuple(await measure(trial)))
    except StoreError as error:
        yield Check((Finding("speed", Outcome.UNFIT, _told(error)),))


async def reach(trial: Trial) -> None:
    """Ask once through each address. Raises Unusable: unreachable, denied, no bucket."""
    for store in trial.stores:
        try:
            await store.get(f"{trial.prefix}/never-written")
        except NotFound:
            continue
        except StoreError as error:
            if not _is_asked_without_right_to_list(error):
                raise Unusable(f"{store.name}: {advice(error)}") from None


def _is_asked_without_right_to_list(error: StoreError) -> bool:
    """S3 answers so for a missing object where listing is not allowed: a finding, not the end."""
    return error.why.startswith("403 AccessDenied")


async def _tried(trial: Trial, what: str, failure: Outcome, step: _Step) -> Finding:
    try:
        return Finding(what, Outcome.OK, await step(trial))
    except Broken as why:
        return Finding(what, failure, str(why))
    except StoreError as error:
        return Finding(what, failure, _told(error))


async def _settings(trial: Trial) -> Check:
    try:
        return Check(tuple(bucket.judge(await patiently(trial.by(0).settings))))
    except StoreError as error:
        return Check((Finding("bucket settings", Outcome.UNKNOWN, error.why),))


async def _clock(trial: Trial) -> Check:
    try:
        return Check((await bucket.clock(trial),))
    except StoreError as error:
        return Check((Finding("clock", Outcome.UNKNOWN, error.why),))


def _told(error: StoreError) -> str:
    return f"{error.operation} failed: {error.why}"
