"""`automq storage`: what lies in the object store, and whether it is what should lie there."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from automq.cli.configured import FAILED, UNUSABLE, configured, run, say
from automq.config.node_config import NodeConfig

if TYPE_CHECKING:
    from automq.controller.audit import Audit, Finding, Report
    from automq.metadata.image import Image
    from automq.objectstore import ObjectStore

FINDINGS_SHOWN = 100
RANGES_SHOWN = 1_000


@click.group()
def storage() -> None:
    """Look at the object store."""


@storage.command()
@configured
@click.option("--verify", is_flag=True, help="Read every object, and check every block.")
@click.option("--repair", is_flag=True, help="Delete what is leaked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def audit(config: NodeConfig, verify: bool, repair: bool, as_json: bool) -> None:
    """Compare what the store holds with what the metadata say, and name what differs.

    A cluster may run meanwhile. Exit status: 0 all is as it should be (or was repaired), 1
    something is leaked, missing or damaged.
    """
    run(lambda: audit_store(config, verify=verify, repair=repair, as_json=as_json))


@storage.command()
@configured
@click.argument("what")
def inspect(config: NodeConfig, what: str) -> None:
    """Show WHAT: an object by its key or number, or `stream:NUMBER`, in a readable form."""
    run(lambda: show(config, what))


async def audit_store(config: NodeConfig, *, verify: bool, repair: bool, as_json: bool) -> int:
    """The exit status."""
    job = await audit_of(config)
    report = await job.run()
    if job.is_empty:
        say("automq: the store is empty; is automq.storage.uri right?")
        return UNUSABLE
    if verify:
        report = await job.verify()
    deleted = await job.repair() if repair else 0
    if as_json:
        print(json.dumps(as_dict(report, deleted), indent=2))
    else:
        print_report(report, deleted)
    left = [it for it in report.findings if not (repair and it.what == "leaked")]
    return FAILED if left else 0


async def audit_of(config: NodeConfig) -> "Audit":
    """An audit of the store and the log that `config` names."""
    from automq.controller.audit import Audit
    from automq.metadata.reader import MetadataReader
    from automq.metadata.register import ObjectStoreRegister, SteadyRegister
    from automq.node.storage import open_at
    from automq.objectstore import Retrying
    from automq.world import system_world

    world = system_world()
    store = open_at(config, world, config.storage_uri)
    is_one = config.metadata_uri == config.storage_uri
    metadata_store = store if is_one else open_at(config, world, config.metadata_uri)
    register = SteadyRegister(ObjectStoreRegister(metadata_store), world)
    steady = Retrying(store, world)
    return Audit(
        store=steady,
        metadata_store=steady if is_one else Retrying(metadata_store, world),
        before=MetadataReader(register),
        after=MetadataReader(register),
    )


def as_dict(report: "Report", deleted: int) -> dict[str, Any]:
    return {
        "clean": report.is_clean,
        "damaged": report.is_damaged,
        "counts": {
            what.value: {"objects": objects, "bytes": size}
            for what, (objects, size) in report.counts.items()
        },
        "streams": report.streams,
        "verified": {"objects": report.verified_objects, "bytes": report.verified_bytes},
        "deleted": deleted,
        "findings": [asdict(finding) for finding in report.findings],
    }


def print_report(report: "Report", deleted: int) -> None:
    print(f"{'OBJECTS':>9} {'SIZE':>10}  WHAT")
    for what, (objects, size_bytes) in sorted(report.counts.items()):
        print(f"{objects:>9} {readable(size_bytes):>10}  {what}")
    if report.verified_objects:
        done = f"{report.verified_objects} objects, {readable(report.verified_bytes)}"
        print(f"read and verified: {done}")
    for finding in report.findings[:FINDINGS_SHOWN]:
        print(line_of(finding))
    more = len(report.findings) - FINDINGS_SHOWN
    if more > 0:
        print(f"... and {more} more; --json has all")
    if deleted:
        print(f"{deleted} leaked objects were deleted")
    print(verdict_of(report))


def line_of(finding: "Finding") -> str:
    from datetime import UTC, datetime

    since = ""
    if finding.modified_ms:
        when = datetime.fromtimestamp(finding.modified_ms / 1000, UTC)
        since = f", written {when:%Y-%m-%d %H:%M:%S} UTC"
    size = f" ({readable(finding.size_bytes)}{since})" if finding.size_bytes else ""
    return f"{finding.what.upper()}: {finding.key}{size}: {finding.why}"


def verdict_of(report: "Report") -> str:
    if report.is_damaged:
        return (
            "DAMAGED: data that should be there are not. Do not delete anything; if the store "
            "keeps older versions or a copy, bring the objects named above back under their keys"
        )
    if report.is_clean:
        return f"clean: {report.streams} streams, each without a hole; nothing leaked or missing"
    return "nothing is lost; what is leaked costs money only, and --repair deletes it"


def readable(size_bytes: int) -> str:
    """A size for people: 1536 is 1.5 KiB."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


# -- looking at one thing


async def show(config: NodeConfig, what: str) -> int:
    """The exit status."""
    from automq.node.short_life import read_log
    from automq.node.storage import open_at
    from automq.objectstore import Retrying
    from automq.stream.keys import data_key
    from automq.world import system_world

    world = system_world()
    image = (await read_log(config, world)).image
    kind, _, number = what.rpartition(":")
    if kind == "stream" and number.isdigit():
        return show_stream(image, int(number))
    key = data_key(image.cluster.cluster_id, int(what)) if what.isdigit() else what
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
    if not key.startswith("data/"):
        return show_entry(key, bytes(data))
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


def show_entry(key: str, data: bytes) -> int:
    """An entry of the metadata log, or a pointer to a snapshot."""
    from automq.metadata.log import DamagedLog, decode_pointer

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
