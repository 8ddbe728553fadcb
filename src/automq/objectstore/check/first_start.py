"""The cheap part: before a node makes a cluster on a store."""

import asyncio
import logging

from automq.objectstore.check.bucket import judge
from automq.objectstore.check.finding import Broken, Outcome
from automq.objectstore.check.promises import create_and_refuse, expect_absent
from automq.objectstore.check.trial import Trial
from automq.objectstore.errors import NoBucket, StoreError, advice
from automq.objectstore.store import ObjectStore
from automq.world import World

log = logging.getLogger(__name__)

PAUSE_FIRST_MS = 50.0
PAUSE_MAX_MS = 5_000.0


class Unfit(Exception):
    """No cluster may be made on this store. One line: what is wrong with it."""


async def refuse_unfit(store: ObjectStore, world: World, *, conditions: bool = True) -> None:
    """Raise Unfit if the store does not keep our rules, as far as a few requests can show it.

    `conditions`: it is for what is created once, not for data alone. A directory is not tried: its
    rules are link(2)'s, and syncs take longer than a start may. Each call of `store` is one
    attempt; a store that fails is tried again for as long as it takes.
    """
    trial, pause_ms = Trial([store], world), PAUSE_FIRST_MS
    while True:
        try:
            await _try(trial, conditions=conditions)
        except NoBucket as error:
            raise Unfit(f"{store.name}: {advice(error)}") from None
        except Broken as why:
            raise Unfit(f"{store.name}: {why}") from None
        except StoreError as error:
            if pause_ms == PAUSE_FIRST_MS:
                log.warning("object store cannot be tried, repeating until it works: %s", error)
            await asyncio.sleep(pause_ms * world.chance.uniform(0.5, 1.0) / 1000)
            pause_ms = min(PAUSE_MAX_MS, 2 * pause_ms)
        else:
            return


async def _try(trial: Trial, *, conditions: bool) -> None:
    """Once. What it wrote it deletes, unless the process dies before: 16 bytes a key."""
    settings = await trial.by(0).settings()
    if not settings.is_bucket:
        return
    for finding in judge(settings):
        if finding.outcome is Outcome.UNFIT:
            raise Broken(f"{finding.what}: {finding.text}")
        if finding.outcome is Outcome.WARNING:
            log.warning("object store %s: %s: %s", trial.by(0).name, finding.what, finding.text)
    # A key of its own for each attempt: what an earlier one wrote says nothing.
    key = trial.key(trial.world.new_uuid().hex())
    try:
        if conditions:
            await create_and_refuse(trial, key)
        else:
            await _write_and_read(trial, key)
    except Broken:
        await trial.delete_written()
        raise
    await trial.delete_written()
    await expect_absent(trial, key)


async def _write_and_read(trial: Trial, key: str) -> None:
    data = trial.world.new_uuid()
    await trial.put(key, data)
    if await trial.get(key) != data:
        raise Broken("a read after a write gave other bytes")
