"""`automq storage audit`: the store against the metadata."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from automq.cli.configured import FAILED, UNUSABLE, configured, run, say
from automq.cli.storage.sizes import readable
from automq.config.node_config import NodeConfig

if TYPE_CHECKING:
    from automq.controller.audit import Audit, Finding, Report
    from automq.metadata.register import Listed

FINDINGS_SHOWN = 100


@click.command()
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


async def audit_store(config: NodeConfig, *, verify: bool, repair: bool, as_json: bool) -> int:
    """The exit status."""
    async with audit_of(config) as job:
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


@asynccontextmanager
async def audit_of(config: NodeConfig) -> AsyncIterator["Audit"]:
    """An audit of the store and the log that `config` names."""
    from automq.controller.audit import Audit
    from automq.metadata.postgres import PostgresRegister
    from automq.metadata.reader import MetadataReader
    from automq.metadata.register import SteadyRegister
    from automq.node.storage import closed_after, open_at, open_register_at
    from automq.objectstore import Retrying
    from automq.world import system_world

    world = system_world()
    store = open_at(config, world, config.storage_uri)
    steady = Retrying(store, world)
    async with closed_after(open_register_at(config, world)) as register:
        if isinstance(register, PostgresRegister):
            listed: Listed = register
        elif config.metadata_uri == config.storage_uri:
            listed = steady
        else:
            listed = Retrying(open_at(config, world, config.metadata_uri), world)
        log = SteadyRegister(register, world)
        yield Audit(
            store=steady,
            metadata_store=listed,
            before=MetadataReader(log),
            after=MetadataReader(log),
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
