"""Set up a checkout: `.venv` with what `requirements.lock` pins, and the native core built into it.

`python3 tools/setup.py` does what has not been done yet; `--build` builds the core in any case.
Only the standard library is used here, because nothing else is there yet.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
STAMPS = VENV / ".automq-stamps"
NATIVE_SOURCES = (
    "Cargo.toml",
    "Cargo.lock",
    "pyproject.toml",
    "rust",
    "src/automq/protocol/schemas",
)


def main() -> None:
    """Bring the checkout up to date; says what it does, one line a step."""
    if sys.version_info < (3, 11):  # noqa: UP036  the interpreter here is the user's, not ours
        fail(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}")
    if shutil.which("cargo") is None:
        fail("cargo is needed to build the native core: install Rust (https://rustup.rs)")
    if shutil.which("cc") is None:
        fail("a C compiler is needed to link the native core (Debian: apt install gcc)")
    if not PYTHON.exists():
        if importlib.util.find_spec("ensurepip") is None:
            fail("Python's venv module is not complete (Debian: apt install python3-venv)")
        say(f"creating {VENV.relative_to(ROOT)}")
        venv.create(VENV, with_pip=True)
    STAMPS.mkdir(exist_ok=True)
    once("packages", digest([LOCK]), install_packages)
    if "--build" in sys.argv:
        (STAMPS / "native").unlink(missing_ok=True)
    once("native", digest(native_files()), build_native)
    # Start-up time is mostly imports: compile them now, also where it is forbidden later.
    run([PYTHON, "-m", "compileall", "-q", "src/automq"])


def once(name: str, key: str, work: Callable[[], None]) -> None:
    """Run `work` unless its stamp says that it was done for the same `key`."""
    stamp = STAMPS / name
    if stamp.exists() and stamp.read_text() == key:
        return
    work()
    stamp.write_text(key)


def install_packages() -> None:
    say("installing the locked packages")
    run([PYTHON, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", LOCK])


def build_native() -> None:
    say("building the native core (a few minutes the first time)")
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "PIP_QUIET": "1"}
    maturin = VENV / "bin" / "maturin"
    run([maturin, "develop", "--release", "--locked", "-q"], environment)


def native_files() -> list[Path]:
    """Every file that the native core is made of, in a stable order."""
    found: list[Path] = []
    for name in NATIVE_SOURCES:
        path = ROOT / name
        found += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sorted(found)


def digest(files: list[Path]) -> str:
    total = hashlib.sha256(sys.version.encode())
    for path in files:
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def run(command: list[str | Path], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        fail(f"failed ({done.returncode}): {' '.join(str(part) for part in command)}")


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> None:
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    main()
