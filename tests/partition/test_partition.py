"""One partition as its leader sees it: appends, bounds, retention, what it remembers."""

import asyncio

import pytest

from automq.partition import READ_COMMITTED, Appended, Partition
from automq.partition.lookup import largest_timestamp, offset_for_timestamp
from automq.partition.remembering import snapshot_of
from automq.protocol import errors
from automq.stream.wal import WalOptions
from support.partitions import PRODUCE_VERSION, Host, hosting, records_of, values_in
from support.storage import MIB, Machine, Sizes
from support.virtual_time import WALL_START_MS, virtual

MANUAL = Sizes(upload_bytes=1 << 30, interval_ms=10**9)


class Reader:
    """Waits for data."""

    def __init__(self) -> None:
        self.bytes = 0

    def progressed(self, size_bytes: int) -> None:
        self.bytes += size_bytes


@virtual
async def test_a_batch_is_visible_when_it_is_durable_and_not_before() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        reader = Reader()
        partition.waiting[reader] = None
        told: list[Appended] = []
        partition.append_produced(records_of(b"a", b"b"), told.append, produce_version=12)
        assert (partition.log_end_offset, partition.high_watermark) == (2, 0)
        assert (told, reader.bytes) == ([], 0)
        await asyncio.sleep(1)
        assert told == [Appended(0, -1, 0)]
        assert partition.high_watermark == 2
        assert reader.bytes > 0


@virtual
async def test_a_failing_acknowledgement_does_not_keep_readers_waiting() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        reader = Reader()
        partition.waiting[reader] = None

        def fail(_: Appended) -> None:
            raise ValueError("gone")

        partition.append_produced(records_of(b"a"), fail, produce_version=12)
        await asyncio.sleep(1)
        assert reader.bytes > 0


@virtual
async def test_a_refused_batch_changes_nothing() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create(max_message_bytes="200")
        with pytest.raises(errors.MessageTooLarge):
            await host.produce(partition, bytes(300))
        assert partition.log_end_offset == 0
        assert (await host.produce(partition, b"small")).base_offset == 0


@virtual
async def test_a_duplicate_is_acknowledged_no_earlier_than_its_original() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        told: list[tuple[str, Appended]] = []
        first = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
        for name in ("original", "duplicate"):
            partition.append_produced(
                records_of(b"a", timestamp=WALL_START_MS, **first),
                lambda appended, name=name: told.append((name, appended)),  # type: ignore[misc]
                produce_version=12,
            )
        assert told == []
        await asyncio.sleep(1)
        assert [name for name, _ in told] == ["original", "duplicate"]
        assert told[0][1].base_offset == told[1][1].base_offset == 0
        assert partition.log_end_offset == 1


@virtual
async def test_log_append_time_is_told_to_the_producer_and_stored() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create(message_timestamp_type="LogAppendTime")
        appended = await host.produce(partition, b"a", timestamp=5)
        assert appended.log_append_time_ms >= WALL_START_MS
        assert await largest_timestamp(partition) == (appended.log_append_time_ms, 0)


@virtual
async def test_the_last_stable_offset_waits_for_open_transactions() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        await host.produce(partition, b"plain")
        txn = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0, "transactional": True}
        await host.produce(partition, b"open", **txn)
        await host.produce(partition, b"behind")
        assert partition.last_stable_offset == 1
        assert partition.end_for(READ_COMMITTED) == 1
        assert partition.end_for(0) == partition.high_watermark == 3


@virtual
async def test_epochs_that_clients_believe_are_compared() -> None:
    async with hosting(Machine(), MANUAL):
        pass
    machine = Machine()
    async with hosting(machine, MANUAL) as host:
        await host.create()
    async with hosting(machine, MANUAL) as host:
        partition = await host.open()
        partition.check_epoch(-1)
        partition.check_epoch(1)
        with pytest.raises(errors.FencedLeaderEpoch):
            partition.check_epoch(0)
        with pytest.raises(errors.UnknownLeaderEpoch):
            partition.check_epoch(2)


@virtual
async def test_out_of_range_is_decided_from_start_and_end_alone() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        for number in range(5):
            await host.produce(partition, b"%d" % number)
        await host.partitions.delete_records(partition, 2)
        for offset in (2, 4, 5):
            partition.check_fetch_offset(offset)
        for offset in (-1, 1, 6):
            with pytest.raises(errors.OffsetOutOfRange):
                partition.check_fetch_offset(offset)


@virtual
async def test_a_closed_partition_takes_no_more_appends() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        host.partitions.close(partition)
        host.partitions.close(partition)
        with pytest.raises(errors.NotLeaderOrFollower):
            await host.produce(partition, b"a")


@virtual
async def test_a_config_change_is_in_force_at_once() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create(max_message_bytes="100000")
        await host.produce(partition, bytes(500))
        partition.set_config(host.configs.broker.topic_config({"max.message.bytes": "200"}))
        with pytest.raises(errors.MessageTooLarge):
            await host.produce(partition, bytes(500))


# -- what it remembers


@virtual
async def test_delete_records_beyond_the_uploaded_end_survives_a_kill() -> None:
    machine = Machine()
    async with hosting(machine, MANUAL) as host:
        partition = await host.create()
        for number in range(6):
            await host.produce(partition, b"%d" % number)
        await host.upload()
        for number in range(6, 10):
            await host.produce(partition, b"%d" % number)
        assert await host.partitions.delete_records(partition, 9) == 9
        assert await host.partitions.delete_records(partition, 4) == 9, "it never goes back"
    async with hosting(machine, MANUAL) as host:
        partition = await host.open()
        assert (partition.log_start_offset, partition.high_watermark) == (9, 10)
        assert await values_in(partition) == [b"9"]


@virtual
async def test_delete_records_follows_kafkas_bounds() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        await host.produce(partition, b"a", b"b")
        with pytest.raises(errors.OffsetOutOfRange):
            await host.partitions.delete_records(partition, 3)
        with pytest.raises(errors.OffsetOutOfRange):
            await host.partitions.delete_records(partition, -2)
        assert await host.partitions.delete_records(partition, -1) == 2
        compacted = await host.create("c", cleanup_policy="compact")
        with pytest.raises(errors.PolicyViolation):
            await host.partitions.delete_records(compacted, 0)


@virtual
async def test_what_delete_records_let_go_is_trimmed_when_it_has_been_uploaded() -> None:
    machine = Machine()
    async with hosting(machine, MANUAL) as host:
        partition = await host.create()
        sweeping = asyncio.create_task(host.node.sweep(grace_ms=1_000))
        await host.produce(partition, b"a", b"b", b"c")
        await host.partitions.delete_records(partition, 3)
        await asyncio.sleep(5)
        await host.upload()
        await asyncio.sleep(120)
        assert not await host.node.controller.locate(partition.data.stream_id, 0, 10)
        sweeping.cancel()


@virtual
async def test_a_partition_that_leaves_while_it_wants_to_remember_leaves_nothing_open() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        await host.produce(partition, b"a")
        remembering = asyncio.create_task(host.partitions.delete_records(partition, 1))
        await asyncio.sleep(0)
        host.partitions.drop(partition)
        with pytest.raises(errors.NotLeaderOrFollower):
            await remembering
        assert list(host.partitions) == []
        assert host.node.engine.streams == {}


async def live(host: Host, partition: Partition) -> None:
    """A history of idempotent, transactional and plain batches, uploads, deletes, snapshots."""
    chance = host.node.machine.world.chance
    sequences = {one.producer_id: one.last_sequence + 1 for one in partition.producers.describe()}
    for _ in range(60):
        what = chance.random()
        if what < 0.4:
            producer_id = chance.randint(1, 4)
            sequence = sequences.get(producer_id, 0)
            count = chance.randint(1, 3)
            sequences[producer_id] = sequence + count
            await host.produce(
                partition,
                *[b"x"] * count,
                producer_id=producer_id,
                producer_epoch=0,
                base_sequence=sequence,
                transactional=producer_id == 4,
            )
        elif what < 0.75:
            await host.produce(partition, *[b"y"] * chance.randint(1, 3))
        elif what < 0.85:
            if host.node.engine.cache.active_bytes:
                await host.upload()
        elif what < 0.95:
            await host.partitions.delete_records(
                partition, chance.randint(partition.log_start_offset, partition.high_watermark)
            )
        else:
            await host.partitions.remember(partition, partition.log_start_offset)


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("clean", [False, True])
def test_loading_gives_the_state_that_was_lived(seed: int, clean: bool) -> None:
    """Snapshots, digests and the recovered tail together are what memory had."""

    @virtual
    async def story() -> None:
        machine = Machine(seed)
        lived: tuple[object, ...] = ()
        for _ in range(3):
            async with hosting(machine, MANUAL, clean=clean) as host:
                partition = await (host.open() if lived else host.create())
                assert not lived or state_of(partition) == lived
                await live(host, partition)
                lived = state_of(partition)

    story()


def state_of(partition: Partition) -> tuple[object, ...]:
    producers = partition.producers
    return (
        partition.log_start_offset,
        partition.log_end_offset,
        partition.last_stable_offset,
        list(producers.describe()),
        producers.aborted(0, 2**62),
    )


@virtual
async def test_a_producer_goes_on_where_it_was_after_a_kill() -> None:
    machine = Machine()
    fields = {"producer_id": 9, "producer_epoch": 0}
    async with hosting(machine, MANUAL) as host:
        partition = await host.create()
        await host.produce(partition, b"0", base_sequence=0, **fields)
        await host.produce(partition, b"1", base_sequence=1, **fields)
    async with hosting(machine, MANUAL) as host:
        partition = await host.open()
        assert (await host.produce(partition, b"1", base_sequence=1, **fields)).base_offset == 1
        with pytest.raises(errors.OutOfOrderSequenceNumber):
            await host.produce(partition, b"3", base_sequence=3, **fields)
        assert (await host.produce(partition, b"2", base_sequence=2, **fields)).base_offset == 2


@virtual
async def test_silent_producers_are_forgotten_and_open_transactions_are_not() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        await host.produce(partition, b"a", producer_id=1, producer_epoch=0, base_sequence=0)
        txn = {"producer_epoch": 0, "base_sequence": 0, "transactional": True}
        await host.produce(partition, b"b", producer_id=2, **txn)
        host.partitions.expire_producers(60_000)
        assert len(partition.producers) == 2
        await asyncio.sleep(61)
        host.partitions.expire_producers(60_000)
        assert [one.producer_id for one in partition.producers.describe()] == [2]


@virtual
async def test_opening_looks_at_few_digests_however_many_objects_there_are() -> None:
    machine = Machine()
    async with hosting(machine, MANUAL) as host:
        partition = await host.create()
        for number in range(150):
            await host.produce(partition, b"%d" % number)
            await host.upload()
    machine.store.calls.clear()
    async with hosting(machine, MANUAL) as host:
        partition = await host.open()
        assert partition.high_watermark == 150
        assert sum(operation == "get" for operation, _ in machine.store.calls) < 100


@virtual
async def test_a_partition_whose_objects_are_missing_waits_for_them_and_harms_no_other() -> None:
    machine = Machine()
    async with hosting(machine, MANUAL) as host:
        damaged, well = await host.create("damaged"), await host.create("well")
        txn = {"producer_id": 1, "producer_epoch": 0, "base_sequence": 0}
        await host.produce(damaged, b"a", **txn)
        await host.upload()
        await host.produce(well, b"b")
    first = machine.object_keys()[0]
    async with hosting(machine, MANUAL) as host:
        missing = await machine.store.get(first)
        await machine.store.delete(first)
        with pytest.raises(errors.KafkaStorageError):
            await host.open("damaged")
        assert await values_in(await host.open("well")) == [b"b"]
        await machine.store.put(first, [missing])
        await asyncio.sleep(60)
        again = host.partitions.leader_of(b"", "damaged", 0)
        assert await values_in(again) == [b"a"]


# -- retention


@virtual
async def test_retention_by_time_lets_whole_segments_go_and_then_all() -> None:
    machine = Machine()
    async with hosting(machine, MANUAL) as host:
        partition = await host.create(retention_ms="60000", segment_ms="10000")
        for number in range(4):
            await host.produce(partition, b"%d" % number)
            await asyncio.sleep(11)
        await host.partitions.expire()
        assert partition.log_start_offset == 0
        await asyncio.sleep(25)
        await host.partitions.expire()
        assert partition.log_start_offset == 1
        await asyncio.sleep(300)
        await host.partitions.expire()
        assert partition.log_start_offset == partition.log_end_offset == 4
        assert len(partition.segments.rows) == 1
        entries = partition.state.end_offset if partition.state else 0
        await host.partitions.expire()
        assert partition.state is not None
        assert partition.state.end_offset == entries, "nothing to do, nothing written"
        assert (await host.produce(partition, b"new")).base_offset == 4
        await host.partitions.expire()
        assert partition.log_start_offset == 4
    async with hosting(machine, MANUAL) as host:
        partition = await host.open()
        assert (partition.log_start_offset, await values_in(partition)) == (4, [b"new"])


@virtual
async def test_retention_does_not_roll_a_segment_that_stays() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create(retention_ms="60000", segment_ms="30000")
        await host.produce(partition, b"old")
        await asyncio.sleep(50)
        await host.produce(partition, b"young")
        await asyncio.sleep(20)
        await host.partitions.expire()
        assert partition.log_start_offset == 1
        await host.produce(partition, b"younger")
        assert [row.base_offset for row in partition.segments.rows] == [1]


@virtual
async def test_retention_by_size() -> None:
    roomy = Sizes(wal=WalOptions(capacity_bytes=1 << 30), cache_bytes=64 * MIB)
    async with hosting(Machine(), roomy) as host:
        partition = await host.create(
            retention_ms="-1", retention_bytes=str(3 * MIB), segment_bytes=str(MIB)
        )
        for _ in range(8):
            await host.produce(partition, bytes(900_000))
        await host.partitions.expire()
        assert partition.log_start_offset == 4


@virtual
async def test_retention_leaves_what_is_not_durable_yet() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create(retention_ms="1000")
        await host.produce(partition, b"a", timestamp=WALL_START_MS)
        await asyncio.sleep(10)
        partition.append_produced(
            records_of(b"b", timestamp=WALL_START_MS),
            lambda _: None,
            produce_version=PRODUCE_VERSION,
        )
        await host.partitions.expire()
        assert partition.log_start_offset == 0
        await asyncio.sleep(1)
        await host.partitions.expire()
        assert partition.log_start_offset == 2


@virtual
async def test_a_compacted_topic_has_no_retention() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create(cleanup_policy="compact", retention_ms="1000")
        with pytest.raises(errors.InvalidRecord):
            await host.produce(partition, b"a")
        await asyncio.sleep(100)
        await host.partitions.expire()
        assert partition.log_start_offset == 0


# -- by timestamp

STAMPS = [50, 10, 40, 90, 20, 90, 30]


async def check_lookups(partition: Partition, start: int = 0) -> None:
    for wanted in range(0, 100, 5):
        expected = next(
            (
                (WALL_START_MS + stamp, offset)
                for offset, stamp in enumerate(STAMPS)
                if offset >= start and stamp >= wanted
            ),
            None,
        )
        assert await offset_for_timestamp(partition, WALL_START_MS + wanted) == expected, wanted
    best = max(range(start, len(STAMPS)), key=lambda offset: (STAMPS[offset], -offset))
    assert await largest_timestamp(partition) == (WALL_START_MS + STAMPS[best], best)


@pytest.mark.parametrize("uploaded", [0, 3, 7])
@pytest.mark.parametrize("start", [0, 2, 4, 6])
def test_offsets_by_timestamp_in_memory_in_objects_and_in_both(uploaded: int, start: int) -> None:
    @virtual
    async def story() -> None:
        async with hosting(Machine(), MANUAL) as host:
            partition = await host.create()
            for number, timestamp in enumerate(STAMPS):
                if number == uploaded and uploaded:
                    await host.upload()
                    host.node.evict()
                await host.produce(partition, b"%d" % number, timestamp=WALL_START_MS + timestamp)
            if uploaded == len(STAMPS):
                await host.upload()
                host.node.evict()
            await host.partitions.delete_records(partition, start)
            await check_lookups(partition, start)

    story()


@virtual
async def test_an_empty_partition_has_no_timestamps() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        assert await offset_for_timestamp(partition, 0) is None
        assert await largest_timestamp(partition) is None


@virtual
async def test_a_snapshot_speaks_of_no_more_than_lies_before_it() -> None:
    async with hosting(Machine(), MANUAL) as host:
        partition = await host.create()
        await host.produce(partition, b"a")
        partition.append_produced(records_of(b"b"), lambda _: None, produce_version=12)
        assert snapshot_of(partition, 0).at_offset == 2, "the WAL has both before the snapshot"
