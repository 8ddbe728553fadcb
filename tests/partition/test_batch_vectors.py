"""The same bytes mean the same to us and to Apache Kafka (see tools/make_batch_vectors.py)."""

from base64 import b64decode
from pathlib import Path

import pytest

from automq import _native as native
from support.batch_dump import dump

HERE = Path(__file__).parent
NOW = 1_000_000


def lines(name: str) -> list[list[str]]:
    text = (HERE / f"vectors/{name}.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]


def judged(rules: str, batch: bytes) -> str:
    """What we do with a batch, in the words of the vectors."""
    asked = dict(rule.split("=") for rule in rules.split())
    topic = native.ProduceRules(
        batch_bytes_max=int(asked.get("batch_bytes_max", 1 << 20)),
        compacted="compacted" in asked,
        timestamp_before_max_ms=int(asked.get("timestamp_before_max_ms", 2**63 - 1)),
        timestamp_after_max_ms=int(asked.get("timestamp_after_max_ms", 3_600_000)),
        log_append_time="log_append_time" in asked,
        codec=asked.get("codec"),
    )
    try:
        stored = native.check_produce(batch, topic, NOW, int(asked.get("version", 9)))
    except native.BatchRefused as refused:
        return f"{refused.error} {','.join(str(index) for index, _ in refused.record_errors)}"
    return f"OK {dump(bytes(stored.records))}"


@pytest.mark.parametrize(("name", "batch", "read"), lines("batches"), ids=lambda text: text[:20])
def test_we_read_what_kafka_wrote(name: str, batch: str, read: str) -> None:
    assert dump(batch) == read


@pytest.mark.parametrize(("name", "batch", "read"), lines("batches"), ids=lambda text: text[:20])
def test_packing_the_records_again_changes_nothing(name: str, batch: str, read: str) -> None:
    data = b64decode(batch)
    codec = native.batches(data)[0].codec
    if name.startswith("marker"):
        return
    plain = native.recompress(data, "none")
    assert dump(bytes(native.recompress(plain, codec))) == read


@pytest.mark.parametrize(
    ("name", "batch"), [line[:2] for line in lines("batches") if line[0].startswith("none")]
)
def test_we_write_the_bytes_that_kafka_writes(name: str, batch: str) -> None:
    (theirs,) = native.batches(b64decode(batch))
    records = native.read_records(theirs.records)
    ours = native.build_batch(
        [(record.timestamp, record.key, record.value, record.headers) for record in records],
        base_offset=theirs.base_offset,
        leader_epoch=theirs.leader_epoch,
        producer_id=theirs.producer_id,
        producer_epoch=theirs.producer_epoch,
        base_sequence=theirs.base_sequence,
        transactional=theirs.is_transactional,
    )
    assert bytes(ours) == b64decode(batch)


@pytest.mark.parametrize("commit", [False, True])
def test_we_write_the_markers_that_kafka_writes(commit: bool) -> None:
    wanted = "marker-COMMIT" if commit else "marker-ABORT"
    (theirs,) = [b64decode(batch) for name, batch, _ in lines("batches") if name == wanted]
    ours = native.build_marker(
        commit=commit,
        coordinator_epoch=17,
        producer_id=77,
        producer_epoch=5,
        timestamp=NOW,
        base_offset=42,
        leader_epoch=3,
    )
    assert bytes(ours) == theirs


@pytest.mark.parametrize(("name", "rules", "batch", "answer"), lines("checks"))
def test_we_judge_as_kafka_s_broker_does(name: str, rules: str, batch: str, answer: str) -> None:
    assert judged(rules, b64decode(batch)) == answer
