"""Commands about dynamic configuration. Pure: they read the image and decide records.

Whoever knows the rules of a resource (its broker) judges a change on top of what is set, and names
what it saw. Here it is only compared: two changes judged side by side never mix.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.configs import ConfigResource, ConfigSet
from automq.protocol import errors


@dataclass(frozen=True, slots=True)
class ConfigWish:
    """Changes to one resource: by key the new text, or None to unset it. `before` is all that was
    set when they were found valid; `secret` are the keys whose values nobody may be shown.
    """

    resource: ConfigResource
    name: str
    before: Mapping[str, str]
    changes: Mapping[str, str | None]
    secret: frozenset[str] = frozenset()


def set_configs(image: Image, wish: ConfigWish) -> Decision[bool]:
    """Set and unset keys of a resource. False: something else is set now, judge again.

    Raises UnknownTopicOrPartition, BrokerIdNotRegistered: a setting of what does not exist would
    wait for whoever gets that name next.
    """
    check_exists(image, wish.resource, wish.name)
    now = image.cluster.config(wish.resource, wish.name)
    if {key: it.value for key, it in now.items()} != wish.before:
        return Decision((), reply=False)
    records = [
        ConfigSet(wish.resource, wish.name, key, value, secret=key in wish.secret)
        for key, value in sorted(wish.changes.items())
        if value is not None or key in now
    ]
    return Decision(records, reply=True)


def check_exists(image: Image, resource: ConfigResource, name: str) -> None:
    if resource is ConfigResource.TOPIC and name not in image.cluster.topic_ids:
        raise errors.UnknownTopicOrPartition(f"The topic '{name}' does not exist.")
    if resource is ConfigResource.BROKER and name not in ("", *map(str, image.cluster.nodes)):
        raise errors.BrokerIdNotRegistered(f"No broker with id {name} found.")
