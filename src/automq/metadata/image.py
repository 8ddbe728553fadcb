"""The image: everything that the records so far add up to."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from automq.metadata.cluster import ClusterImage
from automq.metadata.records.registry import Record, is_cluster
from automq.metadata.storage import StorageImage


@dataclass(slots=True)
class Image:
    """Both parts. Only records change it."""

    cluster: ClusterImage = field(default_factory=ClusterImage)
    storage: StorageImage = field(default_factory=StorageImage)

    def apply(self, entry: Record) -> None:
        """Puts a record into effect on the part that its key names."""
        if is_cluster(entry):
            self.cluster.apply(entry)
        else:
            self.storage.apply(entry)

    def snapshot_records(self) -> Iterator[Record]:
        """Records that, applied to an empty image, give this one."""
        yield from self.cluster.snapshot_records()
        yield from self.storage.snapshot_records()
