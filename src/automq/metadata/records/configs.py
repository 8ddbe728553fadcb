"""Records about dynamic configuration and client quotas."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from automq.metadata.fields import Bool, NullableFloat64, NullableString, OneOf, String
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.cluster import ClusterImage


class ConfigResource(IntEnum):
    """Kafka's own codes (org.apache.kafka.common.config.ConfigResource.Type)."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


@record(key=30)
@dataclass(frozen=True, slots=True)
class ConfigSet:
    """One key of one resource; a null value removes it. The empty broker name is the default."""

    resource_type: Annotated[ConfigResource, OneOf(ConfigResource)]
    name: String
    key: String
    value: NullableString
    secret: Bool

    def apply(self, image: ClusterImage) -> None:
        resource = (self.resource_type, self.name)
        entries = image.configs.setdefault(resource, {})
        if self.value is None:
            entries.pop(self.key, None)
        else:
            entries[self.key] = self
        if not entries:
            del image.configs[resource]
        image.changes.configs[resource] = None


@dataclass(frozen=True, slots=True)
class QuotaEntity:
    """`type` is user, client-id or ip; a null name is the default of its type."""

    type: String
    name: NullableString


@record(key=31)
@dataclass(frozen=True, slots=True)
class ClientQuotaSet:
    """One quota of one entity (KIP-546); a null value removes it."""

    entity: tuple[QuotaEntity, ...]
    key: String
    value: NullableFloat64

    def apply(self, image: ClusterImage) -> None:
        values = image.quotas.setdefault(self.entity, {})
        if self.value is None:
            values.pop(self.key, None)
        else:
            values[self.key] = self.value
        if not values:
            del image.quotas[self.entity]
        image.changes.quotas = True
