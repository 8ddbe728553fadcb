"""Java's properties syntax, as Kafka's configuration files have it."""

from collections.abc import Iterator

import msgspec

from automq.config.key import ConfigError

BLANK = " \t\f"
ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Property(msgspec.Struct, frozen=True):
    """One `key=value` and the number of the line it starts on."""

    name: str
    value: str
    line: int


def parse_properties(text: str) -> list[Property]:
    """The properties in `text`, in order, repeated keys included (for Kafka the last one counts).

    Comments (# or !), continuation lines, `=`, `:` or blanks between key and value, and the escapes
    of java.util.Properties. Raises ConfigError for a damaged unicode escape.
    """
    return [split_property(line, number) for number, line in logical_lines(text)]


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined, without comments and empty ones."""
    whole, start, continued = "", 0, False
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        part = line.lstrip(BLANK)
        if not continued:
            if not part or part[0] in "#!":
                continue
            whole, start = "", number
        backslashes = len(part) - len(part.rstrip("\\"))
        continued = backslashes % 2 == 1
        whole += part[:-1] if continued else part
        if not continued:
            yield start, whole
    if continued:
        yield start, whole


def split_property(line: str, number: int) -> Property:
    end = key_end(line)
    rest = line[end:].lstrip(BLANK)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(BLANK)
    return Property(unescape(line[:end], number), unescape(rest, number), number)


def key_end(line: str) -> int:
    """Where the key ends: at the first unescaped `=`, `:` or blank."""
    at = 0
    while at < len(line):
        if line[at] == "\\":
            at += 1
        elif line[at] in "=:" + BLANK:
            return at
        at += 1
    return len(line)


def unescape(text: str, number: int) -> str:
    if "\\" not in text:
        return text
    parts, at = [], 0
    while at < len(text):
        if text[at] != "\\" or at + 1 == len(text):
            parts.append(text[at])
            at += 1
        elif text[at + 1] == "u":
            parts.append(unicode_escape(text[at + 2 : at + 6], number))
            at += 6
        else:
            parts.append(ESCAPES.get(text[at + 1], text[at + 1]))
            at += 2
    return "".join(parts)


def unicode_escape(digits: str, number: int) -> str:
    try:
        if len(digits) < 4:
            raise ValueError
        return chr(int(digits, 16))
    except ValueError:
        wanted = "expected four hexadecimal digits after \\u"
        raise ConfigError(f"line {number}: \\u{digits}: {wanted}") from None
