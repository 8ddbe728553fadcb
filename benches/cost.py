"""What a store is asked for by a node, and what that costs: `python -m benches.cost`.

A whole node runs in virtual time on a simulated store that answers after 20 to 60 ms, and is
written to at a steady rate; what it asks the store for is counted by the node's own metrics, as a
provider would bill it. No figure depends on the machine, and a run repeats exactly. `docs/cost.md`
is written from the counts and from the prices below.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benches import RESULTS, ROOT

sys.path.insert(0, str(ROOT / "tests"))

from automq._native import Buf, build_batch
from automq.objectstore import Counted, Retrying, StoreMetrics
from automq.protocol.messages.produce_request import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from automq.stream.wal import ObjectWals, WalHome
from automq.world.background import Tasks
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch
from support.storage import Machine
from support.virtual_node import VirtualClient, VirtualNode, virtual_node
from support.virtual_time import WALL_START_MS, run_virtual

MIB = 1 << 20
GIB = 1 << 30
MONTH_S = 365 * 86_400 // 12
PARTITIONS = 64
IN_A_REQUEST = 16
BATCH_BYTES = 16 << 10
CONNECTIONS = 32
LATENCY_MS = (20.0, 60.0)
WARM_UP_S = 65.0
RATES = {1: 600.0, 10: 240.0, 100: 30.0}
"""Seconds that are counted, by MiB written a second: more where uploads are few."""
ROLES = ("wal", "data", "metadata")
PUTS, GETS, DELETES = ("put", "create", "copy", "list"), ("get", "head"), ("delete",)


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests for a GiB written, by role of the store, and for a GiB read again from objects."""

    rate_mib_s: int
    wal: str
    puts: dict[str, float]
    gets: dict[str, float]
    deletes: dict[str, float]
    written_bytes_ratio: float
    """Bytes sent to the store for one byte that was produced."""
    gets_read_again: float
    idle_puts_a_minute: float


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices that the page assumes; change them here or multiply."""

    name: str
    currency: str
    put_1000: float
    get_1000: float
    store_gb_month: float
    disk_gb_month: float
    zone_gb: float
    """A GB that goes from one zone to another, both directions' charges together."""
    store: str
    disk: str


PRICES = (
    Prices("AWS", "USD", 0.005, 0.0004, 0.023, 0.08, 0.02, "S3 Standard", "EBS gp3"),
    Prices("Alibaba Cloud", "CNY", 0.001, 0.001, 0.15, 0.5, 0.0, "OSS Standard ZRS", "ESSD PL0"),
)
RETENTION_H = 72
DISK_FULL = 0.6
"""How full the disks of a plain Kafka are kept."""
REPLICAS = 3
ZONES = 3
WAL_DISK_GB = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.cost", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="does it run? The numbers are off")
    args = parser.parse_args()
    rates = {1: 120.0} if args.quick else RATES
    found = []
    for rate, seconds in rates.items():
        for wal in ("file", "object"):
            print(f"cost: {rate} MiB/s, {wal} WAL, {seconds:.0f} s", file=sys.stderr, flush=True)
            found.append(run_virtual(measure(rate, wal, seconds)))
    if not args.quick:
        path = RESULTS / "cost.json"
        path.write_text(json.dumps([asdict(it) for it in found], indent=1) + "\n")
    print("\n".join([*requests_table(found), "", *money_tables(found)]))


# -- counting


async def measure(rate_mib_s: int, wal: str, seconds: float) -> Counts:
    """Write for a while, idle for a while, read it all again."""
    machine = Machine(latency_ms=LATENCY_MS)
    settings = ("automq.wal.uri=object+file:///wal",) if wal == "object" else ()
    metrics = StoreMetrics("wal")

    def wals(uri: str, cluster_id: bytes, tasks: Tasks) -> WalHome:
        if wal == "file":
            return machine.disk
        counted = Counted(machine.store, machine.world.clock, metrics)
        return ObjectWals(Retrying(counted, machine.world), machine.world, cluster_id, tasks)

    async with virtual_node(machine, *settings, wals=wals) as node:
        await node.create_topic("t", PARTITIONS)
        load = Load(node, rate_mib_s)
        await load.run(WARM_UP_S)
        before, sent = asked(node, metrics), load.sent_bytes
        await load.run(seconds)
        after, gib = asked(node, metrics), (load.sent_bytes - sent) / GIB
        per_gib = {key: (after[key] - before[key]) / gib for key in after}
        await asyncio.sleep(300)
        idle_from = asked(node, metrics)
        await asyncio.sleep(600)
        idle = asked(node, metrics)
        idle_puts = sum(idle[role, "puts"] - idle_from[role, "puts"] for role in ROLES)
    # Another life, whose memory has none of it.
    async with virtual_node(machine, *settings, wals=wals) as node:
        reader = VirtualReader(node)
        gets = asked(node, metrics)["data", "gets"]
        read_bytes = await reader.read_all()
        gets = asked(node, metrics)["data", "gets"] - gets
    return Counts(
        rate_mib_s=rate_mib_s,
        wal=wal,
        puts={role: per_gib[role, "puts"] for role in ROLES},
        gets={role: per_gib[role, "gets"] for role in ROLES},
        deletes={role: per_gib[role, "deletes"] for role in ROLES},
        written_bytes_ratio=sum(per_gib[role, "bytes"] for role in ROLES) / GIB,
        gets_read_again=gets / (read_bytes / GIB),
        idle_puts_a_minute=idle_puts / 10,
    )


def asked(node: VirtualNode, wal: StoreMetrics) -> dict[tuple[str, str], float]:
    """What each store was asked for so far."""
    total: dict[tuple[str, str], float] = {}
    for store in (*node.parts.store_metrics, wal):
        counts, role = store.counts(), store.role
        for what, operations in (("puts", PUTS), ("gets", GETS), ("deletes", DELETES)):
            number = sum(counts[it].requests for it in operations)
            total[role, what] = total.get((role, what), 0) + number
        total[role, "bytes"] = total.get((role, "bytes"), 0) + sum(
            it.sent_bytes for it in counts.values()
        )
    return total


class Load:
    """Producers that together write so many MiB a second, from several connections."""

    def __init__(self, node: VirtualNode, rate_mib_s: int) -> None:
        self._clients = [node.client() for _ in range(CONNECTIONS)]
        value = machine_noise(BATCH_BYTES - 100)
        batch = bytes(build_batch([(WALL_START_MS, None, value, [])]))
        self._batch = batch
        self._pause_s = IN_A_REQUEST * len(batch) / (rate_mib_s * MIB)
        self._number = 0
        self.sent_bytes = 0

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        ends_at_s, due_at_s = loop.time() + seconds, loop.time()
        async with asyncio.TaskGroup() as sending:
            while (due_at_s := due_at_s + self._pause_s) < ends_at_s:
                await asyncio.sleep(due_at_s - loop.time())
                sending.create_task(self._send())

    async def _send(self) -> None:
        first = self._number % (PARTITIONS // IN_A_REQUEST) * IN_A_REQUEST
        client = self._clients[self._number % len(self._clients)]
        self._number += 1
        rows = [
            PartitionProduceData(index, Buf(self._batch))
            for index in range(first, first + IN_A_REQUEST)
        ]
        data = [TopicProduceData(name="t", partition_data=rows)]
        request = ProduceRequest(acks=-1, timeout_ms=60_000, topic_data=data)
        answer = await client.ask(request, PRODUCE_VERSION)
        for topic in answer.responses:
            for row in topic.partition_responses:
                assert row.error_code == 0, row
        self.sent_bytes += IN_A_REQUEST * len(self._batch)


def machine_noise(size_bytes: int) -> bytes:
    """Bytes that nothing compresses."""
    return random.Random(1).randbytes(size_bytes)


class VirtualReader:
    """One consumer that reads every partition from its start, as clients do by default."""

    def __init__(self, node: VirtualNode) -> None:
        self._client: VirtualClient = node.client()

    async def read_all(self) -> int:
        """The bytes read, of what is only in the store and of what memory still has."""
        offsets = dict.fromkeys(range(PARTITIONS), 0)
        total = 0
        while offsets:
            answer = await self._client.ask(fetch(partitions=offsets), FETCH_VERSION)
            for row in answer.responses[0].partitions:
                assert row.error_code == 0, row
                size = len(row.records or b"")
                total += size
                offsets[row.partition_index] += size // BATCH_BYTES_STORED
                if offsets[row.partition_index] >= row.high_watermark:
                    del offsets[row.partition_index]
        return total


BATCH_BYTES_STORED = len(
    bytes(build_batch([(WALL_START_MS, None, machine_noise(BATCH_BYTES - 100), [])]))
)


# -- telling


def requests_table(found: Sequence[Counts]) -> list[str]:
    lines = [
        "| written, MiB/s | WAL | PUTs: WAL | data | metadata | GETs | bytes sent for a byte |"
        " GETs for a GiB read again |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for it in found:
        puts = " | ".join(f"{it.puts[role]:,.1f}" for role in ROLES)
        gets = sum(it.gets.values())
        lines.append(
            f"| {it.rate_mib_s} | {it.wal} | {puts} | {gets:,.1f} | {it.written_bytes_ratio:.2f} |"
            f" {it.gets_read_again:,.0f} |"
        )
    return lines


def money_tables(found: Sequence[Counts]) -> list[str]:
    lines: list[str] = []
    for prices in PRICES:
        lines += [
            f"**{prices.name}**, {prices.currency} a month:",
            "",
            "| written, MiB/s | | requests | storage | disks | between zones | together |",
            "|---:|---|---:|---:|---:|---:|---:|",
        ]
        for rate in sorted({it.rate_mib_s for it in found}):
            rows = [(f"automq, {it.wal} WAL", ours(it, prices)) for it in found]
            rows = [row for row, it in zip(rows, found, strict=True) if it.rate_mib_s == rate]
            for name, parts in [*rows, ("plain Kafka, 3 replicas", plain(rate, prices))]:
                shown = " | ".join(f"{part:,.0f}" for part in parts)
                lines.append(f"| {rate} | {name} | {shown} | {sum(parts):,.0f} |")
        lines.append("")
    return lines


def ours(it: Counts, prices: Prices) -> tuple[float, float, float, float]:
    """Requests, storage, disks, traffic between zones; the clients' own is the same for all."""
    gib_a_month = it.rate_mib_s * MONTH_S / 1024
    puts, gets = sum(it.puts.values()), sum(it.gets.values())
    asked_for = gib_a_month * (puts * prices.put_1000 + gets * prices.get_1000) / 1000
    disk = prices.disk_gb_month * WAL_DISK_GB if it.wal == "file" else 0.0
    return asked_for, kept_gb(it.rate_mib_s) * prices.store_gb_month, disk, 0.0


def plain(rate_mib_s: int, prices: Prices) -> tuple[float, float, float, float]:
    """Kafka's own: each byte on three disks, two copies of it sent to other zones."""
    disks = REPLICAS * kept_gb(rate_mib_s) / DISK_FULL * prices.disk_gb_month
    between = rate_mib_s * MONTH_S * MIB / 1e9 * (REPLICAS - 1) * prices.zone_gb
    return 0.0, 0.0, disks, between


def kept_gb(rate_mib_s: int) -> float:
    return rate_mib_s * MIB * RETENTION_H * 3_600 / 1e9


if __name__ == "__main__":
    main()
