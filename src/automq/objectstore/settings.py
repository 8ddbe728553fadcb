"""What is set for a bucket as a whole, as the store tells it.

Sources: S3 API reference, GetBucketVersioning, GetBucketLifecycleConfiguration,
GetObjectLockConfiguration; OSS API reference, GetBucketVersioning, GetBucketLifecycle,
GetBucketWorm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from automq.objectstore.errors import StoreError

Answer = str | StoreError | None
"""XML; or why there is no answer; or None where nothing of the kind is set."""


class NotKnown(Exception):
    """The store does not tell. One line: why."""


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One enabled rule by which a store deletes or moves objects on its own."""

    name: str
    prefix: str
    """Of the keys in the bucket that it applies to; "" is all."""
    by_tag: bool
    """It applies to objects with certain tags only. Ours have none."""
    expires: bool
    """It deletes objects that are in use."""
    storage_classes: tuple[str, ...] = ()
    """Where it moves objects that are in use."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """How a bucket is set up. Every question raises NotKnown if the store does not answer it."""

    prefix: str = ""
    """In front of every key of ours."""
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """By question, in the store's words; none: we do not ask this kind of store."""
    is_bucket: bool = True
    """No: a directory, or memory, which has no such settings."""

    @property
    def is_oss(self) -> bool:
        return "worm" in self.answers

    def versioning(self) -> str:
        """`Enabled`, `Suspended` (it was enabled once), or "" for never."""
        text = self._text("versioning")
        return "" if text is None else _element(text, "Status")

    def locked(self) -> str:
        """How deleting is forbidden: the mode of the lock that new objects get, `Enabled` for one
        that they do not get by themselves, "" for none.
        """
        if self.is_oss:
            text = self._text("worm")
            state = "" if text is None else _element(text, "State")
            return "" if state == "Expired" else state
        text = self._text("object-lock")
        return "" if text is None else _element(text, "Mode") or _element(text, "ObjectLockEnabled")

    def rules(self) -> list[LifecycleRule]:
        """The enabled rules that apply to keys of ours."""
        text = self._text("lifecycle")
        blocks = [] if text is None else re.findall(r"<Rule>(.*?)</Rule>", text, re.DOTALL)
        rules = [_rule(block) for block in blocks if _element(block, "Status") == "Enabled"]
        return [rule for rule in rules if self._concerns_us(rule)]

    def _concerns_us(self, rule: LifecycleRule) -> bool:
        ours = f"{self.prefix}/" if self.prefix else ""
        is_near = ours.startswith(rule.prefix) or rule.prefix.startswith(ours)
        return is_near and not rule.by_tag

    def _text(self, question: str) -> str | None:
        if question not in self.answers:
            raise NotKnown("automq does not ask this kind of store")
        answer = self.answers[question]
        if isinstance(answer, StoreError):
            raise NotKnown(answer.why.partition(":")[0])
        if answer is not None and "<ListBucketResult" in answer:
            # It does not know the question, and takes it for a list.
            raise NotKnown("the store does not answer this")
        return answer


def _rule(block: str) -> LifecycleRule:
    expiring = _blocks(block, "Expiration")
    moving = _blocks(block, "Transition")
    return LifecycleRule(
        name=_element(block, "ID") or "without a name",
        prefix=_element(block, "Prefix"),
        by_tag="<Tag>" in block,
        # One that only clears up markers of deleted objects takes nothing away.
        expires=any(re.search("<(Days|Date|CreatedBeforeDate)>", it) for it in expiring),
        storage_classes=tuple(_element(it, "StorageClass") for it in moving),
    )


def _blocks(text: str, name: str) -> list[str]:
    return re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL)


def _element(text: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    text = "" if found is None else found[1].strip()
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text
