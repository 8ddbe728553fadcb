"""`automq storage inspect`: one thing of a store, in a readable form."""

from typing import TYPE_CHECKING

import click

from automq.cli.configured import FAILED, configured, run, say
from automq.cli.storage.sizes import readable
from automq.config.node_config import NodeConfig

if TYPE_CHECKING:
    from automq._native import Buf
    from automq.metadata.image import Image
    from automq.objectstore import ObjectStore
    from automq.world import World

RANGES_SHOWN = 1_000


@click.command()
@configured
@click.option("--batches", is_flag=True, help="Of a data object, every record batch as well.")
@click.argument("what")
def inspect(config: NodeConfig, what: str, batches: bool) -> None:
    """Show WHAT in a readable form, with every checksum that it has.

    WHAT is the key of anything in the store, the number of a data object, `stream:NUMBER` or
    `wal:NUMBER`. Exit status: 0 it is as it was written, 1 it is damaged or not there.
    """
    run(lambda: show(config, what, batches=batches))


async def show(config: NodeConfig, what: str, *, batches: bool) -> int:
    """The exit status."""
    from automq.cli.storage.inspect_log import show_log_object
    from automq.cli.storage.inspect_wal import show_object as show_wal_object
    from automq.node.short_life import read_log
    from automq.node.storage import reading_at, register_at
    from automq.stream.keys import data_key
    from automq.stream.wal.uri import store_uri_of
    from automq.world import system_world

    world = system_world()
    if what.startswith("meta/"):
        # Also where the log cannot be read: that is when somebody looks.
        async with register_at(config, world) as register:
            return show_log_object(what, await register.read(what))
    if what.startswith(("wal/", "wals/")):
        place = store_uri_of(config.wal_uri) or config.storage_uri
        data = await found(reading_at(config, world, place), what)
        return FAILED if data is None else show_wal_object(what, bytes(data))
    image = (await read_log(config, world)).image
    kind, _, number = what.rpartition(":")
    if kind == "stream" and number.isdigit():
        return show_stream(image, int(number))
    if kind == "wal" and number.isdigit():
        return await show_wal(config, world, image, int(number))
    key = data_key(image.cluster.cluster_id, int(what)) if what.isdigit() else what
    show_known(image, key)
    store = reading_at(config, world, config.storage_uri)
    return await show_object(store, key, batches=batches)


async def found(store: "ObjectStore", key: str) -> "Buf | None":
    """The bytes of an object; None, and a line, where there is none."""
    from automq.objectstore import NotFound

    try:
        return await store.get(key)
    except NotFound:
        say(f"automq: there is no object {key!r} in {store.name}")
        return None


async def show_wal(config: NodeConfig, world: "World", image: "Image", wal_id: int) -> int:
    from automq.cli.storage.inspect_wal import show_files, show_objects, show_registered
    from automq.node.storage import reading_at
    from automq.stream.wal.uri import store_uri_of

    wal = image.storage.wals.get(wal_id)
    if wal is None:
        say(
            f"automq: the write-ahead log {wal_id} was closed, and so long ago that it is forgotten"
            if image.storage.is_wal_closed(wal_id)
            else f"automq: there is no write-ahead log {wal_id}; `automq wal list --all` has them"
        )
        return FAILED
    show_registered(wal)
    store_uri = store_uri_of(wal.uri)
    if store_uri is None:
        return await show_files(wal, image.cluster.cluster_id)
    store = reading_at(config, world, store_uri)
    return await show_objects(wal, image.cluster.cluster_id, store)


def show_known(image: "Image", key: str) -> None:
    """What the metadata say of a data object."""
    from automq.controller.judging import judge_object, object_of

    object_id = object_of(key, image.cluster.cluster_id)
    if object_id is None:
        return
    known = image.storage.object(object_id)
    what = judge_object(object_id, image, image)
    print(f"object {object_id}: {what}", end="" if known else "\n")
    if known is not None:
        print(
            f"; level {known.level}, {readable(known.bytes)}, by node {known.node_id}, read by "
            f"{known.live} ranges"
        )


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


async def show_object(store: "ObjectStore", key: str, *, batches: bool) -> int:
    from automq._native import DamagedObject, inspect_object

    data = await found(store, key)
    if data is None:
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
    if batches:
        show_batches(data)
    return FAILED if damaged else 0


def show_batches(data: "Buf") -> None:
    """Every batch of every block."""
    from automq._native import DamagedObject, ObjectIndex, open_block, parse_footer
    from automq.cli.storage.inspect_batches import HEAD, batch_lines

    footer = parse_footer(data, len(data))
    at = footer.index_position
    index = ObjectIndex(data.slice(at, at + footer.index_bytes), position=at)
    print(HEAD)
    for block in index.blocks():
        print(f"block at {block.position}: stream {block.stream} [{block.start}, {block.end})")
        try:
            held = open_block(data.slice(block.position, block.position + block.size_bytes), block)
        except DamagedObject as error:
            print(f"  DAMAGED: {error}")
            continue
        for line, _ in batch_lines(held):
            print(line)
