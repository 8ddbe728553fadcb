"""The test command: style checks, Rust's tests, Python's tests; `--long` for the long suites.

Every part runs even when one before it failed. The last lines count the parts and name failures.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"

QUICK: dict[str, list[str]] = {
    "check": [f"{BIN}/python", "tools/check.py"],
    "rust": ["cargo", "test", "--release", "--locked", "--quiet", "--workspace"],
    "python": [
        *(f"{BIN}/python", "-m", "pytest", "-q", "-m", "not long"),
        *("-n", "2", "--dist", "loadfile"),
    ],
}
LONG: dict[str, list[str]] = {
    "long": [f"{BIN}/python", "-m", "pytest", "-v", "-m", "long", "--timeout", "7200"],
}


def main() -> int:
    """Run every part, in order; 1 if any failed."""
    arguments = [a for a in sys.argv[1:] if a != "--long"]
    parts = LONG if "--long" in sys.argv else QUICK
    results = {name: run(name, command, arguments) for name, command in parts.items()}
    failed = [name for name, code in results.items() if code != 0]
    print(f"parts: {len(results) - len(failed)} passed, {len(failed)} failed", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def run(name: str, command: list[str], arguments: list[str]) -> int:
    print(f"== {name}", flush=True)
    extra = arguments if "pytest" in command else []
    return subprocess.run([*command, *extra], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
