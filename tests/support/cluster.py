"""A cluster of one node as commands over an image: no storage engine, no store."""

from dataclasses import dataclass, field
from typing import Any

from automq._native import Columns
from automq.controller import leaders, merging, nodes, objects, takeovers, topics
from automq.metadata.decision import Command
from automq.metadata.image import Image
from automq.metadata.log import encode_all
from automq.metadata.records.registry import Record
from automq.stream.client import (
    Merge,
    MergeLimits,
    ObjectCommit,
    ObjectReplacement,
    ReplaceVerdict,
    Verdict,
)

MIB = 1 << 20
LIMITS = MergeLimits(2, 2, 256 * MIB, 100_000, 16 * MIB)


def contents(image: Image) -> bytes:
    return bytes(encode_all(image.snapshot_records()))


@dataclass(slots=True)
class Cluster:
    """One node, driven by commands; keeps every record."""

    image: Image = field(default_factory=Image)
    records: list[Record] = field(default_factory=list)
    node_epoch: int = -1
    wal: int = -1
    incarnations: int = 0

    def run(self, command: Command[Any]) -> Any:
        before = contents(self.image)
        decision = command(self.image)
        assert contents(self.image) == before, "deciding changes nothing"
        for record in decision.records:
            self.image.apply(record)
        self.records += decision.records
        return decision.reply

    def start(self) -> None:
        self.incarnations += 1
        incarnation = self.incarnations.to_bytes(16, "big")
        wish = nodes.NodeWish(1, incarnation, 3, None, "h", (), "automq")
        self.node_epoch = self.run(lambda image: nodes.register_node(image, wish))
        for wal in takeovers.unfinished_wals(self.image, 1):
            self.finish(wal.wal)
        self.wal = self.run(lambda image: nodes.register_wal(image, *self.me, "file:///wal"))
        self.run(lambda image: leaders.lead_at(image, *self.me))

    def finish(self, wal_id: int) -> None:
        start = self.run(lambda image: takeovers.take_over(image, wal_id, self.me)).start
        self.run(lambda image: nodes.close_wal(image, wal_id, self.me, start, clean=False))

    @property
    def me(self) -> tuple[int, int]:
        return 1, self.node_epoch

    def create_topic(self, name: str, partitions: int = 2) -> bytes:
        topic_id = name.encode().rjust(16, b"-")
        wish = topics.TopicWish(name, topic_id, partitions, 1)
        self.run(lambda image: topics.create_topic(image, wish, topics.TopicDefaults(1, 1)))
        return topic_id

    def prepare(self, deadline_ms: int = 100) -> int:
        return int(self.run(lambda image: objects.prepare_objects(image, *self.me, 1, deadline_ms)))

    def upload(self, object_id: int, lengths: dict[int, int], wal_start: int = 0) -> ObjectCommit:
        """A commit that appends so many offsets to these streams."""
        rows, epochs = [], []
        for stream_id, length in sorted(lengths.items()):
            stream = self.image.storage.stream(stream_id)
            assert stream is not None
            rows.append((stream_id, stream.end, stream.end + length, length * 10, 5))
            epochs.append(stream.epoch)
        return ObjectCommit(object_id, 99, 90, 9, self.wal, wal_start, rows, epochs)

    def commit(self, commit: ObjectCommit) -> list[Verdict]:
        verdicts: list[Verdict] = self.run(
            lambda image: objects.commit_object(image, *self.me, commit)
        )
        return verdicts

    def plan(self, limits: MergeLimits = LIMITS, **left_out: Any) -> Merge | None:
        options: dict[str, Any] = {
            "objects_left_out": (),
            "streams_left_out": (),
            "deadline_ms": 100,
        }
        plan: Merge | None = self.run(
            lambda image: merging.plan_merge(image, *self.me, limits, **(options | left_out))
        )
        return plan

    def replace(self, replacement: ObjectReplacement) -> list[ReplaceVerdict]:
        verdicts: list[ReplaceVerdict] = self.run(
            lambda image: merging.replace_extents(image, *self.me, replacement)
        )
        return verdicts


def merged(merge: Merge) -> ObjectReplacement:
    """What a node answers that has read, joined and uploaded what it was asked to."""
    added: dict[int, list[int]] = {}
    for stream, _, start, end, size_bytes, newest in zip(*merge.parts.columns(), strict=True):
        row = added.setdefault(stream, [stream, merge.object_id, start, end, 0, newest])
        row[3:] = [end, row[4] + size_bytes, max(row[5], newest)]
    columns = merge.parts.columns()
    return ObjectReplacement(
        object_id=merge.object_id,
        size_bytes=99,
        level=merge.level,
        index_position=90,
        index_bytes=9,
        removed=Columns(*columns[:4]),
        added=Columns(*(list(column) for column in zip(*added.values(), strict=True))),
    )
