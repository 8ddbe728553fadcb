"""InitProducerId (key 22): an id for an idempotent producer. KIP-98, KIP-360.

Without a transactional id every call gets a fresh id with epoch 0, whatever the producer had:
nothing of an idempotent producer outlives its session. Version 6 (KIP-939) is not stable in Apache
Kafka yet, so it is not told to clients.
"""

from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.init_producer_id_request import InitProducerIdRequest
from automq.protocol.messages.init_producer_id_response import InitProducerIdResponse

NONE = -1
LAST_STABLE_VERSION = 5


@handles(InitProducerIdRequest, InitProducerIdResponse, versions=(0, LAST_STABLE_VERSION))
async def init_producer_id(call: Call[InitProducerIdRequest]) -> InitProducerIdResponse:
    """Errors: INVALID_REQUEST, COORDINATOR_NOT_AVAILABLE (transactions are not served yet)."""
    request = call.request
    if (request.producer_id == NONE) != (request.producer_epoch == NONE):
        raise errors.InvalidRequest("producer_id and producer_epoch go together")
    if request.transactional_id is not None:
        if not request.transactional_id:
            raise errors.InvalidRequest("transactional.id is empty")
        raise errors.CoordinatorNotAvailable("this broker has no transaction coordinator yet")
    return InitProducerIdResponse(
        producer_id=await call.broker.producer_ids.take(), producer_epoch=0
    )
