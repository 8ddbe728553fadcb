"""docs/reference/records.md: every metadata record, from its class."""

import inspect
from collections.abc import Iterator

from automq.metadata.records import Spec, specs

HEAD = """\
# Metadata records

<!-- Written by tools/make_docs.py; do not edit. -->

What the metadata log holds (`docs/formats.md` says how). Keys below 1000 are the cluster part,
which every broker follows; from 1000 on the storage part, which only controllers keep. Keys from
900 to 999 and from 1900 on occur in snapshots only. `since` is the `metadata.version` that allows a
record.
"""


def page() -> str:
    """The text of the page."""
    return "\n".join([HEAD, *(line for spec in specs() for line in section(spec))]) + "\n"


def section(spec: Spec) -> Iterator[str]:
    yield f"## {spec.key} {spec.cls.__name__}"
    yield ""
    yield f"Version {spec.version}, since {spec.since}. {about(spec)}".rstrip()
    yield ""
    yield "| field | type |"
    yield "|---|---|"
    for name, kind in spec.body.kinds.items():
        yield f"| `{name}` | {kind.name} |"
    yield ""


def about(spec: Spec) -> str:
    doc = spec.cls.__doc__ or ""
    # A dataclass without a docstring is given its signature as one.
    if doc.startswith(f"{spec.cls.__name__}("):
        return ""
    return " ".join(inspect.cleandoc(doc).split())
