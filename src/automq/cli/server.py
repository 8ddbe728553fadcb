"""`automq server`: run one node."""

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from automq.config import keys
from automq.config.key import ConfigError
from automq.config.node_config import NodeConfig
from automq.config.sources import memory_limit_bytes
from automq.telemetry import set_up_logging

UNUSABLE, FAILED = 2, 1


@click.command()
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of key=value lines, as Kafka's server.properties.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key; repeatable."
)
def server(file: Path | None, overrides: tuple[str, ...]) -> None:
    """Run a node: broker and controller, ready for any Kafka client.

    Without arguments it listens on 127.0.0.1:9092 and keeps everything under ./automq-data.
    Environment variables AUTOMQ_<KEY> (upper case, _ for .) win over the file, --set over both.
    """
    try:
        config = NodeConfig.load(
            file=file.read_text() if file else "",
            file_name=str(file or ""),
            environment=os.environ,
            overrides=overrides,
            host_name=socket.getfqdn(),
            memory_bytes=memory_limit_bytes(),
        )
    except ConfigError as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"cannot read {file}: {error.strerror}")
    set_up_logging(form=config.get(keys.automq.LOG_FORMAT), level=config.get(keys.automq.LOG_LEVEL))
    # Imported late, so that a wrong configuration is told at once.
    from automq.node import NodeFailure, run_node

    try:
        run(run_node(config, ready=say_ready))
    except NodeFailure as error:
        say(f"automq: {error}")
        sys.exit(error.status)


def refuse(text: str) -> None:
    for line in text.splitlines():
        say(f"automq: {line}")
    sys.exit(UNUSABLE)


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


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
