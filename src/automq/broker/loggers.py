"""The log levels of this process, as Kafka's broker loggers: seen and set while it runs (KIP-412).

Levels are those of the process, are not stored, and end with it.
"""

import logging
from collections.abc import Iterator, Sequence

from automq.config.alter import Op, OpType, check_ops
from automq.protocol import errors

LOGGERS_RESOURCE = 8
ROOT = "root"
OURS = "automq"
LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
NAMES = {level: name for name, level in LEVELS.items()}


class Loggers:
    """Our loggers, by name, and the root."""

    def names(self) -> Iterator[str]:
        yield ROOT
        known = logging.root.manager.loggerDict
        yield from sorted(it for it in known if it == OURS or it.startswith(f"{OURS}."))

    def levels(self, names: Sequence[str] | None) -> dict[str, str]:
        """The level in force of each, or of those in `names`."""
        asked = set(names) if names else None
        return {
            name: NAMES.get(logger_of(name).getEffectiveLevel(), "INFO")
            for name in self.names()
            if asked is None or name in asked
        }

    def alter(self, ops: Sequence[Op], *, validate_only: bool) -> None:
        """Set levels, or unset them so that the parent's is in force.

        Raises InvalidConfig (no such logger or level), InvalidRequest; then nothing is changed.
        """
        check_ops(ops)
        known = set(self.names())
        levels = [level_of(op, known) for op in ops]
        if validate_only:
            return
        for op, level in zip(ops, levels, strict=True):
            logger_of(op.name).setLevel(level)


def logger_of(name: str) -> logging.Logger:
    return logging.getLogger(None if name == ROOT else name)


def level_of(op: Op, known: set[str]) -> int:
    """What the logger is set to; NOTSET when its level is removed."""
    if op.op not in (OpType.SET, OpType.DELETE):
        kind = OpType(op.op).name
        raise errors.InvalidRequest(
            f"{kind} operation is not allowed for the BROKER_LOGGER resource"
        )
    if op.name not in known:
        raise errors.InvalidConfig(f"Logger {op.name} does not exist!")
    if op.op == OpType.DELETE:
        if op.name == ROOT:
            raise errors.InvalidRequest(
                f"Removing the log level of the {ROOT} logger is not allowed"
            )
        return logging.NOTSET
    level = LEVELS.get(op.value or "")
    if level is None:
        raise errors.InvalidConfig(
            f"Cannot set the log level of {op.name} to {op.value} as it is not a supported log "
            f"level. Valid log levels are {', '.join(sorted(LEVELS))}"
        )
    return level
