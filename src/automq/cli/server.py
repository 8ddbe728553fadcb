"""`automq server`: run one node."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import click

from automq.cli.configured import configured, say
from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.telemetry import set_up_logging


@click.command()
@configured
def server(config: NodeConfig) -> None:
    """Run a node: broker and controller, ready for any Kafka client.

    Without arguments it listens on 127.0.0.1:9092 and keeps everything under ./automq-data.
    Environment variables AUTOMQ_<KEY> (upper case, _ for .) win over the file, --set over both.
    """
    set_up_logging(form=config.get(keys.automq.LOG_FORMAT), level=config.get(keys.automq.LOG_LEVEL))
    # Imported late, so that a wrong configuration is told at once.
    from automq.node import NodeFailure, run_node

    try:
        run(run_node(config, ready=say_ready))
    except NodeFailure as error:
        say(f"automq: {error}")
        sys.exit(error.status)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop, where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


def say_ready(addresses: str, seconds: float) -> None:
    say(f"automq: ready on {addresses} after {seconds:.2f} s")
