"""Whether a store keeps the promises that everything here stands on.

`examine` tries a whole store, through every address it has (`automq storage check`); `refuse_unfit`
is the cheap part, at a node's first start. Each promise is a function that takes a `Trial` (the
stores, a prefix of its own, what it wrote) and tells `Finding`s: `promises.py` are those about
order and exclusion, `operations.py` the calls, `bucket.py` what is set for the bucket and the
clock, `speed.py` how fast it is.

Invariants: nothing outside the trial's own prefix is written or deleted, and a key is noted before
it is written, so that `Trial.clean` finds it. A step either tells what it saw or fails as the store
does; a failure of the store is never taken for a promise kept.

It proves little: a store that breaks its promise only in trouble passes (`CANNOT_SHOW`).
"""

from automq.objectstore.check.examine import CANNOT_SHOW, Check, Unusable, examine
from automq.objectstore.check.finding import Finding, Outcome, Verdict, verdict_of
from automq.objectstore.check.first_start import Unfit, refuse_unfit
from automq.objectstore.check.speed import Speed
from automq.objectstore.check.trial import Trial

__all__ = [
    "CANNOT_SHOW",
    "Check",
    "Finding",
    "Outcome",
    "Speed",
    "Trial",
    "Unfit",
    "Unusable",
    "Verdict",
    "examine",
    "refuse_unfit",
    "verdict_of",
]
