"""Opening a partition whose objects were merged gives what opening it unmerged gives."""

from automq.partition import Partition
from support.compaction import merge_all, sweep_all
from support.partitions import Host, hosting, values_in
from support.storage import Machine, Sizes
from support.virtual_time import virtual

QUIET = Sizes(upload_bytes=1 << 30, interval_ms=10**9)
PRODUCERS = 5


async def write_history(host: Host, partition: Partition) -> list[bytes]:
    """Idempotent producers who take turns, one of them restarted, and batches without one."""
    written = []
    for upload in range(8):
        for turn in range(7):
            producer = (upload + turn) % PRODUCERS
            epoch = 1 if producer == 2 and upload > 4 else 0
            sequences = [
                number
                for number in range(upload * 7 + turn)
                if (number // 7 + number % 7) % PRODUCERS == producer
                and (1 if producer == 2 and number // 7 > 4 else 0) == epoch
            ]
            value = b"%d of %d" % (len(sequences), producer)
            await host.produce(
                partition,
                value,
                producer_id=producer,
                producer_epoch=epoch,
                base_sequence=len(sequences),
                timestamp=upload * 100 + turn,
            )
            written.append(value)
        await host.produce(partition, b"nobody's", timestamp=upload)
        written.append(b"nobody's")
        await host.upload()
    return written


async def reopened(*, merges: bool) -> tuple[bytes, list[bytes], list[bytes]]:
    """The producers of the partition in the node's next life; its values, and those written."""
    machine = Machine()
    async with hosting(machine, QUIET) as host:
        written = await write_history(host, await host.create())
        if merges:
            working = await merge_all(host.node)
            assert working.metrics.merges >= 2
            await sweep_all(host.node)
            assert len(machine.object_keys()) <= 2
    async with hosting(machine, QUIET) as host:
        partition = await host.open()
        return partition.producers.snapshot(), await values_in(partition), written


@virtual
async def test_a_partition_whose_objects_were_merged_has_the_same_producers_and_values() -> None:
    producers, values, written = await reopened(merges=True)
    unmerged = await reopened(merges=False)
    assert values == written
    assert (producers, values) == unmerged[:2]


@virtual
async def test_a_duplicate_is_still_known_after_a_merge_and_a_restart() -> None:
    machine = Machine()
    async with hosting(machine, QUIET) as host:
        partition = await host.create()
        fields = {"producer_id": 7, "producer_epoch": 0}
        for sequence in range(8):
            await host.produce(partition, b"%d" % sequence, base_sequence=sequence, **fields)
            await host.upload()
        await merge_all(host.node)
    async with hosting(machine, QUIET) as host:
        partition = await host.open()
        again = await host.produce(partition, b"6", base_sequence=6, **fields)
        assert again.base_offset == 6
        assert partition.log_end_offset == 8
