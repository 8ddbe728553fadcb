"""Where new partitions go: the placement lists, in which the first one leads."""

from collections.abc import Sequence


def place(
    live: Sequence[int], partitions: int, factor: int, *, seed: bytes, skip: int = 0
) -> list[list[int]]:
    """A list of `factor` different nodes for each of `partitions`, spread evenly.

    The first node of the topic comes from `seed`, so that topics with one partition do not all
    begin at one node; leaders go round from there, and followers shift by one each round, as
    Kafka's own placement does. `skip` is how many partitions the topic has already.
    """
    assert 0 < factor <= len(live), (factor, live)
    nodes = sorted(live)
    first = int.from_bytes(seed[:4], "big")
    lists: list[list[int]] = []
    for partition in range(skip, skip + partitions):
        leader = (first + partition) % len(nodes)
        shift = partition // len(nodes)
        others = len(nodes) - 1
        followers = [
            (leader + 1 + (shift + number) % others) % len(nodes) for number in range(factor - 1)
        ]
        lists.append([nodes[leader], *(nodes[follower] for follower in followers)])
    return lists
