"""Log lines that are facts: a message and its values, for people or for machines."""

import json
import logging
import sys
import time
from typing import Any, Final, TextIO

import msgspec

ROOT: Final = "automq"
RESERVED: Final = frozenset({"time", "level", "logger", "message", "error"})
PLAIN_VALUE: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+,"
)


class Log:
    """The log of one part of a node. `log.info("stream opened", stream_id=7)`."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{name}")

    def debug(self, message: str, **facts: object) -> None:
        """What only somebody who looks for a mistake wants to read."""
        self._write(logging.DEBUG, message, facts)

    def info(self, message: str, **facts: object) -> None:
        """What happened, as it should."""
        self._write(logging.INFO, message, facts)

    def warning(self, message: str, **facts: object) -> None:
        """What should not happen, and what the node can live with."""
        self._write(logging.WARNING, message, facts)

    def error(self, message: str, *, cause: BaseException | None = None, **facts: object) -> None:
        """What somebody has to look at. With `cause`, its stack follows."""
        self._write(logging.ERROR, message, facts, cause)

    def _write(
        self,
        level: int,
        message: str,
        facts: dict[str, object],
        cause: BaseException | None = None,
    ) -> None:
        if self._logger.isEnabledFor(level):
            # Without arguments logging does not look for % in the message.
            self._logger.log(level, message, extra={"facts": facts}, exc_info=cause, stacklevel=3)


class PlainFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.123 INFO  stream: stream opened stream_id=7 epoch=3`."""

    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix(f"{ROOT}.")
        facts = "".join(f" {key}={plain(value)}" for key, value in facts_of(record).items())
        line = f"{stamp(record, ' ')} {record.levelname:<7} {name}: {record.getMessage()}{facts}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the facts, and error with its stack."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": stamp(record, "T") + "Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in facts_of(record).items():
            line[f"{key}_" if key in RESERVED else key] = value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up_logging(*, form: str, level: str, stream: TextIO = sys.stderr) -> None:
    """Send the lines of this process to `stream`, from `level` on, as "plain" text or as "json"."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(ROOT).setLevel(level.upper())
    logging.captureWarnings(capture=True)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


def stamp(record: logging.LogRecord, between: str) -> str:
    """When the line was written, UTC, to the millisecond."""
    seconds = time.gmtime(record.created)
    return time.strftime(f"%Y-%m-%d{between}%H:%M:%S", seconds) + f".{int(record.msecs):03d}"


def plain(value: object) -> str:
    """A value in a line of text: quoted if it holds a blank or a control character."""
    text = value if isinstance(value, str) else str(value)
    return text if text and PLAIN_VALUE.issuperset(text) else json.dumps(text, ensure_ascii=False)
