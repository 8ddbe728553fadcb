"""Where data objects lie in the store."""

PREFIXES = 256


def data_prefix(cluster_id: bytes, object_id: int) -> str:
    """Where a data object lies, beside those of the cluster with the same last byte of their id.

    Ids follow each other, so their last byte, reversed in its bits, spreads neighbours evenly over
    256 prefixes (OSS limits sequential keys to 2,000 requests a second).
    """
    spread = int(f"{object_id % PREFIXES:08b}"[::-1], 2)
    return f"data/{spread:02x}/{cluster_id.hex()}/"


def data_key(cluster_id: bytes, object_id: int) -> str:
    """The key of a data object: a prefix that spreads load, the cluster, the id."""
    return f"{data_prefix(cluster_id, object_id)}{object_id:016x}"
