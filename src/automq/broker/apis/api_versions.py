"""ApiVersions (key 18): what this broker speaks. KIP-35, KIP-511 (clients), KIP-584 (features)."""

import re

from automq.broker.dispatch import REGISTRY, Call, handles
from automq.protocol import errors
from automq.protocol.messages.api_versions_request import ApiVersionsRequest
from automq.protocol.messages.api_versions_response import (
    ApiVersion,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

PRODUCE = 0
FIRST_SOFTWARE_VERSION = 3
SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


@handles(ApiVersionsRequest, ApiVersionsResponse)
async def api_versions(call: Call[ApiVersionsRequest]) -> ApiVersionsResponse:
    """Errors: INVALID_REQUEST. A version that is not served never gets here (KIP-511)."""
    request = call.request
    if call.version >= FIRST_SOFTWARE_VERSION:
        name, version = request.client_software_name, request.client_software_version
        if not (SOFTWARE.fullmatch(name) and SOFTWARE.fullmatch(version)):
            raise errors.InvalidRequest(f"client software {name!r} {version!r}: letters and digits")
        call.slot.connection.client_software = (name, version)
    features = call.broker.features
    return ApiVersionsResponse(
        api_keys=[
            # librdkafka takes Produce below 3 as its sign that compression works (KAFKA-18659).
            ApiVersion(a.key, 0 if a.key == PRODUCE else a.first_version, a.last_version)
            for a in sorted(REGISTRY.values(), key=lambda a: a.key)
        ],
        supported_features=[
            SupportedFeatureKey(f.name, f.first_level, f.last_level) for f in features.supported
        ],
        finalized_features_epoch=features.epoch,
        finalized_features=[
            FinalizedFeatureKey(name, level, level) for name, level in features.finalized.items()
        ],
    )
