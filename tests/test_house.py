"""The rules of the house that a machine can hold. An exception is listed with its reason."""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from automq.broker.dispatch import load_apis

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "automq"
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
FRONT_PAGE_LINES = range(10, 31)

GENERATED = ("src/automq/protocol/messages/", "src/automq/protocol/errors.py")
"""Written by tools; as long as Kafka's facts are."""
LONG_FILES = {
    "src/automq/_native.pyi": "one module in Python, one section for each crate",
}
LONG_FUNCTIONS: dict[str, str] = {}
SHORT_FRONT_PAGES = {
    "src/automq/__init__.py": "the package; its layers have the front pages",
    "src/automq/protocol/messages/__init__.py": "generated classes, one file each",
}

BANNED = {"time", "random", "secrets", "uuid", "threading", "socket", "subprocess", "select", "os"}
WORLDLY = ("cli", "console", "provision", "world")
"""Where a machine's own time, chance and files are reached for, to be handed down."""
WORLDLY_FILES = {
    "src/automq/config/sources.py": "reads the file and the memory limit when the CLI asks",
    "src/automq/node/lock.py": "the lock of the data directory",
    "src/automq/node/places.py": "types of listening sockets",
    "src/automq/node/metrics_door.py": "the type of its listening socket",
    "src/automq/broker/listener.py": "the shell that listens and accepts",
    "src/automq/objectstore/uri.py": "the environment's credentials, unless handed in",
    "src/automq/telemetry/log.py": "formats the stamp of a log line",
    "src/automq/coordinator/group/coordinator.py": "uuid.UUID formats; the bytes are the world's",
    "src/automq/stream/wal/simulated.py": "takes a seeded Random",
    "src/automq/metadata/postgres/simulated.py": "takes a seeded Random",
}
TASK_STARTERS = re.compile(
    r"\b(asyncio|loop|get_running_loop\(\)|_loop)\.(create_task|ensure_future)\b"
)
CLOCKS = re.compile(r"\b(datetime\.now|uuid4|os\.urandom|time\.time)\b")

# With brackets, so that this file may speak of them.
FOREIGN_WORDS = re.compile(
    r"\b(as[s]istants?|co-auth[o]red-by|language m[o]dels?|TO[D]O|FIX[M]E|X[X]X)\b"
)
CONFLICT = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)
NOT_SOURCES = {
    *(".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
    *(".import_linter_cache", "__pycache__", "target", "build", "dist", "node_modules"),
    *("automq-data", "results"),
}
TEXT = {".py", ".pyi", ".rs", ".md", ".toml", ".java", ".txt", ".tsv", ".js", ".go", ".yml", ""}


@cache
def sources() -> list[str]:
    """Every file that people or tools have written here, by its name."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in NOT_SOURCES)
        found += [(Path(folder) / name).relative_to(ROOT).as_posix() for name in sorted(names)]
    return found


def code(suffix: str, *folders: str) -> Iterator[tuple[str, str]]:
    """Name and text of every file with the suffix that people write."""
    for name in sources():
        if name.endswith(suffix) and name.startswith(folders) and not name.startswith(GENERATED):
            yield name, (ROOT / name).read_text("utf-8")


@pytest.fixture(scope="module")
def python() -> dict[str, str]:
    return dict(code(".py", "src/", "tests/", "tools/", "benches/"))


@pytest.fixture(scope="module")
def layers(python: dict[str, str]) -> dict[str, str]:
    """The Python of all layers from the node down."""
    above = tuple(f"src/automq/{layer}/" for layer in WORLDLY)
    return {
        name: text
        for name, text in python.items()
        if name.startswith("src/") and not name.startswith(above)
    }


def test_no_file_is_longer_than_its_subject_needs(python: dict[str, str]) -> None:
    files = python | dict(code(".rs", "rust/")) | dict(code(".pyi", "src/"))

    long = {
        name: lines for name, text in files.items() if (lines := text.count("\n")) > FILE_LINES_MAX
    }

    assert {name for name in long if name not in LONG_FILES} == set(), long


def test_no_function_is_longer_than_a_page(python: dict[str, str]) -> None:
    long = {
        f"{name}:{function.name}": lines
        for name, text in python.items()
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    }

    assert {name: n for name, n in long.items() if name not in LONG_FUNCTIONS} == {}


def test_every_package_has_a_front_page() -> None:
    lines = {
        name: len((ast.get_docstring(ast.parse(text)) or "").splitlines())
        for name, text in code("/__init__.py", "src/")
    }

    odd = {name: count for name, count in lines.items() if count not in FRONT_PAGE_LINES}

    assert {name: count for name, count in odd.items() if name not in SHORT_FRONT_PAGES} == {}


def test_time_chance_and_files_come_from_the_world(layers: dict[str, str]) -> None:
    found = {
        f"{name}: {module}"
        for name, text in layers.items()
        if name not in WORLDLY_FILES
        for module in imported(text) & BANNED
    }

    assert found == set()


def test_nothing_asks_the_machine_for_the_time_or_an_id(layers: dict[str, str]) -> None:
    assert {name: hit[0] for name, text in layers.items() if (hit := CLOCKS.search(text))} == {}


def test_every_task_belongs_to_a_group(layers: dict[str, str]) -> None:
    assert [name for name, text in layers.items() if TASK_STARTERS.search(text)] == []


def test_every_exception_to_a_rule_is_still_needed(layers: dict[str, str]) -> None:
    idle = [name for name in WORLDLY_FILES if not imported(layers.get(name, "")) & BANNED]

    assert idle == []


def test_every_api_is_mentioned_by_a_test(python: dict[str, str]) -> None:
    tests = "\n".join(text for name, text in python.items() if name.startswith("tests/broker/"))

    missing = [
        api.name
        for api in load_apis().values()
        if not re.search(rf"\b{api.name}(Request|Response)?\b", tests)
    ]

    assert missing == []


def test_every_command_that_the_pages_name_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {
        f"{name}: make {target}"
        for name, text in code(".md", "README", "CONTRIBUTING", "docs/", "ARCHITECTURE", "benches/")
        for target in re.findall(r"(?:`|^ *(?:\$ )?)make ([a-z-]+)", text, re.MULTILINE)
        if target not in targets
    }

    assert named == set()


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{name}: {target}"
        for name, text in code(".md", "")
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
        if not (ROOT / name).parent.joinpath(target).exists()
    ]

    assert broken == []


def test_every_page_in_english_and_chinese_tells_the_same_commands() -> None:
    pairs = [("README.md", "README.zh-CN.md"), *zh_pairs()]

    for english, chinese in pairs:
        assert commands(english) == commands(chinese), (english, chinese)


def test_the_project_speaks_of_itself_and_is_merged() -> None:
    odd = {}
    for name in sources():
        if Path(name).suffix not in TEXT:
            continue
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        hit = FOREIGN_WORDS.search(text) or CONFLICT.search(text)
        if hit:
            odd[name] = hit[0]

    assert odd == {}


def imported(text: str) -> set[str]:
    """The top names of the modules that a file imports when it is loaded."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def zh_pairs() -> list[tuple[str, str]]:
    names = sorted(path.name for path in (ROOT / "docs" / "zh").glob("*.md"))
    return [(f"docs/{name}", f"docs/zh/{name}") for name in names if name != "README.md"]


def commands(name: str) -> list[str]:
    """What a page tells its readers to type or to write, without the comments."""
    text = (ROOT / name).read_text("utf-8")
    lines = "\n".join(re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    bare = (re.sub(r"\s*(?<!\S)#.*$", "", line).rstrip() for line in lines.splitlines())
    return [line for line in bare if line]
