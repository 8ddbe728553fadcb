"""`automq wal`: write-ahead logs, above all those of a node that does not come back."""

import sys
from collections.abc import Iterable

import click

from automq.cli.configured import UNUSABLE, configured, run, say
from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.telemetry import set_up_logging


@click.group()
def wal() -> None:
    """Look at write-ahead logs, and take over those of a node that does not come back."""


@wal.command("list")
@configured
@click.option("--all", "closed_too", is_flag=True, help="Those that are closed as well.")
def list_(config: NodeConfig, closed_too: bool) -> None:
    """List the write-ahead logs that may hold data. Only reads; a node may run meanwhile."""
    run(lambda: print_wals(config, closed_too=closed_too))


@wal.command("take-over")
@configured
@click.option("--node", "node_id", type=int, required=True, help="The node that is gone.")
@click.option(
    "--wal-uri", metavar="URI", help="Where its log is reached from here, if not as registered."
)
def take_over(config: NodeConfig, node_id: int, wal_uri: str | None) -> None:
    """Declare a node dead, and bring what its log holds into the store.

    Takes the configuration of the node that will lead instead, which must not run meanwhile. From
    then on the dead node can do no harm should it come back. Repeat it if it was interrupted.
    """
    run(lambda: take_over_node(config, node_id, wal_uri))


@wal.command("give-up")
@configured
@click.argument("wal_id", type=int)
@click.option("--wal-uri", metavar="URI", help="Where it would be reached from here.")
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="Needed: what was acknowledged and is only in this log is lost.",
)
def give_up(config: NodeConfig, wal_id: int, wal_uri: str | None, accept_data_loss: bool) -> None:
    """Close a log whose disk is gone for good, or damaged; says what is lost, as far as known.

    What can still be read of it is brought into the store first.
    """
    if not accept_data_loss:
        say(
            "automq: nothing was done: what was acknowledged and is only in this log will be "
            "lost; add --accept-data-loss if its disk cannot be brought back"
        )
        sys.exit(UNUSABLE)
    run(lambda: give_up_wal(config, wal_id, wal_uri))


async def print_wals(config: NodeConfig, *, closed_too: bool) -> None:
    from automq.node.short_life import read_log
    from automq.world import system_world

    image = (await read_log(config, system_world())).image
    wals = [wal for _, wal in sorted(image.storage.wals.items()) if closed_too or not wal.closed]
    print(f"{'WAL':>6} {'NODE':>6} {'STATE':<9} {'FROM POSITION':>14} {'TAKEN BY':<9} URI")
    for wal in wals:
        node = image.cluster.nodes.get(wal.node_id)
        state = "closed" if wal.closed else "replaced"
        if not wal.closed and node is not None and node.node_epoch == wal.node_epoch:
            state = node.state.name.lower()
        taker = f"node {wal.taker}" if wal.attempt else "-"
        print(f"{wal.wal:>6} {wal.node_id:>6} {state:<9} {wal.start:>14} {taker:<9} {wal.uri}")


async def take_over_node(config: NodeConfig, node_id: int, wal_uri: str | None) -> None:
    from automq.node.short_life import taker_of
    from automq.world import system_world

    quiet(config)
    async with taker_of(config, system_world(), wal_uri=wal_uri) as taker:
        done = await taker.take_over_node(node_id)
    if not done:
        say(f"automq: node {node_id} is fenced; it left no write-ahead log that holds anything")
    for it in done:
        found = "was never written" if it.missing else f"held {it.records} records"
        say(
            f"automq: the write-ahead log {it.wal_id} of node {node_id} {found}; {it.size_bytes} "
            f"bytes are in the store, {it.streams} streams are closed at their ends"
        )
    say(
        f"automq: node {node_id} is fenced and taken over; what it led is led by the next node "
        "that starts on this store"
    )


async def give_up_wal(config: NodeConfig, wal_id: int, wal_uri: str | None) -> None:
    from automq.node import NodeFailure
    from automq.node.short_life import read_log, taker_of
    from automq.world import system_world

    quiet(config)
    image = (await read_log(config, system_world())).image
    known = image.storage.wals.get(wal_id)
    if known is None or known.closed:
        is_closed = image.storage.is_wal_closed(wal_id)
        state = "is closed: nothing is only there" if is_closed else "is not known"
        raise NodeFailure(f"the write-ahead log {wal_id} {state}", status=UNUSABLE)
    async with taker_of(config, system_world(), wal_uri=wal_uri) as taker:
        streams, names = taker.controller.open_streams(known), taker.controller.topic_names()
        done = await taker.give_up(known)
        ends = taker.controller.stream_ends([it.stream_id for it in streams])
    if done.damage:
        say(f"automq: {done.damage}")
    say(
        f"automq: the write-ahead log {wal_id} of node {done.node_id} is given up; "
        f"{done.records} records of it could be read and are in the store"
    )
    lines = [
        (f"{names.get(it.topic_id, it.topic_id.hex())}-{it.partition}", ends[it.stream_id])
        for it in streams
        if it.is_data and it.stream_id in ends
    ]
    say_losses(lines)


def say_losses(rows: Iterable[tuple[str, int]]) -> None:
    for name, end in sorted(rows):
        say(f"automq: {name}: what was acknowledged from offset {end} on is lost")


def quiet(config: NodeConfig) -> None:
    """Log lines only where something is wrong: the command says what it does."""
    set_up_logging(form=config.get(keys.automq.LOG_FORMAT), level="WARN")
