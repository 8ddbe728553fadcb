"""Where data objects lie in the store."""

PREFIXES = 256


def data_key(cluster_id: bytes, object_id: int) -> str:
    """The key of a data object: a prefix that spreads load, the cluster, the id.

    Ids follow each other, so their last byte, reversed in its bits, spreads neighbours evenly over
    256 prefixes (OSS limits sequential keys to 2,000 requests a second).
    """
    spread = int(f"{object_id % PREFIXES:08b}"[::-1], 2)
    return f"data/{spread:02x}/{cluster_id.hex()}/{object_id:016x}"
