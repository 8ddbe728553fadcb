"""`automq storage check`: whether a store keeps the promises that everything stands on."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from automq.cli.configured import FAILED, UNUSABLE, configured, run, say
from automq.cli.storage.sizes import whole
from automq.cli.storage.tried import Tried
from automq.config.node_config import NodeConfig

if TYPE_CHECKING:
    from automq.objectstore.check import Check, Finding, Speed, Verdict
    from automq.world import World

WARNED = 3
INTERRUPTED = 130
STEP_S_MAX = 60.0
"""So long a step may go on after an interruption, so that nothing is under way when it cleans."""


@click.command()
@click.argument("uri", required=False)
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def check(config: NodeConfig, uri: str | None, as_json: bool) -> None:
    """Try the store at URI (default: that of the configuration), and say whether it is fit.

    URI may name PostgreSQL, as automq.metadata.uri does. A store: writes about 120 MiB below a
    prefix of its own, and deletes it. Exit status: 0 fit, 1 unfit, 2
    it could not be tried, 3 fit with warnings.
    """
    run(lambda: check_store(config, uri or config.storage_uri, as_json=as_json))


@dataclass(slots=True)
class Report:
    """What is told at the end."""

    tried: Tried
    findings: "list[Finding]" = field(default_factory=list)
    speeds: "list[Speed]" = field(default_factory=list)


async def check_store(config: NodeConfig, uri: str, *, as_json: bool) -> int:
    """The exit status."""
    from automq.objectstore.check import Unusable, verdict_of
    from automq.world import system_world

    world = system_world()
    stopping = asyncio.Event()
    async with told_to_stop(stopping), opened(config, world, uri) as tried:
        report = Report(tried)
        try:
            if not as_json:
                print_head(report)
            async for told in until(stopping, tried):
                report.findings += told.findings
                report.speeds += told.speeds
                if not as_json:
                    print_step(told)
        except Unusable as error:
            say(f"automq: {error}")
            return UNUSABLE
        finally:
            left = await cleaned(tried)
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


def opened(config: NodeConfig, world: "World", uri: str) -> AbstractAsyncContextManager[Tried]:
    """What a URI names, ready to be tried. Entering raises NodeFailure."""
    from automq.metadata.postgres.location import is_postgres

    if is_postgres(uri):
        from automq.cli.storage.tried_register import register

        return register(config, world, uri)
    from automq.cli.storage.tried_store import store

    return store(config, world, uri)


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


async def until(stopping: asyncio.Event, tried: Tried) -> "AsyncIterator[Check]":
    """The steps of the examination, until it ends or is told to stop."""
    steps = tried.steps
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


async def cleaned(tried: Tried) -> str:
    """Delete all that was written; or a line that says what stays, and why."""
    from automq.metadata.register import Unsettled
    from automq.objectstore import StoreError

    try:
        await tried.clean()
    except StoreError as error:
        return f"what the check wrote stays below {tried.prefix}/: {error.operation}: {error.why}"
    except Unsettled as error:
        return f"what the check wrote stays below {tried.prefix}/: {error}"
    return ""


# -- what is printed


def print_head(report: Report) -> None:
    addresses = report.tried.addresses
    through = f", through {', '.join(addresses)}" if addresses else ""
    print(f"{report.tried.name}{through}\n", flush=True)


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
    print(f"\nVerdict: {verdict.value}{why(report, verdict)}")
    print("What no check can show (docs/stores.md says which stores are proven):")
    for line in report.tried.cannot_show:
        print(f"  - {line}")


def why(report: Report, verdict: "Verdict") -> str:
    from automq.objectstore.check import Outcome, Verdict

    if verdict is Verdict.FIT:
        return ""
    wanted = Outcome.UNFIT if verdict is Verdict.UNFIT else Outcome.WARNING
    return ": " + ", ".join(it.what for it in report.findings if it.outcome is wanted)


def as_dict(report: Report, verdict: "Verdict") -> dict[str, Any]:
    return {
        "store": report.tried.name,
        "addresses": list(report.tried.addresses),
        "verdict": verdict.value,
        "findings": [
            {"what": it.what, "outcome": it.outcome.value, "text": it.text}
            for it in report.findings
        ],
        "speeds": [asdict(speed) for speed in report.speeds],
        "cannot_show": list(report.tried.cannot_show),
    }


def status_of(verdict: "Verdict") -> int:
    from automq.objectstore.check import Verdict

    return {Verdict.FIT: 0, Verdict.FIT_WITH_WARNINGS: WARNED, Verdict.UNFIT: FAILED}[verdict]
