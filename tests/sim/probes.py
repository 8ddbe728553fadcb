"""The marks in rare paths of the real code: which there are."""

import re
from collections import Counter
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src" / "automq"
PROBE = re.compile(r"\bprobe\(\s*\"([^\"]+)\"\s*\)")


def known_probes() -> list[str]:
    """Every mark in the sources, by name. Raises AssertionError if two places share one."""
    found = Counter(
        name
        for path in sorted(SOURCES.rglob("*.py"))
        for name in PROBE.findall(path.read_text(encoding="utf-8"))
    )
    twice = [name for name, count in found.items() if count > 1]
    assert not twice, f"marks of several places: {twice}"
    return sorted(found)
