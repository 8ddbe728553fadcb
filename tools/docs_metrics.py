"""docs/reference/metrics.md: every metric, from the declarations beside the code that counts."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from automq.telemetry.metrics import METRIC_SETS

SOURCE = Path(__file__).resolve().parent.parent / "src"

HEAD = """\
# Metrics

<!-- Written by tools/make_docs.py; do not edit. -->

Metrics are given at `automq.metrics.listener` in Prometheus's text format, with the process's own
(`process_resident_memory_bytes`, `process_cpu_seconds_total`, ...).
"""


def page() -> str:
    """The text of the page."""
    for path in sorted(SOURCE.glob("automq/**/*.py")):
        if "\n@metric_set(" in path.read_text("utf-8"):
            importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))
    lines = [HEAD, *rows()]
    return "\n".join(lines) + "\n"


def rows() -> Iterator[str]:
    yield "| metric | kind | labels | |"
    yield "|---|---|---|---|"
    for declared in sorted(METRIC_SETS.values(), key=lambda item: item.prefix):
        labels = ", ".join(f"`{label}`" for label in declared.labels)
        for name, about in declared.metrics():
            yield f"| `{name}` | {about.kind} | {labels} | {about.doc} |"
