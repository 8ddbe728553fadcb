"""`@record`: a class becomes a record type; the registry of all; records to bytes and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from automq.metadata.fields import DamagedRecord, Reader, Whole, kinds_of, write_varint

STORAGE_FROM = 1000
"""Keys below belong to the cluster part (pushed to all), from here on to the storage part."""

METADATA_VERSION = "metadata.version"


class UnknownRecord(Exception):
    """A record that this version of automq does not know: the node must not go on."""

    def __init__(self, key: int, version: int, *, where: str = "") -> None:
        inside = f"{where}: " if where else ""
        super().__init__(
            f"{inside}record key {key} version {version} is not known to this version of automq: "
            "start a newer one"
        )
        self.key = key
        self.version = version


class RecordTooNew(Exception):
    """A record above the finalized metadata.version: not all nodes know it."""


class Record(Protocol):
    """One fact that is now so. `apply` puts it into the part of the image that its key names."""

    def apply(self, image: Any, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Spec:
    """What the registry knows of a record type. `since` is the metadata.version that allows it."""

    key: int
    version: int
    since: int
    cls: type[Any]
    body: Whole

    @property
    def is_cluster(self) -> bool:
        return self.key < STORAGE_FROM


_BY_KEY: dict[tuple[int, int], Spec] = {}
_BY_CLASS: dict[type[Any], Spec] = {}

T = TypeVar("T")


def record(*, key: int, version: int = 0, since: int = 1) -> Callable[[type[T]], type[T]]:
    """Registers a frozen dataclass under a key and version that no other has."""

    def register(cls: type[T]) -> type[T]:
        assert (key, version) not in _BY_KEY, f"two records have key {key} version {version}"
        spec = Spec(key, version, since, cls, kinds_of(cls))
        _BY_KEY[key, version] = _BY_CLASS[cls] = spec
        return cls

    return register


def spec_of(entry: Record) -> Spec:
    """The spec of a record."""
    return _BY_CLASS[type(entry)]


def is_cluster(entry: Record) -> bool:
    """Whether brokers follow it."""
    return _BY_CLASS[type(entry)].key < STORAGE_FROM


def specs() -> list[Spec]:
    """All record types, by key and version."""
    return [spec for _, spec in sorted(_BY_KEY.items())]


def encode(records: Iterable[Record], out: bytearray) -> None:
    """Appends records: key, version, length, body."""
    for entry in records:
        spec = _BY_CLASS[type(entry)]
        body = bytearray()
        spec.body.write(body, entry)
        out += spec.key.to_bytes(2, "big")
        out.append(spec.version)
        write_varint(out, len(body))
        out += body


def decode(source: Reader) -> Iterator[Record]:
    """The records up to the reader's end. Raises DamagedRecord, UnknownRecord."""
    while source.at < source.end:
        start = source.at
        key = int.from_bytes(source.take(2), "big")
        version = source.take(1)[0]
        length = source.varint()
        spec = _BY_KEY.get((key, version))
        if spec is None:
            raise UnknownRecord(key, version)
        body = Reader(source.data, source.at, source.at + length)
        if body.end > source.end:
            raise DamagedRecord(f"the record at {start} reaches past the end, {source.end}")
        try:
            entry: Record = spec.body.read(body)
        except DamagedRecord as why:
            raise DamagedRecord(f"{spec.cls.__name__} at {start}: {why}") from None
        if body.at != body.end:
            raise DamagedRecord(f"{spec.cls.__name__} at {start}: bytes behind its last field")
        source.at = body.end
        yield entry


def check_version(records: Iterable[Record], level: int) -> None:
    """Raises RecordTooNew for what the finalized metadata.version does not allow."""
    for entry in records:
        spec = _BY_CLASS[type(entry)]
        if spec.since > level:
            raise RecordTooNew(
                f"{spec.cls.__name__} needs {METADATA_VERSION} {spec.since}, finalized is {level}"
            )
