"""Opening a partition while the objects that it looks at are replaced."""

from automq.objectstore.simulated import Effect, Fault
from automq.partition import Partition
from support.partitions import hosting
from support.storage import Machine, Sizes
from support.virtual_time import virtual

QUIET = Sizes(upload_bytes=1 << 30, interval_ms=10**9)
UPLOADS = 8


async def written(machine: Machine) -> None:
    """A partition with a batch of a producer in each of its objects."""
    async with hosting(machine, QUIET) as host:
        partition = await host.create()
        fields = {"producer_id": 7, "producer_epoch": 0}
        for sequence in range(UPLOADS):
            await host.produce(partition, b"%d" % sequence, base_sequence=sequence, **fields)
            await host.upload()
    assert len(machine.object_keys()) >= UPLOADS


def state_of(partition: Partition) -> tuple[bytes, object]:
    return partition.producers.snapshot(), partition.segments.rows


@virtual
async def test_a_partition_opens_though_each_object_is_missing_when_it_is_first_read() -> None:
    machine = Machine()
    await written(machine)
    async with hosting(machine, QUIET) as host:
        expected = state_of(await host.open())
    for key in machine.object_keys():
        machine.store.inject(Fault(Effect.HIDE, frozenset({"get"}), key))

    async with hosting(machine, QUIET) as host:
        partition = await host.open()

        assert state_of(partition) == expected
        assert partition.high_watermark == UPLOADS
