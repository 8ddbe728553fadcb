"""A configuration key: its name, its type, the rules for its values, and how they are read.

Parsing follows Kafka's ConfigDef to the letter (what is trimmed, what a list is, the ranges of
integers) and its messages are Kafka's, because tools and tests read them.
"""

import enum
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import msgspec

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | None
T_co = TypeVar("T_co", covariant=True)

HIDDEN: Final = "[hidden]"
LISTENER_PREFIX: Final = "listener.name."


class ValueType(enum.IntEnum):
    """Kafka's types of configuration values, by their number in DescribeConfigs."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


BITS: Final = {ValueType.SHORT: 16, ValueType.INT: 32, ValueType.LONG: 64}


class Importance(enum.Enum):
    """How much a reader of the documentation should care."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Dynamic(enum.Enum):
    """Whether a broker's value may change while it runs, and for whom."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"


class ConfigError(ValueError):
    """One line about one thing that is wrong: the key, the value, what would be right."""

    @classmethod
    def of(cls, name: str, value: object, why: str) -> "ConfigError":
        """In the words of Kafka's ConfigException."""
        return cls(f"Invalid value {value} for configuration {name}: {why}")


class Check(Protocol):
    """A rule for a parsed value; `str()` of it says in a few words what is valid."""

    def __call__(self, name: str, value: Value) -> None:
        """Raises ConfigError if `value` is not valid."""
        ...


class Setting(Protocol[T_co]):
    """Anything that names a key and knows the type of its values: what `get` takes."""

    @property
    def name(self) -> str: ...

    @property
    def type_of_value(self) -> T_co | None:
        """Only for the type checker; always None."""
        ...


class Key(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """A key with everything that is known about it. `default` is already parsed."""

    name: str
    value_type: ValueType
    default: Value = None
    required: bool = False
    checks: tuple[Check, ...] = ()
    importance: Importance = Importance.MEDIUM
    dynamic: Dynamic = Dynamic.READ_ONLY
    synonyms: tuple[str, ...] = ()
    internal: bool = False
    doc: str = ""
    honoured: bool = True

    @property
    def type_of_value(self) -> T_co | None:
        return None

    @property
    def sensitive(self) -> bool:
        """True for passwords, which are never shown."""
        return self.value_type is ValueType.PASSWORD

    def parse(self, text: str) -> Value:
        """The typed value of `text`, checked. Raises ConfigError."""
        value = parse_text(self.name, text, self.value_type)
        if isinstance(value, tuple) and any(getattr(c, "unique", False) for c in self.checks):
            value = tuple(dict.fromkeys(value))
        self.check(value)
        return value

    def check(self, value: Value) -> None:
        """Raises ConfigError if the parsed `value` breaks one of this key's rules."""
        for check in self.checks:
            check(self.name, value)

    @property
    def default_text(self) -> str | None:
        """The default as Kafka shows it; None when there is none."""
        return to_text(self.default)

    @property
    def valid_values(self) -> str:
        """The rules in a few words, for documentation; empty if everything of the type is valid."""
        return ", ".join(str(check) for check in self.checks)


def base_of_listener_key(name: str) -> str | None:
    """What follows `listener.name.<listener>.`; None if `name` does not start so."""
    if not name.startswith(LISTENER_PREFIX):
        return None
    _, dot, base = name.removeprefix(LISTENER_PREFIX).partition(".")
    return base if dot else None


def parse_text(name: str, text: str, kind: ValueType) -> Value:
    """`text` as a value of `kind`, as Kafka's ConfigDef.parseType. Raises ConfigError."""
    trimmed = text.strip()
    if kind is ValueType.BOOLEAN:
        return parse_boolean(name, text, trimmed.lower())
    if kind in BITS:
        return parse_integer(name, text, trimmed, kind)
    if kind is ValueType.DOUBLE:
        return parse_double(name, text, trimmed)
    if kind is ValueType.LIST:
        return tuple(item.strip() for item in trimmed.split(",")) if trimmed else ()
    return trimmed


def parse_boolean(name: str, text: str, lowered: str) -> bool:
    if lowered not in ("true", "false"):
        raise ConfigError.of(name, text, "Expected value to be either true or false")
    return lowered == "true"


def parse_integer(name: str, text: str, trimmed: str, kind: ValueType) -> int:
    limit = 1 << (BITS[kind] - 1)
    # Ten digits more than any type holds: int() of a megabyte of digits is a way to stall a broker.
    digits = trimmed[1:] if trimmed[:1] in ("+", "-") else trimmed
    if len(digits) <= 30 and digits.isascii() and digits.isdigit():
        number = int(trimmed)
        if -limit <= number < limit:
            return number
    raise ConfigError.of(name, text, f"Not a number of type {kind.name}")


def parse_double(name: str, text: str, trimmed: str) -> float:
    try:
        return float(trimmed)
    except ValueError:
        raise ConfigError.of(name, text, "Not a number of type DOUBLE") from None


def to_text(value: Value) -> str | None:
    """A parsed value as Kafka writes it (Java's notation for numbers)."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return java_double(value)
    return str(value)


def java_double(value: float) -> str:
    """As Java's Double.toString writes it: 0.5, 1.7976931348623157E308, 1.0E-4."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(value)]
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int), value
    first, rest = digits[0], "".join(map(str, digits[1:])) or "0"
    return f"{'-' * sign}{first}.{rest}E{exponent + len(digits) - 1}"


class Range(msgspec.Struct, frozen=True):
    """A number from `least` to `most`, both included; None leaves a side open."""

    least: float | None = None
    most: float | None = None

    def __call__(self, name: str, value: Value) -> None:
        if value is None:
            raise ConfigError.of(name, "null", "Value must be non-null")
        assert isinstance(value, int | float), value
        if self.least is not None and value < self.least:
            raise ConfigError.of(name, to_text(value), f"Value must be at least {self.least}")
        if self.most is not None and value > self.most:
            raise ConfigError.of(name, to_text(value), f"Value must be no more than {self.most}")

    def __str__(self) -> str:
        ends = (self.least, "...", self.most)
        return "[" + ",".join(str(end) for end in ends if end is not None) + "]"


class RangeOr(msgspec.Struct, frozen=True):
    """A number from `least` to `most`, or `other` (gzip's levels and -1)."""

    least: int
    most: int
    other: int

    def __call__(self, name: str, value: Value) -> None:
        if not (
            isinstance(value, int) and (self.least <= value <= self.most or value == self.other)
        ):
            wanted = f"Value must be between {self.least} and {self.most} or equal to {self.other}"
            raise ConfigError.of(name, to_text(value), wanted)

    def __str__(self) -> str:
        return f"[{self.least},...,{self.most}] or {self.other}"


class OneOf(msgspec.Struct, frozen=True):
    """One of some words; with `any_case`, however they are spelt."""

    words: tuple[str, ...]
    any_case: bool = False

    def __call__(self, name: str, value: Value) -> None:
        known = value in self.words
        if self.any_case and isinstance(value, str):
            known = value.upper() in {word.upper() for word in self.words}
        if not known:
            how = " (case insensitive)" if self.any_case else ""
            raise ConfigError.of(
                name, to_text(value), f"String must be one of{how}: {', '.join(self.words)}"
            )

    def __str__(self) -> str:
        return ("(case insensitive) " if self.any_case else "") + f"[{', '.join(self.words)}]"


class ListOf(msgspec.Struct, frozen=True):
    """A list of words, each once, none empty. Doubles are dropped when the value is parsed."""

    words: tuple[str, ...] = ()
    may_be_empty: bool = True
    may_be_null: bool = False
    unique: bool = True

    def __call__(self, name: str, value: Value) -> None:
        if value is None:
            if not self.may_be_null:
                raise ConfigError(f"Configuration '{name}' values must not be null.")
            return
        assert isinstance(value, tuple), value
        if not value and not self.may_be_empty:
            valid = f"[{', '.join(self.words)}]" if self.words else "any non-empty value"
            raise ConfigError(
                f"Configuration '{name}' must not be empty. Valid values include: {valid}"
            )
        self.check_items(name, value)

    def check_items(self, name: str, items: Sequence[str]) -> None:
        for item in items:
            if not item:
                raise ConfigError(f"Configuration '{name}' values must not be empty.")
            if self.words:
                OneOf(self.words)(name, item)

    def __str__(self) -> str:
        if self.words:
            return f"[{', '.join(self.words)}]"
        return "" if self.may_be_empty else "non-empty list"


class NonEmpty(msgspec.Struct, frozen=True):
    """A string with something in it (or none at all)."""

    def __call__(self, name: str, value: Value) -> None:
        if value == "":
            raise ConfigError.of(name, value, "String must be non-empty")

    def __str__(self) -> str:
        return "non-empty string"


class Matches(msgspec.Struct, frozen=True):
    """Every item of a list (or the string) has the form of `pattern`, which `form` tells people."""

    pattern: str
    form: str
    why: str

    def __call__(self, name: str, value: Value) -> None:
        items = value if isinstance(value, tuple) else () if value is None else (str(value),)
        if not all(re.fullmatch(self.pattern, item) for item in items):
            shown = f"[{', '.join(items)}]" if isinstance(value, tuple) else value
            raise ConfigError.of(name, shown, self.why.format(name=name, value=value))

    def __str__(self) -> str:
        return self.form
