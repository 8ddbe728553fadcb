"""Metadata records: one class per fact, and the registry that knows them all.

A record is a frozen dataclass: its fields are its bytes, `apply` is its effect on the image. It
says what is so *now*, so applying it needs no clock and no luck, and live traffic and replay take
the same way. `@record(key=..., version=...)` is all it takes to add one: encoding, replay,
snapshot, dump and reference follow from the fields' types.

Keys below 1000 are the cluster part, which every broker follows; from 1000 on the storage part,
which only controllers keep. Keys from 900 to 999 and from 1900 on occur in snapshots only.

Invariants: `apply` is total on what the commands let through and asserts only our own mistakes; a
key or version that is not registered stops the reader with one clear line (`UnknownRecord`).
"""

from automq.metadata.records import (
    cluster,
    configs,
    nodes,
    objects,
    security,
    streams,
    tables,
    topics,
    wals,
)
from automq.metadata.records.registry import (
    METADATA_VERSION,
    Record,
    RecordTooNew,
    Spec,
    UnknownRecord,
    check_version,
    decode,
    encode,
    is_cluster,
    record,
    spec_of,
    specs,
)

__all__ = [
    "METADATA_VERSION",
    "Record",
    "RecordTooNew",
    "Spec",
    "UnknownRecord",
    "check_version",
    "cluster",
    "configs",
    "decode",
    "encode",
    "is_cluster",
    "nodes",
    "objects",
    "record",
    "security",
    "spec_of",
    "specs",
    "streams",
    "tables",
    "topics",
    "wals",
]
