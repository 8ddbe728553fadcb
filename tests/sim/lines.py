"""Which lines of some folders a run executes: for the figure in docs/internals/proof.md."""

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

REPLACED = ("stream/wal/file.py",)
"""What has a twin in the simulation: the log with a thread."""


def lines_of(path: Path) -> set[int]:
    """Numbers of the lines with code inside of functions: what importing runs proves nothing."""
    found: set[int] = set()
    waiting = _inner(compile(path.read_text(), str(path), "exec"))
    while waiting:
        code = waiting.pop()
        waiting += _inner(code)
        is_body = code.co_flags & 0x3  # optimized, new locals: a function and not a class
        if is_body:
            found |= {
                line for _, _, line in code.co_lines() if line and line != code.co_firstlineno
            }
    return found - _without_bodies(path)


def _without_bodies(path: Path) -> set[int]:
    """Lines of methods that only a `Protocol` declares: there is nothing to execute."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_declared(node.body[-1]):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def _is_declared(last: ast.stmt) -> bool:
    return (
        isinstance(last, ast.Expr)
        and isinstance(last.value, ast.Constant)
        and last.value.value is Ellipsis
    )


def _inner(code: CodeType) -> list[CodeType]:
    return [it for it in code.co_consts if isinstance(it, CodeType)]


@contextmanager
def seen_lines(folders: tuple[Path, ...]) -> Iterator[dict[str, set[int]]]:
    """What is executed meanwhile, by file. From Python 3.12 on it costs next to nothing."""
    prefixes = tuple(f"{folder}/" for folder in folders)
    seen: dict[str, set[int]] = {}
    with _monitored(prefixes, seen) if sys.version_info >= (3, 12) else _traced(prefixes, seen):
        yield seen


@contextmanager
def _monitored(prefixes: tuple[str, ...], seen: dict[str, set[int]]) -> Iterator[None]:
    """Each line is told once."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
    tool, line_event = monitoring.COVERAGE_ID, monitoring.events.LINE

    def note(code: CodeType, line: int) -> object:
        if code.co_filename.startswith(prefixes):
            seen.setdefault(code.co_filename, set()).add(line)
        return monitoring.DISABLE

    monitoring.use_tool_id(tool, "lines")
    monitoring.restart_events()
    monitoring.register_callback(tool, line_event, note)
    monitoring.set_events(tool, line_event)
    try:
        yield
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, line_event, None)
        monitoring.free_tool_id(tool)


@contextmanager
def _traced(prefixes: tuple[str, ...], seen: dict[str, set[int]]) -> Iterator[None]:
    """Slow: each line of these folders is traced."""

    def enter(frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not name.startswith(prefixes):
            return None
        lines = seen.setdefault(name, set())

        def step(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
            lines.add(frame.f_lineno)
            return step

        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)
