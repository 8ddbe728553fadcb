"""An event loop whose time is virtual and whose order of callbacks is drawn from a seed.

What belongs to one process (a node, say) is what runs in its context: such a process can be paused
or killed between any two callbacks, without a word to its code.
"""

import asyncio
import inspect
import random
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from enum import Enum
from typing import Any, TypeVar

R = TypeVar("R")

CLOCK_RESOLUTION_S = 1e-6
EXECUTOR_S_MAX = 0.005
SWEEP_TASKS_EVERY = 2_000
TURNS_MAX = 50_000


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
        self.held: list[asyncio.Handle] = []

    def __repr__(self) -> str:
        return f"<{self.name} {self.state.value}>"

    @property
    def is_dead(self) -> bool:
        return self.state is ProcessState.DEAD


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class SimTask(asyncio.Task[Any]):
    """A task that is hashed by its number, so that sets of tasks have the same order every time."""

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number


class _Ready:
    """The callbacks that may run now. Any may be next, but those of one object keep their order.

    That much asyncio promises, and transports and protocols rely on it.
    """

    def __init__(self, chance: random.Random, nothing: asyncio.Handle) -> None:
        self._chance = chance
        self._nothing = nothing
        self._handles: list[asyncio.Handle] = []
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[asyncio.Handle]:
        return iter(self._handles)

    def append(self, handle: asyncio.Handle) -> None:
        if not self.is_closed:
            self._handles.append(handle)

    def clear(self) -> None:
        self._handles.clear()

    def popleft(self) -> asyncio.Handle:
        """The next callback; one that does nothing in place of a paused or dead process's."""
        handles = self._handles
        at = 0
        if len(handles) > 1:
            at = int(self._chance.random() * len(handles))
            owner = _owner(handles[at])
            if owner is not None:
                at = next(i for i, it in enumerate(handles) if _owner(it) is owner)
        handle = handles.pop(at)
        process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is None or process.state is ProcessState.RUNNING:
            return handle
        if process.state is ProcessState.PAUSED:
            process.held.append(handle)
        return self._nothing


def _owner(handle: asyncio.Handle) -> object | None:
    return getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]


class _Jump:
    """Instead of waiting, moves the time by as much as there was to wait."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("everyone waits and no timer is set")
        self._turns = 0 if timeout > 0 else self._turns + 1
        if self._turns > TURNS_MAX:
            raise Deadlock(f"time has stood still for {TURNS_MAX} turns of the loop")
        self.now_s += timeout
        return []

    def close(self) -> None:
        pass


class SimLoop(asyncio.BaseEventLoop):
    """Time passes only when nothing can run."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._clock_resolution = CLOCK_RESOLUTION_S
        self._selector = _Jump()
        nothing = asyncio.Handle(lambda: None, (), self)
        nothing.cancel()
        self._ready = _Ready(chance, nothing)
        self._tasks: list[SimTask] = []
        self._task_count = 0
        self.world = copy_context()
        """The context of what belongs to no process."""
        self.troubles: list[str] = []
        """Exceptions that nobody took."""
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._note_trouble)

    def time(self) -> float:
        return self._selector.now_s

    # -- what BaseEventLoop leaves to those who have a selector

    def _process_events(self, event_list: object) -> None:
        pass

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
            for handle in held:
                self._ready.append(handle)

    def kill(self, process: Process) -> None:
        """Nothing of it ever runs again, no clean-up either."""
        process.state = ProcessState.DEAD
        process.held.clear()

    def bury(self) -> None:
        """After the run: let go of the tasks that never ended, whatever they try to do then."""
        self._ready.is_closed = True
        self._ready.clear()
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
