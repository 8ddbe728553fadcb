"""The shell around one machine: run, apply, append, and answer when it is stored.

Invariants:
* No `await` stands between deciding and applying, and appends take their places in the log in the
  order of the decisions.
* A reply (to a read as well) leaves when every append that was under way at its decision, its own
  included, is stored: nobody ever sees what could still be lost.
* There is no undo. A *refused* append (certainly not stored) throws the machine away: whoever
  waits is sent to look for the coordinator again, and the state is loaded anew. An *unknown*
  outcome is no refusal: the log goes on until it has a verdict, and everyone waits. A log that is
  full is neither: its appends take longer, and new commands wait for room before they decide.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, Protocol, TypeVar, cast

from automq._native import Buf
from automq.coordinator.loading import load
from automq.coordinator.machine import Decision, Machine, Moment, Record, Token, Waiting
from automq.protocol import errors
from automq.telemetry import Log
from automq.world import Clock
from automq.world.probe import probe

log = Log("coordinator")

M = TypeVar("M", bound=Machine)
R = TypeVar("R")
KeyValue = tuple[bytes, bytes | None]

RETRY_FIRST_MS, RETRY_LAST_MS = 100, 10_000
RECORD_OVERHEAD_BYTES = 64
EARLY_ALARM_MS = 1
FULL_LOG_RETRY_S = 0.1


class ShardLog(Protocol):
    """The partition of a shard: the only place where its state survives."""

    def append(self, records: Sequence[KeyValue], timestamp_ms: int) -> asyncio.Future[None]:
        """Take the next place in the log, now; the future is done when it is durable.

        Somebody waits, so the batch closes at once. The future fails with a KafkaError only when
        it is certain that nothing was stored; while that is unknown, or there is no room, it
        stays open. After a failure no later append succeeds until `read` was called.
        """
        ...

    def read(self) -> AsyncIterator[Buf]:
        """All stored batches, in order, in pieces of whole batches. Sees every stored append."""
        ...


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """Bounds of a shard: on one append, on those under way, and on a caller's patience."""

    append_bytes_max: int = 1_000_000
    inflight_appends_max: int = 1_000
    reply_timeout_ms: int = 5_000


class ShardState(Enum):
    """Whether a shard answers."""

    LOADING = "loading"
    ACTIVE = "active"
    CLOSED = "closed"


@dataclass(slots=True, eq=False)
class _Append:
    """An append under way, and the replies that depend on it."""

    future: asyncio.Future[None]
    releases: list[Callable[[errors.KafkaError | None], None]] = field(default_factory=list)


class Shard(Generic[M]):
    """One partition of a coordinator. `serve` runs it; `run` gives it commands."""

    def __init__(
        self,
        *,
        name: str,
        log: ShardLog,
        new_machine: Callable[[], M],
        clock: Clock,
        settings: ShardSettings | None = None,
    ) -> None:
        self.name = name
        self.state = ShardState.LOADING
        self._log = log
        self._new_machine = new_machine
        self._machine = new_machine()
        self._clock = clock
        self._settings = settings or ShardSettings()
        self._inflight: deque[_Append] = deque()
        self._parked: dict[Token, asyncio.Future[object]] = {}
        self._refusal: errors.KafkaError | None = None
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ms: int | None = None
        self._last_token = 0

    def new_token(self) -> Token:
        """A token for a command whose reply may have to wait."""
        self._last_token += 1
        return self._last_token

    def now(self) -> Moment:
        return Moment(self._clock.now_ms(), int(self._clock.monotonic_ms()))

    # -- commands

    async def run(self, command: Callable[[M, Moment], Decision[M, R]]) -> R:
        """What the command answers, once it and all it saw is stored.

        Raises what the command raises, CoordinatorLoadInProgress, NotCoordinator (also when the
        shard closes or reloads meanwhile: the outcome is open), and CoordinatorNotAvailable when
        storing takes longer than `reply_timeout_ms`. A reply that waits for other members has no
        time limit of its own.
        """
        self._check_active()
        if len(self._inflight) >= self._settings.inflight_appends_max:
            async with self._patience("room in the log"):
                await self._wait_for(
                    lambda: len(self._inflight) < self._settings.inflight_appends_max
                )
            self._check_active()
        decision = command(self._machine, self.now())
        reply = decision.reply
        parked = self._park(reply.token) if isinstance(reply, Waiting) else None
        stored = self._enact(decision)
        try:
            if stored is not None:
                async with self._patience("its records to be stored"):
                    await stored
            if parked is not None:
                reply = cast("R | errors.KafkaError", await parked)
        finally:
            if isinstance(reply, Waiting):
                self._parked.pop(reply.token, None)
        if isinstance(reply, errors.KafkaError):
            raise reply
        return cast("R", reply)

    def _check_active(self) -> None:
        if self.state is ShardState.LOADING:
            raise errors.CoordinatorLoadInProgress(f"{self.name} is being loaded")
        if self.state is ShardState.CLOSED:
            raise errors.NotCoordinator(f"{self.name} is not led by this node")

    @asynccontextmanager
    async def _patience(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._settings.reply_timeout_ms / 1000):
                yield
        except TimeoutError as error:
            probe("coordinator: a reply was given up before its records were stored")
            why = f"{self.name} waited too long for {what}"
            raise errors.CoordinatorNotAvailable(why) from error

    def _park(self, token: Token) -> asyncio.Future[object]:
        future = asyncio.get_running_loop().create_future()
        self._parked[token] = future
        return future

    # -- from a decision to the log

    def _enact(self, decision: Decision[M, R]) -> asyncio.Future[None] | None:
        """Apply and append. The future is done when all is stored; None if nothing is open."""
        batches = self._batches(decision.records)
        try:
            decision.apply(self._machine)
            timestamp_ms = self._clock.now_ms()
            for batch in batches:
                append = _Append(self._log.append(batch, timestamp_ms))
                self._inflight.append(append)
                append.future.add_done_callback(self._on_verdict)
            self._arm()
        except BaseException:
            self._throw_away(errors.UnknownServerError(f"{self.name} failed in the middle"))
            raise
        released = decision.released
        if not self._inflight:
            self._release(released)
            return None
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finish(error: errors.KafkaError | None) -> None:
            if error is None:
                self._release(released)
            if stored.cancelled():
                return
            if error is None:
                stored.set_result(None)
            else:
                stored.set_exception(error)
                stored.exception()  # a caller that has gone leaves nobody to retrieve it

        self._inflight[-1].releases.append(finish)
        return stored

    def _batches(self, records: Sequence[Record[M]]) -> list[list[KeyValue]]:
        """The records' bytes, cut where a batch would grow too large for one append.

        Raises UnknownServerError for a record that never fits, before anything has changed:
        refusing it later would reload the machine again and again.
        """
        bytes_max = self._settings.append_bytes_max
        batches: list[list[KeyValue]] = []
        room = 0
        for record in records:
            key, value = record.key_value()
            size = len(key) + len(value or b"") + RECORD_OVERHEAD_BYTES
            if size > bytes_max:
                raise errors.UnknownServerError(
                    f"{self.name}: a record of {size} bytes; an append holds {bytes_max}"
                )
            if size > room:
                batches.append([])
                room = bytes_max
            batches[-1].append((key, value))
            room -= size
        return batches

    def _on_verdict(self, verdict: asyncio.Future[None]) -> None:
        """Answer in order: an append counts when it and all before it are stored."""
        if not verdict.cancelled():
            verdict.exception()  # after `_forget` nobody else asks for it
        while self._inflight and self._inflight[0].future.done():
            append = self._inflight.popleft()
            refusal = _refusal(append.future)
            if refusal is not None:
                self._throw_away(refusal)
            for release in append.releases:
                release(self._refusal)
        self._changed.set()

    def _throw_away(self, why: errors.KafkaError) -> None:
        """The machine holds what is not stored, and will be loaded again once all is settled."""
        if self._refusal is None:
            self._refusal = why
            probe("coordinator: an append was refused")
            log.warning("state thrown away", shard=self.name, why=str(why))
        if self.state is ShardState.ACTIVE:
            self.state = ShardState.LOADING
        self._changed.set()

    def _release(self, released: Sequence[tuple[Token, object]]) -> None:
        for token, reply in released:
            future = self._parked.get(token)
            if future is not None and not future.done():
                future.set_result(reply)

    # -- time

    def _arm(self) -> None:
        """See to it that the machine is woken. An earlier alarm than needed is left alone."""
        wake_ms = self._machine.wake_at_ms()
        if wake_ms is None or (self._armed_ms is not None and self._armed_ms <= wake_ms):
            return
        self._disarm()
        self._armed_ms = wake_ms
        delay_ms = wake_ms - self._clock.monotonic_ms()
        # A loop may round a delay down; an alarm that comes early would ring until it is time.
        delay_ms = delay_ms + EARLY_ALARM_MS if delay_ms > 0 else 0
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._on_alarm)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._armed_ms = None

    def _on_alarm(self) -> None:
        self._disarm()
        if self.state is not ShardState.ACTIVE:
            return
        if len(self._inflight) >= self._settings.inflight_appends_max:
            # Sessions do not end while nothing can be stored; look again once there is room.
            self._timer = asyncio.get_running_loop().call_later(FULL_LOG_RETRY_S, self._on_alarm)
            self._armed_ms = int(self._clock.monotonic_ms())
            return
        try:
            self._enact(self._machine.tick(self.now()))
        except Exception as error:
            log.error("deadline could not be acted on", cause=error, shard=self.name)
            self._throw_away(errors.UnknownServerError(str(error)))

    # -- life

    async def serve(self) -> None:
        """Load, stay active until an append is refused, and again; until cancelled.

        Returns when the log says that it is another node's (NotLeaderOrFollower).
        """
        try:
            while await self._load():
                await self._wait_for(lambda: self._refusal is not None and not self._inflight)
                self._forget(errors.NotCoordinator(f"{self.name} is loaded again"))
        finally:
            self.close()

    def close(self) -> None:
        """Answer no more: everyone who waits is sent to the next coordinator."""
        self.state = ShardState.CLOSED
        self._forget(errors.NotCoordinator(f"{self.name} moved to another node"))

    async def _load(self) -> bool:
        """A machine made from the log; False if the log is not ours any more."""
        delay_ms = RETRY_FIRST_MS
        while True:
            self._machine, self._refusal = self._new_machine(), None
            try:
                await load(self._machine, self._log.read(), self._clock, name=self.name)
                break
            except errors.NotLeaderOrFollower as error:
                log.info("log is led elsewhere", shard=self.name, why=str(error))
                return False
            except errors.KafkaError as error:
                probe("coordinator: loading failed")
                log.warning("loading failed", shard=self.name, again_in_ms=delay_ms, why=str(error))
                await asyncio.sleep(delay_ms / 1000)
                delay_ms = min(delay_ms * 2, RETRY_LAST_MS)
        for decision in self._machine.resume(self.now()):
            self._enact(decision)
            await asyncio.sleep(0)
        self.state = ShardState.ACTIVE
        self._changed.set()
        self._arm()
        return True

    def _forget(self, error: errors.KafkaError) -> None:
        """Send everyone who waits away."""
        self._disarm()
        while self._inflight:
            for release in self._inflight.popleft().releases:
                release(error)
        for future in self._parked.values():
            if not future.done():
                future.set_result(error)
        self._parked.clear()
        self._changed.set()

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def _refusal(future: asyncio.Future[None]) -> errors.KafkaError | None:
    """What clients are told when an append was refused, by Kafka's table; None if it is stored."""
    if future.cancelled():
        return errors.NotCoordinator("the log was closed")
    error = future.exception()
    if error is None:
        return None
    unavailable = (
        errors.UnknownTopicOrPartition,
        errors.NotEnoughReplicas,
        errors.NotEnoughReplicasAfterAppend,
        errors.RequestTimedOut,
    )
    if isinstance(error, unavailable):
        return errors.CoordinatorNotAvailable(str(error))
    if isinstance(error, errors.NotLeaderOrFollower | errors.KafkaStorageError):
        return errors.NotCoordinator(str(error))
    log.error("append refused for an unknown reason", cause=error)
    return errors.UnknownServerError(str(error))
