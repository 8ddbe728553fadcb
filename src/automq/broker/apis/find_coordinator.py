"""FindCoordinator (key 10): which node answers for a group. KIP-699 (several keys, v4)."""

from automq.broker.dispatch import Call, handles
from automq.broker.internal_topics import OFFSETS_TOPIC
from automq.broker.topology import Endpoint, Topology
from automq.coordinator.group.coordinator import partition_of
from automq.protocol import errors
from automq.protocol.messages.find_coordinator_request import FindCoordinatorRequest
from automq.protocol.messages.find_coordinator_response import (
    Coordinator,
    FindCoordinatorResponse,
)

SEVERAL_KEYS_SINCE = 4
GROUP, TRANSACTION = 0, 1
NO_NODE = Endpoint(node_id=-1, host="", port=-1, rack=None)


@handles(FindCoordinatorRequest, FindCoordinatorResponse)
async def find_coordinator(call: Call[FindCoordinatorRequest]) -> FindCoordinatorResponse:
    """Answer for each key; the first that asks for a group creates `__consumer_offsets`.

    Errors, per key: COORDINATOR_NOT_AVAILABLE (ask again), INVALID_REQUEST (a kind of key that
    has no coordinator here).
    """
    request = call.request
    several = call.version >= SEVERAL_KEYS_SINCE
    rows = [
        await find(call, key) for key in (request.coordinator_keys if several else [request.key])
    ]
    if several:
        return FindCoordinatorResponse(coordinators=rows)
    (row,) = rows
    return FindCoordinatorResponse(
        error_code=row.error_code,
        error_message=row.error_message,
        node_id=row.node_id,
        host=row.host,
        port=row.port,
    )


async def find(call: Call[FindCoordinatorRequest], key: str) -> Coordinator:
    try:
        node, code, message = await locate(call, key), errors.NONE, None
    except errors.KafkaError as error:
        node, code, message = NO_NODE, error.code, error.message
    return Coordinator(key, node.node_id, node.host, node.port, code, message)


async def locate(call: Call[FindCoordinatorRequest], key: str) -> Endpoint:
    """The node that leads the partition which holds `key`."""
    key_type = call.request.key_type
    if key_type == TRANSACTION:
        raise errors.CoordinatorNotAvailable("transactions have no coordinator here yet")
    if key_type != GROUP:
        raise errors.InvalidRequest(f"key type {key_type}: 0 (group) and 1 (transaction) are known")
    cluster = call.broker.cluster
    if OFFSETS_TOPIC not in cluster.topic_ids:
        await call.broker.auto_topics.create([OFFSETS_TOPIC])
    topic_id = cluster.topic_ids.get(OFFSETS_TOPIC)
    if topic_id is None:
        raise errors.CoordinatorNotAvailable(f"{OFFSETS_TOPIC} is being created")
    index = partition_of(key, cluster.partition_count(topic_id))
    partition = cluster.partition(topic_id, index)
    assert partition is not None, index
    node = Topology(cluster, call.listener.name).endpoints.get(partition.leader)
    if node is None:
        raise errors.CoordinatorNotAvailable(f"{OFFSETS_TOPIC}-{index} has no leader now")
    return node
