"""Writes the pages of docs/ that follow from the code.

    python tools/make_docs.py            writes them
    python tools/make_docs.py --check    writes nothing; exits 1 and names the pages that are stale

To add a page: write a module `docs_<page>.py` beside this one with `page() -> str`, and list it.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import docs_config
import docs_metrics
import docs_protocol
import docs_records

ROOT = Path(__file__).resolve().parent.parent
PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/config.md": docs_config.page,
    "docs/reference/metrics.md": docs_metrics.page,
    "docs/reference/protocol.md": docs_protocol.page,
    "docs/reference/records.md": docs_records.page,
}


def main() -> int:
    stale = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"wrote {name}")
    if stale and "--check" in sys.argv[1:]:
        print(f"stale, run `make docs`: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
