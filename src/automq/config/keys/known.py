"""How our code names one of Kafka's keys: the name, the type it expects, and what the key does
here.
"""

from typing import Generic, TypeVar

import msgspec

from automq.config.key import ValueType

T_co = TypeVar("T_co", covariant=True)


class Known(msgspec.Struct, Generic[T_co], frozen=True):
    """One of Kafka's broker keys that is honoured here. `types` are those its fact may have."""

    name: str
    doc: str
    types: tuple[ValueType, ...]
    may_be_null: bool = False

    @property
    def type_of_value(self) -> T_co | None:
        return None


WHOLE_NUMBERS = (ValueType.SHORT, ValueType.INT, ValueType.LONG)


def number(name: str, doc: str) -> Known[int]:
    return Known(name, doc, WHOLE_NUMBERS)


def optional_number(name: str, doc: str) -> Known[int | None]:
    return Known(name, doc, WHOLE_NUMBERS, may_be_null=True)


def boolean(name: str, doc: str) -> Known[bool]:
    return Known(name, doc, (ValueType.BOOLEAN,))


def text(name: str, doc: str) -> Known[str]:
    return Known(name, doc, (ValueType.STRING, ValueType.CLASS))


def optional_text(name: str, doc: str) -> Known[str | None]:
    return Known(name, doc, (ValueType.STRING, ValueType.CLASS), may_be_null=True)


def words(name: str, doc: str) -> Known[tuple[str, ...]]:
    return Known(name, doc, (ValueType.LIST,))


def optional_words(name: str, doc: str) -> Known[tuple[str, ...] | None]:
    return Known(name, doc, (ValueType.LIST,), may_be_null=True)
