"""One async interface over object stores, opened by URI.

Main names: `ObjectStore` (the interface), `ObjectInfo`, `open_store`, and the errors, each of which
tells the caller what to do. `file://` is a directory served by the native core; `s3://` any
S3-compatible store, `oss://`, `gs://` and `az://` those of Alibaba, Google and Azure; `memory://`
this process. Around a store: `Counted` counts into `StoreMetrics`,
`Hedged` reads a second time what is slow, `Retrying` repeats until it works: `robust` is all three.
`simulated.Faulty` fails as told, and `simulated.SimulatedStore` does so in memory.

Invariants: an object is visible whole or not at all, and durable when its write returns. Of any
number of creators of a key at most one wins, and a loss is as durable as a win. A create is sent
exactly once per call, and a lost answer is reported as OutcomeUnknown: never as a win, never as a
loss. A range is returned in full or not at all.

It never repeats anything below `Retrying`, never joins the pieces of a body, never puts a
secret into a message, never calls into Python from a foreign thread, and never asks the wall clock.
The native runtime thread starts with the first call: fork before that, or spawn.
"""

from automq.objectstore.counting import Counted
from automq.objectstore.errors import (
    AlreadyExists,
    Corrupt,
    Denied,
    NoBucket,
    NotAllDeleted,
    NotFound,
    OutcomeUnknown,
    StoreError,
    Throttled,
    TryAgain,
    Unavailable,
)
from automq.objectstore.hedging import Hedged
from automq.objectstore.location import BadUri, parse_uri
from automq.objectstore.metrics import StoreMetrics
from automq.objectstore.providers import Credentials
from automq.objectstore.retry import Retrying, robust
from automq.objectstore.settings import BucketSettings
from automq.objectstore.store import ObjectInfo, ObjectStore, Pieces
from automq.objectstore.uri import open_store

__all__ = [
    "AlreadyExists",
    "BadUri",
    "BucketSettings",
    "Corrupt",
    "Counted",
    "Credentials",
    "Denied",
    "Hedged",
    "NoBucket",
    "NotAllDeleted",
    "NotFound",
    "ObjectInfo",
    "ObjectStore",
    "OutcomeUnknown",
    "Pieces",
    "Retrying",
    "StoreError",
    "StoreMetrics",
    "Throttled",
    "TryAgain",
    "Unavailable",
    "open_store",
    "parse_uri",
    "robust",
]
