"""DescribeLogDirs (key 35): where this broker keeps partitions, and how large they are. KIP-113,
KIP-827 (space, v4), KIP-1066 (cordoned, v5).

There is one place: the object store, by its URI. It has no size and no end of space (-1).
"""

from urllib.parse import urlsplit

from automq.broker.dispatch import Call, handles
from automq.protocol.messages.describe_log_dirs_request import DescribeLogDirsRequest
from automq.protocol.messages.describe_log_dirs_response import (
    DescribeLogDirsPartition,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)


@handles(DescribeLogDirsRequest, DescribeLogDirsResponse)
async def describe_log_dirs(call: Call[DescribeLogDirsRequest]) -> DescribeLogDirsResponse:
    """Sizes are the bytes of the batches between a partition's start and end, wherever they are.

    What is not led here is left out, as Kafka does; it is no error.
    """
    asked = call.request.topics
    wanted = None if asked is None else {it.topic: set(it.partitions) for it in asked}
    topics: dict[str, list[DescribeLogDirsPartition]] = {}
    for partition in call.broker.partitions:
        if wanted is not None and partition.index not in wanted.get(partition.topic, ()):
            continue
        topics.setdefault(partition.topic, []).append(
            DescribeLogDirsPartition(partition.index, partition.segments.size_bytes)
        )
    rows = [DescribeLogDirsTopic(name, topics[name]) for name in sorted(topics)]
    place = without_secrets(call.broker.config.storage_uri)
    return DescribeLogDirsResponse(results=[DescribeLogDirsResult(log_dir=place, topics=rows)])


def without_secrets(uri: str) -> str:
    """Scheme, host and path: neither user information nor parameters."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
