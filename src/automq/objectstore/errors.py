"""What can go wrong with an object store, by what the caller should do about it."""

from collections.abc import Mapping


class StoreError(Exception):
    """An operation on a store failed. Says which operation, on which key, in which store, and why.

    Subclasses are the whole vocabulary; each tells what to do. No message holds a secret.
    """

    def __init__(self, operation: str, store: str, key: str, why: str) -> None:
        super().__init__(operation, store, key, why)
        self.operation = operation
        self.store = store
        self.key = key
        self.why = why

    def __str__(self) -> str:
        return f"{self.operation} {self.key!r} in {self.store}: {self.why}"


class NotFound(StoreError):
    """The store says that there is no such object. Look again at what named it.

    Never a verdict on a create whose answer was lost: that one may still be on its way.
    """


class AlreadyExists(StoreError):
    """A create lost: the key has an object. Read it; it is ours if our nonce is in it."""


class TryAgain(StoreError):
    """The store could not decide between writers at once (409). Nothing was applied: repeat."""


class Throttled(StoreError):
    """The store asks for fewer requests. Nothing was applied: repeat later."""


class Unavailable(StoreError):
    """The store, or the way to it, does not work. A create was not applied: repeat later."""


class Denied(StoreError):
    """The store understood and refused: permissions, credentials, bucket, region, name.

    An operator must act; the same call works once that is done, so a node repeats it, rarely.
    """


class NoBucket(Denied):
    """There is no such bucket. Make it, or correct the URI."""


class Corrupt(StoreError):
    """The object is not what was promised (it ends before the range asked for). Do not repeat."""


class OutcomeUnknown(StoreError):
    """The request was sent and its answer is lost: it was applied, or will be, or never.

    Repeat a create with the same bytes until it has a verdict; anything else can just be repeated.
    """


class NotAllDeleted(StoreError):
    """Of the keys of a `delete_many`, those in `failures` are still there, or may be: and why.

    The others are gone. Deleting all of them again is right.
    """

    def __init__(self, store: str, failures: Mapping[str, StoreError]) -> None:
        assert failures, "nothing failed"
        key, first = next(iter(failures.items()))
        self.failures = dict(failures)
        super().__init__("delete", store, key, f"and {len(failures) - 1} more keys: {first.why}")


def advice(error: StoreError) -> str:
    """Why a store cannot be used, and what to do: for people."""
    match error:
        case NoBucket():
            return f"there is no such bucket ({error.why}); make it, or correct the URI"
        case Denied():
            return f"access is refused ({error.why}); look at the keys and their permissions"
        case _:
            return f"the store cannot be reached ({error.why}); look at endpoint and network"
