"""The topics in the metadata of consumers: all that a coordinator reads of the client protocol."""

import struct
from collections.abc import Iterable


def subscribed_topics(subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    """All topics of these ConsumerProtocolSubscriptions; None if one of them cannot be read.

    Version 0 is a prefix of every version, so later ones are read as well (and need no update).
    """
    topics: set[str] = set()
    try:
        for subscription in subscriptions:
            topics.update(_topics(subscription))
    except (struct.error, UnicodeDecodeError, ValueError):
        return None
    return frozenset(topics)


def _topics(subscription: bytes) -> list[str]:
    version, count = struct.unpack_from(">hi", subscription)
    if version < 0 or not 0 <= count <= len(subscription):
        raise ValueError(f"version {version} with {count} topics in {len(subscription)} bytes")
    topics = []
    at = 6
    for _ in range(count):
        (length,) = struct.unpack_from(">h", subscription, at)
        at += 2
        if not 0 <= length <= len(subscription) - at:
            raise ValueError(f"a topic of {length} bytes at {at} of {len(subscription)}")
        topics.append(subscription[at : at + length].decode())
        at += length
    (length,) = struct.unpack_from(">i", subscription, at)
    if not -1 <= length <= len(subscription) - at - 4:
        raise ValueError(f"user data of {length} bytes at {at} of {len(subscription)}")
    return topics
