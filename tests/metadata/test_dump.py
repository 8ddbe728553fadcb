"""The dump, and the golden file that keeps the format what it is."""

from pathlib import Path

from automq._native import Columns
from automq.metadata.dump import describe, describe_entry, dump_log
from automq.metadata.election import elect
from automq.metadata.log import Author, decode_entry, encode_all, encode_entry
from automq.metadata.records.cluster import ClusterCreated, FeatureSet
from automq.metadata.records.configs import ConfigResource, ConfigSet
from automq.metadata.records.objects import DoomReason, ObjectsDoomed
from automq.metadata.records.streams import StreamsOpened
from automq.metadata.records.topics import NewPartition, PartitionsCreated
from automq.metadata.register import SteadyRegister
from automq.world import World

GOLDEN = Path(__file__).parents[1] / "golden" / "metadata-entry-v1.bin"
RECORDS = (
    ClusterCreated(b"c" * 16, 1_700_000_000_000, 4096),
    FeatureSet("metadata.version", 1),
    PartitionsCreated(b"t" * 16, 0, (NewPartition((1, 2), 1, 0, 5), NewPartition((2,), 2, 0, 6))),
    ConfigSet(ConfigResource.TOPIC, "orders", "retention.ms", None, False),
    StreamsOpened(1, 7, Columns([5, 6, 90], [3, 3, 4], [0, 1 << 40, 17])),
    ObjectsDoomed(Columns([1, 2, 3]), DoomReason.ORPHAN),
)


def entry_bytes() -> bytes:
    return encode_entry(
        encode_all(RECORDS),
        number=12,
        epoch=3,
        author=Author(1, b"i" * 16),
        nonce=b"n" * 16,
        previous=b"p" * 16,
        written_ms=1_700_000_000_001,
    )


def test_the_golden_entry_is_read_and_written_as_ever() -> None:
    data = GOLDEN.read_bytes()

    assert decode_entry(data, 12).records == RECORDS
    assert entry_bytes() == data


def test_a_record_is_one_line() -> None:
    assert describe(RECORDS[4], rows=2) == (
        "StreamsOpened node_id=1 node_epoch=7 streams=[(stream=5 epoch=3 start_of_epoch=0), "
        "(stream=6 epoch=3 start_of_epoch=1099511627776), and 1 more]"
    )
    assert describe(RECORDS[3]) == (
        "ConfigSet resource_type=TOPIC name='orders' key='retention.ms' value=None secret=False"
    )


def test_an_entry_is_a_line_and_one_for_each_record() -> None:
    lines = list(describe_entry(decode_entry(entry_bytes(), 12)))

    assert lines[0].startswith("entry 12 epoch=3 node=1 bytes=")
    assert lines[3] == (
        "  PartitionsCreated topic_id=74747474747474747474747474747474 first=0 partitions="
        "[{replicas=[1, 2] leader=1 leader_epoch=0 data_stream=5}, "
        "{replicas=[2] leader=2 leader_epoch=0 data_stream=6}]"
    )


async def test_a_log_is_dumped_from_its_beginning(register: SteadyRegister, world: World) -> None:
    author = Author(1, bytes(16))
    await elect(register, world, author, genesis=[ClusterCreated(bytes(16), 1, 8)])

    lines = [line async for line in dump_log(register)]

    assert [line.split()[0] for line in lines] == ["entry", "ClusterCreated", "ControllerElected"]
