"""DescribeCluster (key 60): the cluster's id and nodes. KIP-700, KIP-919 (endpoints, v1), KIP-1073
(fenced nodes, v2).
"""

from automq.broker.authorized import CLUSTER_OPERATIONS
from automq.broker.dispatch import Call, handles
from automq.broker.topology import Topology, cluster_id_text
from automq.protocol import errors
from automq.protocol.messages.describe_cluster_request import DescribeClusterRequest
from automq.protocol.messages.describe_cluster_response import (
    DescribeClusterBroker,
    DescribeClusterResponse,
)

BROKERS, CONTROLLERS = 1, 2
ENDPOINT_TYPES_SINCE = 1


@handles(DescribeClusterRequest, DescribeClusterResponse)
async def describe_cluster(call: Call[DescribeClusterRequest]) -> DescribeClusterResponse:
    """Errors: UNSUPPORTED_ENDPOINT_TYPE, MISMATCHED_ENDPOINT_TYPE; INVALID_REQUEST before v1."""
    request, cluster = call.request, call.broker.cluster
    check_endpoint_type(request.endpoint_type, call.version)
    listener = call.listener.name
    topology = Topology(cluster, listener)
    rows = [
        DescribeClusterBroker(it.node_id, it.host, it.port, it.rack)
        for it in topology.endpoints.values()
    ]
    if request.include_fenced_brokers:
        rows += [
            DescribeClusterBroker(it.node_id, it.host, it.port, it.rack, is_fenced=True)
            for it in topology.fenced(listener)
        ]
    answer = DescribeClusterResponse(
        cluster_id=cluster_id_text(cluster.cluster_id),
        controller_id=topology.controller_id,
        brokers=rows,
    )
    if request.include_cluster_authorized_operations:
        answer.cluster_authorized_operations = CLUSTER_OPERATIONS
    return answer


def check_endpoint_type(endpoint_type: int, version: int) -> None:
    if endpoint_type == BROKERS:
        return
    why: type[errors.KafkaError] = errors.InvalidRequest
    if endpoint_type == CONTROLLERS:
        if version >= ENDPOINT_TYPES_SINCE:
            why = errors.MismatchedEndpointType
        raise why(
            "The request was sent to an endpoint of type BROKER, "
            "but we wanted an endpoint of type CONTROLLER"
        )
    if version >= ENDPOINT_TYPES_SINCE:
        why = errors.UnsupportedEndpointType
    raise why(f"Unsupported endpoint type {endpoint_type}")
