"""The types of record fields, and how each is written and read.

A field's annotation is its type for the reader of the code and, through `Annotated`, its encoding:
`start: Int64`, `replicas: tuple[Int32, ...]`, `listeners: tuple[NodeListener, ...]`. Integers are
big-endian; a string, bytes or an array begin with an unsigned varint of the length plus one (0 is
null, where the type allows it), as in Kafka's flexible versions.
"""

import struct
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

from automq._native import Columns


class DamagedRecord(ValueError):
    """Bytes are not the record that they should be. The message says where and why."""


class Reader:
    """Reads from bytes that came from outside: never past the end."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises DamagedRecord when there are fewer."""
        start, self.at = self.at, self.at + count
        if self.at > self.end:
            raise DamagedRecord(f"the bytes end at {self.end}, {count} are missing from {start}")
        return self.data[start : self.at]

    def varint(self) -> int:
        value = shift = 0
        while shift < 35:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise DamagedRecord(f"a length of more than 32 bits at {self.at}")


def write_varint(out: bytearray, value: int) -> None:
    """Appends an unsigned varint."""
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


class Kind(Protocol):
    """How a field's values are written and read. `name` is for the reference."""

    @property
    def name(self) -> str: ...
    def write(self, out: bytearray, value: Any) -> None: ...
    def read(self, source: Reader) -> Any: ...


class Fixed:
    """A number of fixed size, by its `struct` format."""

    def __init__(self, name: str, layout: str) -> None:
        self.name = name
        self._layout = struct.Struct(">" + layout)

    def write(self, out: bytearray, value: float) -> None:
        out += self._layout.pack(value)

    def read(self, source: Reader) -> Any:
        return self._layout.unpack(source.take(self._layout.size))[0]


class Maybe:
    """A value or null: one byte tells."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.name = f"{kind.name}?"

    def write(self, out: bytearray, value: Any) -> None:
        out.append(0 if value is None else 1)
        if value is not None:
            self._kind.write(out, value)

    def read(self, source: Reader) -> Any:
        return self._kind.read(source) if Flag().read(source) else None


class OneOf:
    """A value of an IntEnum, as one byte."""

    def __init__(self, values: type[IntEnum]) -> None:
        self.values = values
        self.name = f"int8 ({', '.join(f'{value.value} {value.name.lower()}' for value in values)})"

    def write(self, out: bytearray, value: int) -> None:
        out += value.to_bytes(1, "big", signed=True)

    def read(self, source: Reader) -> IntEnum:
        code = int.from_bytes(source.take(1), "big", signed=True)
        try:
            return self.values(code)
        except ValueError:
            raise DamagedRecord(f"{code} is no {self.values.__name__}") from None


class Raw:
    """Bytes of a fixed length."""

    def __init__(self, name: str, length: int) -> None:
        self.name = name
        self._length = length

    def write(self, out: bytearray, value: bytes) -> None:
        assert len(value) == self._length, value
        out += value

    def read(self, source: Reader) -> bytes:
        return source.take(self._length)


class Blob:
    """Bytes of any length."""

    name = "bytes"

    def write(self, out: bytearray, value: bytes) -> None:
        write_varint(out, len(value) + 1)
        out += value

    def read(self, source: Reader) -> bytes:
        length = source.varint()
        if length == 0:
            raise DamagedRecord(f"null where bytes belong, at {source.at}")
        return source.take(length - 1)


class Text:
    """UTF-8; may be null if the field says so."""

    def __init__(self, *, nullable: bool) -> None:
        self._nullable = nullable
        self.name = "string?" if nullable else "string"

    def write(self, out: bytearray, value: str | None) -> None:
        if value is None:
            assert self._nullable
            out.append(0)
            return
        encoded = value.encode()
        write_varint(out, len(encoded) + 1)
        out += encoded

    def read(self, source: Reader) -> str | None:
        length = source.varint()
        if length == 0:
            if self._nullable:
                return None
            raise DamagedRecord(f"null where a string belongs, at {source.at}")
        try:
            return source.take(length - 1).decode()
        except UnicodeDecodeError as why:
            raise DamagedRecord(f"a string before {source.at} is not UTF-8: {why}") from None


class Flag:
    """One byte, 0 or 1."""

    name = "bool"

    def write(self, out: bytearray, value: bool) -> None:
        out.append(1 if value else 0)

    def read(self, source: Reader) -> bool:
        code = source.take(1)[0]
        if code > 1:
            raise DamagedRecord(f"{code} is no bool, at {source.at - 1}")
        return code == 1


class Rows:
    """Native `Columns` with these names, packed."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.name = f"columns ({', '.join(names)})"

    def write(self, out: bytearray, value: Columns) -> None:
        assert value.width == len(self.names), (value.width, self.names)
        packed = value.packed
        write_varint(out, len(packed))
        out += packed

    def read(self, source: Reader) -> Columns:
        packed = source.take(source.varint())
        try:
            columns = Columns.parse(packed)
        except ValueError as why:
            raise DamagedRecord(f"before {source.at}: {why}") from None
        if columns.width != len(self.names):
            raise DamagedRecord(f"{columns.width} columns where {len(self.names)} belong")
        return columns


class Many:
    """An array."""

    def __init__(self, item: Kind) -> None:
        self.item = item
        self.name = f"[{item.name}]"

    def write(self, out: bytearray, value: tuple[Any, ...]) -> None:
        write_varint(out, len(value) + 1)
        for item in value:
            self.item.write(out, item)

    def read(self, source: Reader) -> tuple[Any, ...]:
        count = source.varint()
        if count == 0 or count - 1 > source.end - source.at:
            raise DamagedRecord(f"an array of {count - 1} items at {source.at}")
        return tuple(self.item.read(source) for _ in range(count - 1))


class Whole:
    """A dataclass: its fields, one after the other."""

    def __init__(self, cls: type, kinds: Mapping[str, Kind]) -> None:
        self.cls = cls
        self.kinds = kinds
        self.name = "{" + ", ".join(f"{name} {kind.name}" for name, kind in kinds.items()) + "}"

    def write(self, out: bytearray, value: Any) -> None:
        for name, kind in self.kinds.items():
            kind.write(out, getattr(value, name))

    def read(self, source: Reader) -> Any:
        return self.cls(*[kind.read(source) for kind in self.kinds.values()])


def kinds_of(cls: type) -> Whole:
    """How a dataclass is written, from its annotations. Raises TypeError for those without."""
    assert is_dataclass(cls), cls
    hints = get_type_hints(cls, include_extras=True)
    return Whole(cls, {field.name: _kind_of(hints[field.name]) for field in fields(cls)})


def _kind_of(hint: Any) -> Kind:
    origin = get_origin(hint)
    if origin is Annotated:
        kind: Kind = get_args(hint)[1]
        return kind
    if origin is tuple:
        item, more = get_args(hint)
        if isinstance(more, types.EllipsisType):
            return Many(_kind_of(item))
    if isinstance(hint, type) and is_dataclass(hint):
        return kinds_of(hint)
    raise TypeError(f"{hint!r} says not how it is written")


Int8 = Annotated[int, Fixed("int8", "b")]
Int16 = Annotated[int, Fixed("int16", "h")]
UInt16 = Annotated[int, Fixed("uint16", "H")]
Int32 = Annotated[int, Fixed("int32", "i")]
Int64 = Annotated[int, Fixed("int64", "q")]
Float64 = Annotated[float, Fixed("float64", "d")]
NullableFloat64 = Annotated[float | None, Maybe(Fixed("float64", "d"))]
Bool = Annotated[bool, Flag()]
Uuid = Annotated[bytes, Raw("uuid", 16)]
Bytes16 = Annotated[bytes, Raw("bytes16", 16)]
Bytes = Annotated[bytes, Blob()]
String = Annotated[str, Text(nullable=False)]
NullableString = Annotated[str | None, Text(nullable=True)]
