"""`automq storage audit`: the store against the metadata."""

import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from automq.cli.configured import UNUSABLE, configured, run, say
from automq.cli.storage.sizes import readable
from automq.config.node_config import NodeConfig

if TYPE_CHECKING:
    from automq.controller.audit import Audit
    from automq.controller.report import Finding, Report
    from automq.controller.verifying import Progress
    from automq.objectstore import ObjectStore

FINDINGS_SHOWN = 100
WASTE, DAMAGE = 3, 4
"""Exit statuses of an audit that was done, and found something."""
PROGRESS_EVERY_S = 0.5


@click.command()
@configured
@click.option("--verify", is_flag=True, help="Read every object, and check every block.")
@click.option("--repair", is_flag=True, help="Delete what is leaked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def audit(config: NodeConfig, verify: bool, repair: bool, as_json: bool) -> None:
    """Compare what the store holds with what the metadata say, and name what differs.

    A cluster may run meanwhile. Exit status: 0 all is as it should be (or was repaired), 3
    something lies there for nothing, 4 something is missing or damaged; 1 the store does not answer
    and nothing is known, 2 there is no cluster.
    """
    run(lambda: audit_store(config, verify=verify, repair=repair, as_json=as_json))


async def audit_store(config: NodeConfig, *, verify: bool, repair: bool, as_json: bool) -> int:
    """The exit status."""
    from automq.controller.verifying import verify as verify_objects
    from automq.metadata.log import DamagedLog

    async with audit_of(config) as (job, store):
        try:
            report = await job.run()
        except DamagedLog as error:
            say(f"automq: DAMAGED: the metadata log cannot be read: {error}")
            return DAMAGE
        if job.is_empty:
            where = config.metadata_uri
            say(f"automq: there is no cluster at {where}; is automq.storage.uri right?")
            return UNUSABLE
        if verify:
            with shown_progress() as progress:
                report = await verify_objects(job, store, progress)
        deleted = await job.repair() if repair else 0
    if as_json:
        print(json.dumps(as_dict(report, deleted), indent=2))
    else:
        print_report(report, deleted)
    if report.is_damaged:
        return DAMAGE
    return WASTE if len(report.findings) > deleted else 0


@asynccontextmanager
async def audit_of(config: NodeConfig) -> "AsyncIterator[tuple[Audit, ObjectStore]]":
    """An audit of the store and the log that `config` names, and that store."""
    from automq.controller.audit import Audit
    from automq.metadata.reader import MetadataReader
    from automq.node.storage import log_at, reading_at, reading_wals_at
    from automq.world import system_world

    world = system_world()
    store = reading_at(config, world, config.storage_uri)
    is_one = config.metadata_uri == config.storage_uri
    async with log_at(config, world) as log:
        job = Audit(
            store=store,
            metadata_store=store if is_one else log.keys,
            before=MetadataReader(log.register),
            after=MetadataReader(log.register),
            clock=world.clock,
            wal_store=reading_wals_at(config, world, log.rows),
        )
        yield job, store


@contextmanager
def shown_progress() -> "Iterator[Progress | None]":
    """Where people look: one line on standard error that says how far the reading is."""
    if not sys.stderr.isatty():
        yield None
        return
    shown_s = 0.0

    def show(done: int, total: int, size_bytes: int) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s >= PROGRESS_EVERY_S:
            shown_s = time.monotonic()
            text = f"reading: {done} of {total} objects, {readable(size_bytes)}"
            print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print(f"\r{'':<60}\r", end="", file=sys.stderr, flush=True)


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
            "keeps older versions or a copy, bring the objects named above back under their keys "
            "(--repair does nothing until then)"
        )
    if report.is_clean:
        return f"clean: {report.streams} streams, each without a hole; nothing leaked or missing"
    return "nothing is missing; what is leaked costs money only, and --repair deletes it"
