"""One seed, played and judged."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from automq._native import DamagedObject
from automq.config import keys
from automq.stream.engine import MissingData
from automq.world.probe import probed
from sim.admin import Committer
from sim.audit import audit
from sim.client import Client, Lost
from sim.crowd import Crowd
from sim.loop import Deadlock, SimLoop, current_process
from sim.nemesis import Nemesis
from sim.net import Net
from sim.node import Node, config_of, describe, is_forgetful
from sim.reading import EARLIEST, LATEST, Reader, list_offset
from sim.trace import Trace
from sim.truth import PartitionTruth, Truth, Value
from sim.trying import Trier, is_tried
from sim.workload import (
    BYTES_MAX,
    Shop,
    create_topic,
)

READY_S = 60.0
PROGRESS_S = 300.0
RECORDS_OF_LARGEST_REQUEST = 100
STOP_S = 120.0
VIOLATIONS_MAX = 20
SLOW_MAX = 3
STORY_S_MAX = 3_000.0
ELECTED = "elected as controller, epoch %d, at entry %d"
WORDS_OF_DAMAGE = ("damage: ", "is damaged, and left as it is")
"""What an operator is told of data that are lost, which in a sound store none are."""


@dataclass(slots=True)
class Result:
    """What a run came to."""

    seed: int
    violations: list[str]
    digest: str
    virtual_s: float
    real_s: float
    acknowledged: int
    records_read: int
    incarnations: int
    troubles: list[str]
    clients: list[str]
    probes: list[str]
    """The marks in rare paths that it came by."""
    last_lines: list[str]

    @property
    def is_good(self) -> bool:
        return not self.violations

    def __str__(self) -> str:
        verdict = "ok" if self.is_good else f"FAILED: {self.violations[0]}"
        return (
            f"seed {self.seed}: {verdict} ({self.virtual_s:.0f} s in {self.real_s:.1f} s, "
            f"{self.acknowledged} acknowledged, {self.records_read} read, "
            f"{self.incarnations} incarnations; {', '.join(self.troubles)})"
        )


class Run:
    """Everything of one seed."""

    def __init__(
        self,
        seed: int,
        *,
        tell: Callable[[str], None] | None = None,
        without: Collection[str] = (),
        is_hasty: bool = False,
    ) -> None:
        self.seed = seed
        self.is_hasty = is_hasty
        self.without = without
        self.chance = random.Random(f"{seed} run")
        self.loop = SimLoop(random.Random(f"{seed} loop"))
        self.trace = Trace(self.loop.time, tell=tell)
        self.net = Net(self.loop, random.Random(f"{seed} net"), self.trace)
        self.net.stray = self.chance.choice([0.0, 0.3])
        self.violations: list[str] = []
        self.truth = Truth(self.complain)
        self.node = Node(
            seed=seed,
            loop=self.loop,
            net=self.net,
            trace=self.trace,
            config=config_of(seed),
            complain=self.complain,
        )
        # The largest request has to fit into the WAL, as in every configuration that is accepted.
        wal_bytes = self.node.config.get(keys.automq.WAL_CAPACITY_BYTES)
        record_bytes_max = wal_bytes // RECORDS_OF_LARGEST_REQUEST
        self.shop = Shop(
            node=self.node,
            truth=self.truth,
            seed=seed,
            record_bytes_max=min(self.chance.choice([20, 2_000, 10_000]), record_bytes_max),
            pause_s=self.chance.choice([0.03, 0.1, 0.5]),
            is_forgetful=is_forgetful(self.node.config),
        )
        self.nemesis = Nemesis(self.node, self.net, self.shop, seed, without)
        self.committers: list[Committer] = []
        self.client_names: list[str] = []
        self.probes: set[str] = set()

    def complain(self, what: str) -> None:
        self.trace.note("VIOLATION", what)
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(what)
        if self.is_hasty:
            self.loop.stop()

    # -- the story

    async def story(self) -> None:
        self.trace.note("run", f"{describe(self.node.config)} {self.nemesis.names}")
        trying = await self._try_database()
        self.node.start()
        await self.node.until_ready(READY_S)
        partitions = await self._create_topics()
        clients = self._clients(partitions) + trying
        fighting = self.loop.spawn(self._fight(), "fight")
        async with asyncio.timeout(self.chance.choice([10, 30, 60])) as limit:
            try:
                await asyncio.shield(fighting)
            except TimeoutError:
                pass
            except asyncio.CancelledError:
                if not limit.expired():
                    raise
                asyncio.current_task().uncancel()  # type: ignore[union-attr]
        fighting.cancel()
        await asyncio.wait([fighting])
        self.nemesis.heal()
        if self.node.database is not None:
            self.node.database.heal()
        await self._finish(clients)
        await self._check_all(partitions)
        await self._restart_and_check(partitions)
        await self._stop_and_audit()

    async def _fight(self) -> None:
        await asyncio.sleep(1)
        async with asyncio.TaskGroup() as striking:
            if self.node.database is not None:
                striking.create_task(self.node.database.run())
            await self.nemesis.run()

    async def _create_topics(self) -> list[PartitionTruth]:
        client = Client(self.node, "setup")
        topics = {"plain": {}, "expiring": {"retention_ms": "3000"}, "deleted": {}}
        partitions = []
        for name, configs in topics.items():
            count = self.chance.randint(1, 3)
            await create_topic(client, self.shop, name, count, **configs)
            partitions += [
                self.truth.add(name, index, is_expiring=name == "expiring")
                for index in range(count)
            ]
        client.close()
        return partitions

    async def _try_database(self) -> "list[asyncio.Task[None]]":
        """Somebody may try it before the first start, or while that begins."""
        if self.node.database is None or not is_tried(self.seed):
            return []
        trier = Trier(self.node, "trier")
        task = self.loop.spawn(trier.run(), "trier")
        await asyncio.sleep(trier.head_start_s)
        return [task]

    def _clients(self, partitions: list[PartitionTruth]) -> "list[asyncio.Task[None]]":
        crowd = Crowd(self.shop, self.chance, partitions)
        clients = crowd.clients()
        self.committers = crowd.committers
        self.client_names = [name for name in clients if name not in self.without]
        return [self.loop.spawn(clients[name].run(), name) for name in self.client_names]

    async def _finish(self, clients: "list[asyncio.Task[None]]") -> None:
        """Nothing goes wrong any more: everyone has to come to an end, in bounded time."""
        await self.node.until_ready(READY_S)
        acknowledged = self.truth.acknowledged
        await asyncio.sleep(5)
        if self.truth.acknowledged == acknowledged and self._writes:
            await asyncio.sleep(30)
            if self.truth.acknowledged == acknowledged:
                self.complain("no progress although nothing is wrong")
        self.shop.is_closing = True
        _, waiting = await asyncio.wait(clients, timeout=PROGRESS_S)
        for task in sorted(waiting, key=lambda task: task.get_name()):
            self.complain(f"{task.get_name()} does not come to an end: {task.get_stack()[-1:]}")
        for task in clients:
            if task.cancelled():
                self.complain(f"{task.get_name()} was cancelled")
            elif task.done() and task.exception() is not None:
                self.complain(f"{task.get_name()} broke: {task.exception()!r}")
                raise task.exception()  # type: ignore[misc]

    @property
    def _writes(self) -> bool:
        return any(name in self.truth.idempotent for name in self.client_names)

    async def _check_all(self, partitions: list[PartitionTruth]) -> None:
        """Read everything there is, from the start to the end."""
        for at in partitions:
            await self._check_one(at)
        for committer in self.committers:
            await self._repeat(committer.fetch)

    async def _check_one(self, at: PartitionTruth) -> None:
        reader = Reader(self.shop, f"check-{at}", at, is_cold=False)
        while True:
            start = await self._repeat(lambda: list_offset(reader.client, self.shop, at, EARLIEST))
            end = await self._repeat(lambda: list_offset(reader.client, self.shop, at, LATEST))
            reader.position, slow = start, 0
            while reader.position < end:
                moved = await self._repeat(lambda: reader.fetch(BYTES_MAX, 0))
                slow = 0 if moved else slow + 1
                # Who left lets go of the memory for reads in a while: an answer may be late.
                if not moved and (slow > SLOW_MAX or not reader.was_slow):
                    break
            again = await self._repeat(lambda: list_offset(reader.client, self.shop, at, EARLIEST))
            if again == start:
                break  # else retention has moved it meanwhile
        if reader.position < end:
            self.complain(f"{at}: cannot be read beyond {reader.position}, ends at {end}")
        seen: dict[int, Value] = {
            offset: value for offset, value in at.content.items() if start <= offset < end
        }
        self.truth.check_whole(at, start, seen)
        reader.client.close()

    async def _repeat(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        for _ in range(50):
            try:
                return await attempt()
            except Lost:
                await asyncio.sleep(0.2)
        self.complain("a client is not answered although nothing is wrong")
        raise AssertionError("not answered")

    async def _restart_and_check(self, partitions: list[PartitionTruth]) -> None:
        """Once more from what the disk and the store hold."""
        if self.chance.random() < 0.5:
            self.node.crash(self.node.newest)
            self.node.start()
            await self.node.until_ready(READY_S)
            await self._check_all(partitions)

    async def _stop_and_audit(self) -> None:
        last = self.node.newest
        self.node.is_supervised = False
        self.node.stop(last)
        try:
            async with asyncio.timeout(STOP_S):
                await last.ended.wait()
        except TimeoutError:
            self.complain(f"{last} does not stop within {STOP_S} s")
            return
        if last.failure is not None:
            self.complain(f"{last} did not stop cleanly: {last.failure}")
        await audit(self.node, self.complain)


class _Watch(logging.Handler):
    """Puts log lines into the trace. What nobody foresaw is a violation."""

    def __init__(self, run: Run) -> None:
        super().__init__(logging.INFO)
        self._run = run
        self.is_deaf = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.is_deaf:
            return
        self._run.trace.note(record.name.removeprefix("automq."), record.getMessage())
        if record.msg == ELECTED and isinstance(record.args, tuple):
            self._run.node.note_elected(current_process(), int(str(record.args[0])))
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            is_missing = isinstance(error, (DamagedObject, MissingData))
            if is_missing and self._run.shop.storage_errors_allowed:
                return
            self._run.complain(f"{record.getMessage()}: {error!r}{_where(error)}")
        elif self._tells_of_damage(record) and not self._run.shop.storage_errors_allowed:
            self._run.complain(record.getMessage())

    def _tells_of_damage(self, record: logging.LogRecord) -> bool:
        words = record.getMessage()
        return record.levelno >= logging.ERROR and any(it in words for it in WORDS_OF_DAMAGE)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    found = ""
    while trace is not None:
        found = f" at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


@contextmanager
def listening(run: Run) -> Iterator[_Watch]:
    ours = logging.getLogger("automq")
    before, level = ours.propagate, ours.level
    watch = _Watch(run)
    ours.addHandler(watch)
    ours.propagate = False
    ours.setLevel(logging.INFO)
    try:
        yield watch
    finally:
        ours.removeHandler(watch)
        ours.propagate = before
        ours.setLevel(level)


def play(
    seed: int,
    *,
    tell: Callable[[str], None] | None = None,
    without: Collection[str] = (),
    is_hasty: bool = False,
) -> Result:
    """Run one seed; never raises for what the system under test does wrong.

    `without` names troubles and clients that stay away: the rest is another run of the same seed.
    `is_hasty`: it ends with the first violation.
    """
    started = time.monotonic()
    run = Run(seed, tell=tell, without=without, is_hasty=is_hasty)
    chunk_entries = run.chance.choice([4, 16, 4096])
    merging = random.Random(f"{seed} merging")
    with (
        listening(run) as watch,
        probed(run.probes.add),
        patch("automq.node.metadata.CHUNK_ENTRIES", chunk_entries),
        patch("automq.node.parts.UPLOADS_MAX", merging.choice([2, 4, 32])),
        patch("automq.node.parts.FAN_IN", merging.choice([2, 4])),
        patch("automq.node.parts.DEAD_BYTES_MIN", merging.choice([1 << 10, 1 << 20])),
        patch("automq.stream.compactor.ASK_EVERY_MS", merging.choice([100, 2_000])),
        patch("automq.stream.compactor.LEFT_OUT_MS", 10_000),
        patch("automq.node.run.settle_memory"),
    ):
        try:
            run.loop.run_until_complete(asyncio.wait_for(run.story(), STORY_S_MAX))
            for trouble in run.loop.troubles:
                run.complain(trouble)
        except (AssertionError, Deadlock, TimeoutError) as error:
            run.complain(f"{error!r}{_where(error)}")
        except RuntimeError:
            if not (is_hasty and run.violations):
                raise
        finally:
            watch.is_deaf = True
            run.loop.bury()
            run.loop.close()
    return Result(
        seed=seed,
        violations=run.violations,
        digest=run.trace.digest,
        virtual_s=run.loop.time(),
        real_s=time.monotonic() - started,
        acknowledged=run.truth.acknowledged,
        records_read=run.truth.records_read,
        incarnations=len(run.node.incarnations),
        troubles=run.nemesis.names,
        clients=run.client_names,
        probes=sorted(run.probes),
        last_lines=list(run.trace.last),
    )


def shrink(seed: int, tell: Callable[[str], None]) -> list[str]:
    """Names of troubles and clients without which the seed still fails; nothing if it holds.

    One after the other is left out, and stays out if the run fails without it as well.
    """
    result = play(seed)
    if result.is_good:
        return []
    without: list[str] = []
    for name in [*result.clients, *result.troubles]:
        fewer = play(seed, without=[*without, name])
        if not fewer.is_good:
            without.append(name)
            result = fewer
            tell(f"fails without {name}: {fewer.violations[0][:100]}")
    tell(f"what is left: {', '.join([*result.clients, *result.troubles])}")
    return without
