"""Where the objects of WALs lie in a store, and how they are told apart.

`wals/<cluster>/<wal id>` is the begin mark of a WAL: whose it is, written before its first batch
and deleted after its last. `wal/<spread>/<cluster>/<wal id>/<number>` are its batches, from 0 on
without a gap, and the mark that ends them. The spread is the id's last byte with its bits reversed,
so that WALs do not share a prefix (stores split their load by prefixes). Ids and numbers are 16
hexadecimal digits.
"""

from automq._native import WAL_OBJECT_INDEX_BITS
from automq.stream.keys import PREFIXES

INDEX_MASK = (1 << WAL_OBJECT_INDEX_BITS) - 1


def marks_prefix(cluster_id: bytes) -> str:
    """What the begin marks of a cluster's WALs start with."""
    return f"wals/{cluster_id.hex()}/"


def mark_key(cluster_id: bytes, wal_id: int) -> str:
    """The begin mark of a WAL."""
    return f"{marks_prefix(cluster_id)}{wal_id:016x}"


def spread_prefix(cluster_id: bytes, spread: int) -> str:
    """What the batches of every 256th WAL of a cluster start with."""
    return f"wal/{spread:02x}/{cluster_id.hex()}/"


def wal_prefix(cluster_id: bytes, wal_id: int) -> str:
    """What the batches of a WAL and its end start with."""
    spread = int(f"{wal_id % PREFIXES:08b}"[::-1], 2)
    return f"{spread_prefix(cluster_id, spread)}{wal_id:016x}/"


def wal_key(cluster_id: bytes, wal_id: int, number: int) -> str:
    """The object of a WAL with this number."""
    return f"{wal_prefix(cluster_id, wal_id)}{number:016x}"


def number_of(key: str) -> int | None:
    """The number or the WAL id that a key ends with; None for a key that is none of ours."""
    last = key.rpartition("/")[2]
    try:
        number = int(last, 16)
    except ValueError:
        return None
    return number if f"{number:016x}" == last else None


def position_at(number: int, index: int = 0) -> int:
    """The position in front of which `index` records of object `number` are."""
    return number << WAL_OBJECT_INDEX_BITS | index


def number_at(position: int) -> int:
    """The object that a position is in."""
    return position >> WAL_OBJECT_INDEX_BITS
