"""What is set for the bucket, and the store's clock: what would hurt a node."""

from collections.abc import Callable, Iterator

from automq.objectstore.check.finding import Finding, Outcome
from automq.objectstore.check.trial import Trial, patiently
from automq.objectstore.settings import BucketSettings, LifecycleRule, NotKnown

ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE", "Archive", "ColdArchive", "DeepColdArchive"})
"""Storage classes from which an object must be restored before it can be read."""
SKEW_SHOWN_MS = 2_000
SKEW_WARNED_MS = 60_000

_Judge = Callable[[BucketSettings], Finding]


def judge(settings: BucketSettings) -> list[Finding]:
    """What the settings of a bucket mean for a node."""
    questions: dict[str, _Judge] = {
        "versioning": _versioning,
        "object lock": _lock,
        "lifecycle rules": _lifecycle,
    }
    if not settings.is_bucket:
        return []
    return [_asked(what, ask, settings) for what, ask in questions.items()]


def _asked(what: str, ask: _Judge, settings: BucketSettings) -> Finding:
    try:
        return ask(settings)
    except NotKnown as why:
        return Finding(what, Outcome.UNKNOWN, str(why))


def _versioning(settings: BucketSettings) -> Finding:
    what, state = "versioning", settings.versioning()
    if state and settings.is_oss:
        text = f"{state}: OSS ignores the condition of a create here; use a bucket that never was"
        return Finding(what, Outcome.UNFIT, text)
    if state == "Enabled":
        text = "on: what is deleted stays as an older version and is paid for; turn it off"
        return Finding(what, Outcome.WARNING, text)
    return Finding(what, Outcome.OK, "suspended: older versions stay" if state else "off")


def _lock(settings: BucketSettings) -> Finding:
    what, mode = "object lock", settings.locked()
    if mode == "Enabled":
        text = "possible, no default: nothing is locked, and versions are kept and paid for"
        return Finding(what, Outcome.WARNING, text)
    if mode:
        text = f"{mode}: nothing can be deleted or replaced in time; use another bucket"
        return Finding(what, Outcome.UNFIT, text)
    return Finding(what, Outcome.OK, "off")


def _lifecycle(settings: BucketSettings) -> Finding:
    what, rules = "lifecycle rules", settings.rules()
    hurting = [text for rule in rules for text in _hurts(rule)]
    if hurting:
        return Finding(what, Outcome.UNFIT, "; ".join(hurting))
    moving = [rule for rule in rules if rule.storage_classes]
    if moving:
        where = ", ".join(sorted({name for rule in moving for name in rule.storage_classes}))
        text = f"move objects to {where}: reading and deleting early costs more there"
        return Finding(what, Outcome.WARNING, text)
    return Finding(what, Outcome.OK, "none that deletes or moves our objects")


def _hurts(rule: LifecycleRule) -> Iterator[str]:
    if rule.expires:
        yield f"the rule {rule.name!r} deletes objects that are in use: remove it"
    for name in rule.storage_classes:
        if name in ARCHIVES:
            yield f"the rule {rule.name!r} moves objects to {name}, where no node can read them"


async def clock(trial: Trial) -> Finding:
    """How far this machine's clock is from the store's, to a second."""
    key, now_ms = trial.key("clock"), trial.world.clock.now_ms
    before_ms = now_ms()
    await trial.put(key, b"when")
    after_ms = now_ms()
    stored_ms = (await patiently(lambda: trial.by(0).head(key))).modified_ms
    # Stores round to whole seconds, downwards.
    ahead_ms = max(before_ms - (stored_ms + 1000), 0) or min(after_ms - stored_ms, 0)
    if abs(ahead_ms) <= SKEW_SHOWN_MS:
        return Finding("clock", Outcome.OK, f"within {SKEW_SHOWN_MS // 1000} s of the store's")
    side = "ahead of" if ahead_ms > 0 else "behind"
    text = f"this machine is {abs(ahead_ms) / 1000:.0f} s {side} the store"
    if abs(ahead_ms) < SKEW_WARNED_MS:
        return Finding("clock", Outcome.OK, text)
    return Finding("clock", Outcome.WARNING, f"{text}; from 15 min on it refuses every request")
