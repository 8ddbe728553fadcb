"""What a machine can check of the house style: format, lint, types, layers, Rust's own lints.

Every check runs, so that one run shows all there is to fix; the exit status is 1 if any failed.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"

CHECKS: dict[str, list[str]] = {
    "format": [f"{BIN}/ruff", "format", "--check", "--quiet", "."],
    "lint": [f"{BIN}/ruff", "check", "--quiet", "."],
    "types": [f"{BIN}/mypy", "--no-error-summary"],
    "layers": [f"{BIN}/lint-imports"],
    "rust format": ["cargo", "fmt", "--all", "--check"],
    "rust lint": [
        *("cargo", "clippy", "--release", "--locked", "--quiet", "--all-targets", "--"),
        *("-D", "warnings"),
    ],
}


# What may be missing where cargo is there, and how to get it.
PARTS_OF_RUST = {
    "rust format": ("fmt", "rustup component add rustfmt"),
    "rust lint": ("clippy", "rustup component add clippy"),
}


def main() -> int:
    """Run the checks named on the command line, or all."""
    failed = [name for name in sys.argv[1:] or CHECKS if not passes(name)]
    if failed:
        print(f"check: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def passes(name: str) -> bool:
    part, how = PARTS_OF_RUST.get(name, ("", ""))
    if part and shutil.which(f"cargo-{part}") is None:
        print(f"check: {name:<12} skipped: cargo {part} is not installed ({how})", flush=True)
        return True
    started = time.monotonic()
    done = subprocess.run(CHECKS[name], cwd=ROOT, capture_output=True, text=True, check=False)
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"check: {name:<12} {verdict} ({time.monotonic() - started:.1f} s)", flush=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
