"""Records about credentials and access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from automq.metadata.fields import Bytes, Int8, Int32, Int64, String, Uuid
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.cluster import ClusterImage


@record(key=32)
@dataclass(frozen=True, slots=True)
class ScramSet:
    """A user's SCRAM verifier. `salt`, `stored_key` and `server_key` are encrypted, when the
    cluster has a key."""

    user: String
    mechanism: Int8
    salt: Bytes
    stored_key: Bytes
    server_key: Bytes
    iterations: Int32

    def apply(self, image: ClusterImage) -> None:
        image.scram[self.user, self.mechanism] = self
        image.changes.security = True


@record(key=33)
@dataclass(frozen=True, slots=True)
class ScramRemoved:
    user: String
    mechanism: Int8

    def apply(self, image: ClusterImage) -> None:
        del image.scram[self.user, self.mechanism]
        image.changes.security = True


@record(key=34)
@dataclass(frozen=True, slots=True)
class AclSet:
    """One access control entry; the numbers are Kafka's codes."""

    acl_id: Uuid
    resource_type: Int8
    name: String
    pattern: Int8
    principal: String
    host: String
    operation: Int8
    permission: Int8

    def apply(self, image: ClusterImage) -> None:
        image.acls[self.acl_id] = self
        image.changes.security = True


@record(key=35)
@dataclass(frozen=True, slots=True)
class AclRemoved:
    acl_id: Uuid

    def apply(self, image: ClusterImage) -> None:
        del image.acls[self.acl_id]
        image.changes.security = True


@record(key=36)
@dataclass(frozen=True, slots=True)
class DelegationTokenSet:
    """A delegation token; its HMAC is derived from the cluster's secret, never stored."""

    token_id: String
    owner: String
    requester: String
    renewers: tuple[String, ...]
    issue_ms: Int64
    expiry_ms: Int64
    max_ms: Int64

    def apply(self, image: ClusterImage) -> None:
        image.tokens[self.token_id] = self
        image.changes.security = True


@record(key=37)
@dataclass(frozen=True, slots=True)
class DelegationTokenRemoved:
    token_id: String

    def apply(self, image: ClusterImage) -> None:
        del image.tokens[self.token_id]
        image.changes.security = True
