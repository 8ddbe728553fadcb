"""An event loop whose time is virtual and whose order of callbacks is drawn from a seed.

What belongs to one process (a node, say) is what runs in its context: such a process can be paused
or killed between any two callbacks, without a word to its code.
"""

import asyncio
import inspect
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from enum import Enum
from heapq import heappop, heappush
from typing import Any, TypeVar

R = TypeVar("R")

CLOCK_RESOLUTION_S = 1e-6
EXECUTOR_S_MAX = 0.005
SWEEP_TASKS_EVERY = 2_000
CALLS_MAX = 50_000


class Deadlock(AssertionError):
    """Everyone waits, and no timer is set: nothing would ever happen again."""


class ProcessState(Enum):
    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class Process:
    """Tasks, callbacks and timers that live and die together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ProcessState.RUNNING
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.held: list[Call] = []

    def __repr__(self) -> str:
        return f"<{self.name} {self.state.value}>"

    @property
    def is_dead(self) -> bool:
        return self.state is ProcessState.DEAD


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def current_process() -> Process | None:
    """The process that what runs now belongs to; None in the world around them."""
    return _PROCESS.get()


class SimTask(asyncio.Task[Any]):
    """A task that is hashed by its number, so that sets of tasks have the same order every time."""

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number


class Call:
    """One callback to be run, in its context; a handle as asyncio hands it out."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "when_s")

    def __init__(
        self, callback: Callable[..., object], args: Any, context: Context | None, when_s: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.is_cancelled = False
        self.when_s = when_s

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.when_s


class SimLoop(asyncio.BaseEventLoop):
    """Time passes only when nothing can run.

    Any callback that may run can be the next, but those of one object keep their order: that much
    asyncio promises, and transports and protocols rely on it. Most of a seed is spent here, so it
    does without what asyncio's own loop has for selectors, signals, threads and debugging.
    """

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._now_s = 0.0
        self._calls: list[Call] = []
        self._timers: list[tuple[float, int, Call]] = []
        self._timer_count = 0
        self._is_buried = False
        self._tasks: list[SimTask] = []
        self._task_count = 0
        self.world = copy_context()
        """The context of what belongs to no process."""
        self.troubles: list[str] = []
        """Exceptions that nobody took."""
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._note_trouble)

    def time(self) -> float:
        return self._now_s

    # -- callbacks and timers

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        call = Call(callback, args, context, self._now_s)
        if not self._is_buried:
            self._calls.append(call)
        return call

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Call:
        return self._set_timer(self._now_s + delay, Call(callback, args, context, 0))

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Call:
        return self._set_timer(when, Call(callback, args, context, 0))

    def _set_timer(self, when_s: float, call: Call) -> Call:
        call.when_s = when_s
        self._timer_count += 1
        heappush(self._timers, (when_s, self._timer_count, call))
        return call

    def _run_once(self) -> None:
        """All turns until `stop`. Raises Deadlock."""
        calls = self._calls
        still = 0
        while not self._stopping:  # type: ignore[attr-defined]
            if not calls:
                self._jump()
                still = 0
                continue
            call = calls.pop() if len(calls) == 1 else self._draw(calls)
            process = call.context.get(_PROCESS)
            if call.is_cancelled:
                pass
            elif process is None or process.state is ProcessState.RUNNING:
                try:
                    call.context.run(call.callback, *call.args)
                except Exception as error:
                    self._note_trouble(self, {"message": f"{call.callback!r}", "exception": error})
            elif process.state is ProcessState.PAUSED:
                process.held.append(call)
            still += 1
            if still > CALLS_MAX:
                raise Deadlock(f"time has stood still for {CALLS_MAX} callbacks")

    def _draw(self, calls: list[Call]) -> Call:
        at = int(self._chance.random() * len(calls))
        owner = getattr(calls[at].callback, "__self__", None)
        if owner is not None:
            for first in range(at):
                if getattr(calls[first].callback, "__self__", None) is owner:
                    return calls.pop(first)
        return calls.pop(at)

    def _jump(self) -> None:
        """Instead of waiting, move the time to the next timer. Raises Deadlock."""
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heappop(timers)
        if not timers:
            raise Deadlock("everyone waits and no timer is set")
        self._now_s = max(self._now_s, timers[0][0])
        due_s = self._now_s + CLOCK_RESOLUTION_S
        while timers and timers[0][0] < due_s:
            self._calls.append(heappop(timers)[2])

    # -- what BaseEventLoop leaves to those who have a selector

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., R], *args: Any
    ) -> "asyncio.Future[R]":
        """Runs `func` at some later moment: whole, since native code does not give way."""
        future: asyncio.Future[R] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(error)

        self.call_later(self._chance.uniform(0, EXECUTOR_S_MAX), run)
        return future

    def _asyncgen_firstiter_hook(self, agen: object) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen: object) -> None:
        """A generator that was let go in the middle stays there: its process died in it."""

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None
    ) -> SimTask:
        self._task_count += 1
        if self._task_count % SWEEP_TASKS_EVERY == 0:
            self._tasks = [task for task in self._tasks if not task.done()]
        task = SimTask(self._task_count, coro, loop=self, context=context)
        # Kept: a task of a dead process must not be found, and closed, by the garbage collector.
        self._tasks.append(task)
        return task

    def _note_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.troubles.append(f"{context['message']}: {error!r}")

    # -- processes

    def spawn_in(
        self, process: Process, coro: Coroutine[Any, Any, R], name: str
    ) -> "asyncio.Task[R]":
        return self.create_task(coro, name=name, context=process.context)

    def spawn(self, coro: Coroutine[Any, Any, R], name: str) -> "asyncio.Task[R]":
        """A task of the world's: of no process."""
        return self.create_task(coro, name=name, context=self.world)

    def pause(self, process: Process) -> None:
        """From now on nothing of it runs."""
        if process.state is ProcessState.RUNNING:
            process.state = ProcessState.PAUSED

    def resume(self, process: Process) -> None:
        """It goes on where it was; its timers that passed meanwhile are all due."""
        if process.state is ProcessState.PAUSED:
            process.state = ProcessState.RUNNING
            held, process.held = process.held, []
            self._calls += held

    def kill(self, process: Process) -> None:
        """Nothing of it ever runs again, no clean-up either."""
        process.state = ProcessState.DEAD
        process.held.clear()

    def bury(self) -> None:
        """After the run: let go of the tasks that never ended, whatever they try to do then."""
        self._is_buried = True
        self._calls.clear()
        self._timers.clear()
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
        self._tasks.clear()


def _close(coro: Any) -> None:
    if inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
        for argument in coro.cr_frame.f_locals.values():
            if inspect.iscoroutine(argument):
                _close(argument)
    for _ in range(3):  # a coroutine that waits while it is closed is closed again
        try:
            coro.close()
        except BaseException:
            continue
        return
