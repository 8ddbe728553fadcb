"""What a partition writes down when several want it to at once."""

import asyncio

from support.partitions import hosting
from support.storage import Machine
from support.virtual_time import virtual


@virtual
async def test_of_two_deletions_at_once_the_further_one_counts() -> None:
    machine = Machine()
    async with hosting(machine) as host:
        partition = await host.create()
        for number in range(5):
            await host.produce(partition, b"%d" % number)
        delete = host.partitions.delete_records
        assert list(await asyncio.gather(delete(partition, 4), delete(partition, 3))) == [4, 4]
    async with hosting(machine) as host:
        assert (await host.open()).log_start_offset == 4
