"""`python -m benches.metadata`: what an append to the metadata log takes, by the kind of register.

A directory, SeaweedFS, PostgreSQL, and PostgreSQL whose commits wait for a second log on the same
disk (`pg_receivewal --synchronous`), all on this machine, in turns within one run. An append is
what the active controller does for an entry: a create, and asking whether its chunk was closed.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from automq.metadata.election import Elected, elect  # noqa: E402
from automq.metadata.log import Author, encode_all  # noqa: E402
from automq.metadata.postgres import open_register, parse_uri  # noqa: E402
from automq.metadata.records.cluster import ClusterCreated  # noqa: E402
from automq.metadata.records.configs import ConfigResource, ConfigSet  # noqa: E402
from automq.metadata.register import (  # noqa: E402
    ObjectStoreRegister,
    Register,
    SteadyRegister,
    Unsettled,
)
from automq.metadata.writer import MetadataWriter  # noqa: E402
from automq.objectstore import open_store  # noqa: E402
from automq.world import World, system_world  # noqa: E402
from support import s3_servers  # noqa: E402
from support.postgres_server import STANDBY, postgres  # noqa: E402

CHUNK_ENTRIES = 4_096


async def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benches.metadata", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--appends", type=int, default=100, help="in each round, of each kind")
    args = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    world = system_world()
    took_ms: dict[str, list[float]] = {}
    async with registers(world) as kinds:
        writers = {name: await writer(register, world) for name, register in kinds.items()}
        for at in range(args.rounds):
            # Another one begins each time.
            names = list(writers)
            for name in names[at % len(names) :] + names[: at % len(names)]:
                took_ms.setdefault(name, []).extend(await appends(writers[name], args.appends))
    print_table(took_ms)


@asynccontextmanager
async def registers(world: World) -> AsyncIterator[dict[str, Register]]:
    """One of each kind, on servers of their own."""
    os.environ.update(s3_servers.environment())
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        weed = stack.enter_context(s3_servers.seaweedfs(directory / "weed"))
        lone = stack.enter_context(postgres())
        waiting = stack.enter_context(postgres(f"synchronous_standby_names={STANDBY}"))
        stack.enter_context(waiting.standby())
        uris = {
            "PostgreSQL": lone.uri("standby=none"),
            "PostgreSQL, with a standby": waiting.uri("standby=required"),
        }
        found: dict[str, Register] = {
            "directory": ObjectStoreRegister(open_store(f"file://{directory}/store", world)),
            "SeaweedFS": ObjectStoreRegister(open_store(s3_servers.uri(weed), world)),
        }
        for name, uri in uris.items():
            found[name] = open_register(parse_uri(uri), None, world.clock)
        for register in found.values():
            stack.push_async_callback(register.close)
        yield found


async def writer(register: Register, world: World) -> MetadataWriter:
    """The writer of a new log."""
    steady = SteadyRegister(register, world)
    genesis = [ClusterCreated(world.new_uuid(), 0, CHUNK_ENTRIES)]
    while True:
        try:
            elected = await elect(steady, world, Author(1, world.new_uuid()), genesis=genesis)
        except Unsettled:
            continue
        assert isinstance(elected, Elected), elected
        return elected.writer


async def appends(writer: MetadataWriter, count: int) -> list[float]:
    """How long each took, in ms."""
    body = encode_all([ConfigSet(ConfigResource.GROUP, "name", "key", "value", False)])
    took: list[float] = []
    for _ in range(count):
        started_s = time.perf_counter()
        await writer.append(body)
        took.append((time.perf_counter() - started_s) * 1000)
    return took


def print_table(took_ms: dict[str, list[float]]) -> None:
    base = statistics.median(took_ms["directory"])
    print("| register | appends | p50 ms | p99 ms | p50, of the directory's |")
    print("|---|---|---|---|---|")
    for name, took in took_ms.items():
        middle, late = statistics.median(took), statistics.quantiles(took, n=100)[98]
        print(f"| {name} | {len(took)} | {middle:.1f} | {late:.1f} | {middle / base:.2f} |")


if __name__ == "__main__":
    asyncio.run(main())
