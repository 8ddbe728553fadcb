"""`automq storage check`: whether a store keeps the promises that everything stands on."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from automq.cli.configured import FAILED, UNUSABLE, configured, run, say
from automq.cli.storage.sizes import whole
from automq.config.node_config import NodeConfig

if TYPE_CHECKING:
    from automq.objectstore import ObjectStore
    from automq.objectstore.check import Check, Finding, Speed, Trial, Verdict
    from automq.world import World

WARNED = 3
INTERRUPTED = 130
ADDRESSES_MAX = 16
STEP_S_MAX = 60.0
"""So long a step may go on after an interruption, so that nothing is under way when it cleans."""


@click.command()
@click.argument("uri", required=False)
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def check(config: NodeConfig, uri: str | None, as_json: bool) -> None:
    """Try the store at URI (default: that of the configuration), and say whether it is fit.

    Writes about 120 MiB below a prefix of its own, and deletes it. Exit status: 0 fit, 1 unfit, 2
    it could not be tried, 3 fit with warnings.
    """
    run(lambda: check_store(config, uri or config.storage_uri, as_json=as_json))


@dataclass(slots=True)
class Report:
    """What is told at the end."""

    store: str
    addresses: Sequence[str]
    findings: "list[Finding]" = field(default_factory=list)
    speeds: "list[Speed]" = field(default_factory=list)


async def check_store(config: NodeConfig, uri: str, *, as_json: bool) -> int:
    """The exit status."""
    from automq.objectstore.check import Trial, Unusable, verdict_of
    from automq.world import system_world

    world = system_world()
    stopping = asyncio.Event()
    async with told_to_stop(stopping), opened(config, world, uri) as (stores, addresses):
        report, trial = Report(stores[0].name, addresses), Trial(stores, world)
        try:
            if not as_json:
                print_head(report)
            async for told in until(stopping, trial):
                report.findings += told.findings
                report.speeds += told.speeds
                if not as_json:
                    print_step(told)
        except Unusable as error:
            say(f"automq: {error}")
            return UNUSABLE
        finally:
            left = await cleaned(trial)
    if left:
        say(f"automq: {left}")
    if stopping.is_set():
        say("automq: interrupted" + ("" if left else "; what the check wrote is deleted"))
        return INTERRUPTED
    verdict = verdict_of(report.findings)
    if as_json:
        print(json.dumps(as_dict(report, verdict), indent=2))
    else:
        print_tail(report, verdict)
    return status_of(verdict)


# -- the store, by each of its addresses


@asynccontextmanager
async def opened(
    config: NodeConfig, world: "World", uri: str
) -> "AsyncIterator[tuple[list[ObjectStore], list[str]]]":
    """The store through each address of its endpoint, and these. Raises NodeFailure."""
    from automq.node.storage import open_at
    from automq.objectstore.store import PART_BYTES

    refuse_missing_directory(uri)
    temporary = temporary_of(uri)
    first = open_at(config, world, uri, multipart_bytes=PART_BYTES)
    stores = []
    try:
        addresses = await addresses_of(first, uri)
        for address in addresses:
            at = ip_address(address)
            stores.append(open_at(config, world, uri, address=at, multipart_bytes=PART_BYTES))
        yield stores or [first], addresses
    finally:
        for store in (first, *stores):
            await store.close()
        if temporary is not None:
            with suppress(OSError):
                temporary.rmdir()


def refuse_missing_directory(uri: str) -> None:
    """Opening a directory makes it, and a check leaves nothing behind. Raises NodeFailure."""
    from automq.node import NodeFailure
    from automq.objectstore import BadUri, parse_uri
    from automq.objectstore.location import FileLocation

    try:
        location = parse_uri(uri)
    except BadUri as error:
        raise NodeFailure(str(error), status=UNUSABLE) from None
    if isinstance(location, FileLocation) and not Path(location.path).is_dir():
        raise NodeFailure(f"there is no directory {location.path}; make it first", status=UNUSABLE)


def temporary_of(uri: str) -> Path | None:
    """What opening a directory makes in it, unless it is there already."""
    from automq.objectstore import parse_uri
    from automq.objectstore.location import FileLocation

    location = parse_uri(uri)
    if not isinstance(location, FileLocation):
        return None
    folder = Path(location.path) / ".tmp"
    return None if folder.exists() else folder


async def addresses_of(store: "ObjectStore", uri: str) -> list[str]:
    """Every address at which the store's host may be asked; none for a directory.

    Raises NodeFailure if the host has none.
    """
    from automq.node import NodeFailure

    authority = getattr(store, "authority", None)
    if authority is None or "proxy=" in uri:
        return []
    host = urlsplit(f"//{authority}").hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, 0)
    except OSError as error:
        raise NodeFailure(
            f"{uri}: the host {host} is not known ({error.strerror}); look at bucket and endpoint",
            status=UNUSABLE,
        ) from None
    return list(dict.fromkeys(str(it[4][0]) for it in found))[:ADDRESSES_MAX]


# -- running it, and leaving nothing behind


@asynccontextmanager
async def told_to_stop(stopping: asyncio.Event) -> AsyncIterator[None]:
    """SIGINT and SIGTERM set `stopping`: the check ends after its step, and cleans."""
    loop, signals = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def until(stopping: asyncio.Event, trial: "Trial") -> "AsyncIterator[Check]":
    """The steps of the examination, until it ends or is told to stop."""
    from automq.objectstore.check import examine

    steps = examine(trial)
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        while not stopping.is_set():
            step = asyncio.ensure_future(anext(steps, None))
            await asyncio.wait([step, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                # Not broken off: a write that is under way would come after the cleaning.
                await asyncio.wait([step], timeout=STEP_S_MAX)
                step.cancel()
                return
            told = step.result()
            if told is None:
                return
            yield told
    finally:
        stopped.cancel()
        with suppress(RuntimeError):
            await steps.aclose()


async def cleaned(trial: "Trial") -> str:
    """Delete all that was written; or a line that says what stays, and why."""
    from automq.objectstore import StoreError

    try:
        await trial.clean()
    except StoreError as error:
        return f"what the check wrote stays below {trial.prefix}/: {error.operation}: {error.why}"
    return ""


# -- what is printed


def print_head(report: Report) -> None:
    through = f", through {', '.join(report.addresses)}" if report.addresses else ""
    print(f"{report.store}{through}\n", flush=True)


def print_step(told: "Check") -> None:
    for finding in told.findings:
        print(f"  {finding.what:<21} {mark(finding):<10} {finding.text}", flush=True)
    if told.speeds:
        print(f"\n  {'':<21} {'p50':>9} {'p99':>9} {'MiB/s':>8}")
    for speed in told.speeds:
        what = f"{speed.operation} {whole(speed.size_bytes)}"
        times = f"{speed.p50_ms:>6.1f} ms {speed.p99_ms:>6.1f} ms"
        print(f"  {what:<21} {times} {speed.mib_per_s:>8.1f}", flush=True)


def mark(finding: "Finding") -> str:
    """What is wrong stands out without colour."""
    from automq.objectstore.check import Outcome

    is_loud = finding.outcome in (Outcome.UNFIT, Outcome.WARNING)
    return finding.outcome.value.upper() if is_loud else finding.outcome.value


def print_tail(report: Report, verdict: "Verdict") -> None:
    from automq.objectstore.check import CANNOT_SHOW

    print(f"\nVerdict: {verdict.value}{why(report, verdict)}")
    print("What no check can show (docs/stores.md says which stores are proven):")
    for line in CANNOT_SHOW:
        print(f"  - {line}")


def why(report: Report, verdict: "Verdict") -> str:
    from automq.objectstore.check import Outcome, Verdict

    if verdict is Verdict.FIT:
        return ""
    wanted = Outcome.UNFIT if verdict is Verdict.UNFIT else Outcome.WARNING
    return ": " + ", ".join(it.what for it in report.findings if it.outcome is wanted)


def as_dict(report: Report, verdict: "Verdict") -> dict[str, Any]:
    from automq.objectstore.check import CANNOT_SHOW

    return {
        "store": report.store,
        "addresses": list(report.addresses),
        "verdict": verdict.value,
        "findings": [
            {"what": it.what, "outcome": it.outcome.value, "text": it.text}
            for it in report.findings
        ],
        "speeds": [asdict(speed) for speed in report.speeds],
        "cannot_show": list(CANNOT_SHOW),
    }


def status_of(verdict: "Verdict") -> int:
    from automq.objectstore.check import Verdict

    return {Verdict.FIT: 0, Verdict.FIT_WITH_WARNINGS: WARNED, Verdict.UNFIT: FAILED}[verdict]
