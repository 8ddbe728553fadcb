"""`automq storage inspect`: one thing of a store, in a readable form."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from automq.cli.configured import FAILED, configured, run, say
from automq.cli.storage.sizes import readable
from automq.config.node_config import NodeConfig

if TYPE_CHECKING:
    from automq.metadata.image import Image
    from automq.objectstore import ObjectStore

RANGES_SHOWN = 1_000


@click.command()
@configured
@click.argument("what")
def inspect(config: NodeConfig, what: str) -> None:
    """Show WHAT: an object by its key or number, or `stream:NUMBER`, in a readable form."""
    run(lambda: show(config, what))


async def show(config: NodeConfig, what: str) -> int:
    """The exit status."""
    from automq.node.short_life import read_log
    from automq.node.storage import open_at, register_at
    from automq.objectstore import Retrying
    from automq.stream.keys import data_key
    from automq.world import system_world

    world = system_world()
    image = (await read_log(config, world)).image
    kind, _, number = what.rpartition(":")
    if kind == "stream" and number.isdigit():
        return show_stream(image, int(number))
    key = data_key(image.cluster.cluster_id, int(what)) if what.isdigit() else what
    if key.startswith("meta/"):
        async with register_at(config, world) as register:
            return show_entry(key, await register.read(key))
    return await show_object(Retrying(open_at(config, world, config.storage_uri), world), key)


def show_stream(image: "Image", stream_id: int) -> int:
    stream = image.storage.stream(stream_id)
    if stream is None:
        say(f"automq: there is no stream {stream_id}")
        return FAILED
    topic = image.cluster.topics.get(stream.topic_id)
    name = stream.topic_id.hex() if topic is None else topic.name
    state = "open" if stream.open else "closed"
    print(f"stream {stream_id}: {stream.kind.name.lower()} of {name}-{stream.partition}, {state}")
    print(
        f"offsets [{stream.start}, {stream.end}), {readable(stream.bytes)}, epoch {stream.epoch} "
        f"of node {stream.node_id}; later ones are in its write-ahead log only"
    )
    print(
        f"epochs: {', '.join(f'{epoch} from {at}' for epoch, at in image.storage.opens(stream_id))}"
    )
    print(f"{'START':>12} {'END':>12} {'SIZE':>10} {'OBJECT':>9}")
    ranges = image.storage.locate(stream_id, stream.start, RANGES_SHOWN)
    for row in ranges:
        print(f"{row.start:>12} {row.end:>12} {readable(row.bytes):>10} {row.object:>9}")
    if len(ranges) == RANGES_SHOWN:
        print("... and more")
    return 0


async def show_object(store: "ObjectStore", key: str) -> int:
    from automq._native import DamagedObject, inspect_object
    from automq.objectstore import NotFound

    try:
        data = await store.get(key)
    except NotFound:
        say(f"automq: there is no object {key!r} in {store.name}")
        return FAILED
    print(f"{key}: {len(data)} bytes")
    try:
        parts = inspect_object(data)
    except DamagedObject as error:
        print(f"DAMAGED: {error}")
        return FAILED
    damaged = 0
    print(f"{'POSITION':>11} {'SIZE':>10} {'KIND':<7} {'STREAM':>8}  WHAT")
    for part in parts:
        stream = "" if part.stream is None else str(part.stream)
        wrong = "" if part.damage is None else f"  DAMAGED: {part.damage}"
        damaged += part.damage is not None
        print(
            f"{part.position:>11} {part.size_bytes:>10} {part.kind:<7} {stream:>8}  "
            f"{part.summary}{wrong}"
        )
    print(f"{damaged} of {len(parts)} parts are damaged" if damaged else "all checksums are right")
    return FAILED if damaged else 0


def show_entry(key: str, data: bytes | None) -> int:
    """An entry of the metadata log, or a pointer to a snapshot."""
    from automq.metadata.log import DamagedLog, decode_pointer

    if data is None:
        say(f"automq: there is no {key!r} in the metadata log")
        return FAILED
    print(f"{key}: {len(data)} bytes")
    last = key.rsplit("/", 1)[-1]
    try:
        if last.isdigit():
            for line in entry_lines(data, int(last)):
                print(line)
        else:
            print(decode_pointer(data, key))
    except DamagedLog as error:
        print(f"DAMAGED: {error}")
        return FAILED
    return 0


def entry_lines(data: bytes, number: int) -> Iterator[str]:
    from automq.metadata.dump import describe_entry
    from automq.metadata.log import decode_entry

    return describe_entry(decode_entry(data, number))
