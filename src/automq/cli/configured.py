"""The options of every command that works on a node's configuration, and what it says."""

import asyncio
import functools
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

import click

from automq.config.key import ConfigError
from automq.config.node_config import NodeConfig
from automq.config.sources import load_node_config

FAILED = 1
UNUSABLE = 2


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command`, before its own options, the configuration that `--config`, the environment
    and `--set` make.

    What is wrong with it is told line by line, and the exit status is 2.
    """

    @click.option(
        "--config",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A file of key=value lines, as Kafka's server.properties.",
    )
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key; repeatable."
    )
    @functools.wraps(command)
    def with_configuration(
        *, file: Path | None, overrides: tuple[str, ...], **others: object
    ) -> None:
        command(load(file, overrides), **others)

    return with_configuration


def load(file: Path | None, overrides: tuple[str, ...]) -> NodeConfig:
    """This machine's configuration of a node, or the end of the process."""
    try:
        return load_node_config(file=file, environment=os.environ, overrides=overrides)
    except ConfigError as error:
        refuse(str(error))


def run(job: Callable[[], Coroutine[Any, Any, int | None]]) -> None:
    """Do a command's job, and end the process with the status it answers, 0 for None.

    What a store, the log or a node refuses is one line, and its status.
    """
    from automq.node import NodeFailure
    from automq.node.run import first_of, told

    if logging.lastResort is not None:
        # A command that sets up no log says what does not work once, and itself.
        logging.lastResort.setLevel(logging.ERROR)
    try:
        status = asyncio.run(job()) or 0
    except Exception as error:
        failure = told(first_of(error) if isinstance(error, BaseExceptionGroup) else error)
        if not isinstance(failure, NodeFailure):
            raise
        say(f"automq: {failure}")
        status = failure.status
    sys.exit(status)


def refuse(text: str) -> NoReturn:
    """Say what is wrong, and end: nothing was done."""
    for line in text.splitlines():
        say(f"automq: {line}")
    sys.exit(UNUSABLE)


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)
