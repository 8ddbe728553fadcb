"""Messages beside what Apache Kafka's own classes make of them."""

import importlib
import json
import lzma
import random
import re
import types
import typing
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from automq._native import Buf
from automq.protocol.codec import UnencodableMessage, decode, encode

VECTORS = Path(__file__).resolve().parent.parent / "protocol/vectors/messages.jsonl.xz"
TEXTS = ["", "a", "topic-1", "über", "中文", "😀", "nul\0", "long" * 50]


@dataclass(frozen=True, slots=True)
class Vector:
    """A message's bytes, and its value as JSON has it (bytes are `{"$": hex}`)."""

    message: str
    version: int
    data: bytes
    value: Any


def snake_case(name: str) -> str:
    """Kafka's name as our classes spell it."""
    name = name.replace("KRaft", "Kraft").replace("kRaft", "kraft")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@cache
def message_class(name: str) -> type[Any]:
    """The class of a message, by Kafka's name."""
    module = importlib.import_module(f"automq.protocol.messages.{snake_case(name)}")
    found = vars(module)[name]
    assert isinstance(found, type)
    return found


@cache
def recorded() -> dict[str, list[Vector]]:
    """The checked-in vectors, by message (see `tools/make_vectors.py`)."""
    by_message = defaultdict(list)
    for line in lzma.decompress(VECTORS.read_bytes()).decode().splitlines():
        vector = parse(line)
        by_message[vector.message].append(vector)
    return dict(by_message)


def parse(line: str) -> Vector:
    """A line of the Java program, with the names of the fields as ours."""
    raw = json.loads(line, object_hook=lambda each: {snake_case(key): each[key] for key in each})
    return Vector(raw["message"], raw["version"], bytes.fromhex(raw["bytes"]), raw["value"])


def as_json(value: Any) -> Any:
    """A message as the vectors have it."""
    if isinstance(value, msgspec.Struct):
        pairs = {name: as_json(getattr(value, name)) for name in value.__struct_fields__}
        if pairs.get("unknown_tagged_fields", "") is None:
            del pairs["unknown_tagged_fields"]
        return pairs
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, bytes | Buf):
        return {"$": bytes(value).hex()}
    return value


def difference(vector: Vector) -> str | None:
    """How we differ from Apache: in the values we read, or in the bytes we write of them."""
    cls = message_class(vector.message)
    decoded = decode(cls, Buf(vector.data), vector.version)
    if (found := as_json(decoded)) != vector.value:
        return f"reads {found}, not {vector.value}"
    if (written := encode(decoded, vector.version)) != vector.data:
        return f"writes {written.hex()}, not {vector.data.hex()}"
    return None


@dataclass(slots=True)
class Limits:
    """What the codec has told about the fields of a message in a version, by path."""

    absent: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    uuids: set[str] = field(default_factory=set)
    lowest: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)

    def learn(self, path: str, why: str) -> None:
        """Takes a refusal to heart; raises what it does not understand."""
        if "is not in version" in why:
            self.absent.add(path)
        elif why == "must not be None":
            self.present.add(path)
        elif why.startswith("a uuid is 16 bytes"):
            self.uuids.add(path)
        elif match := re.fullmatch(r"(-?\d+) does not fit in (\d) bytes", why):
            value, half = int(match[1]), 1 << (8 * int(match[2]) - 1)
            if value > 0:
                self.highest[path] = half - 1
            else:
                self.lowest[path] = -half if value < -half else 0
        elif why.endswith("has no tagged fields"):
            self.absent.add("unknown")
        else:
            raise AssertionError(f"{path}: {why}")


def random_message(cls: type[Any], version: int, chance: random.Random) -> Any:
    """A message that can be encoded in `version`, learned from what the codec refuses."""
    limits = Limits()
    while True:
        message = random_value(cls, cls.__name__, limits, chance)
        try:
            encode(message, version)
        except UnencodableMessage as refusal:
            limits.learn(*refusal.args)
        else:
            return message


def random_struct(cls: type[Any], path: str, limits: Limits, chance: random.Random) -> Any:
    hints = typing.get_type_hints(cls, localns={"Buf": Buf})
    values = {
        name: random_value(hints[name], f"{path}.{name}", limits, chance)
        for name in cls.__struct_fields__
        if name != "unknown_tagged_fields" and f"{path}.{name}" not in limits.absent
    }
    flexible = "unknown_tagged_fields" in cls.__struct_fields__ and "unknown" not in limits.absent
    if flexible and chance.random() < 0.2:
        values["unknown_tagged_fields"] = [(50, b"x"), (5000, b"")]
    return cls(**values)


def random_value(hint: Any, path: str, limits: Limits, chance: random.Random) -> Any:
    if isinstance(hint, types.UnionType):
        options = [each for each in typing.get_args(hint) if each is not types.NoneType]
        if path not in limits.present and chance.random() < 0.3:
            return None
        return random_value(options[0], path, limits, chance)
    if typing.get_origin(hint) is list:
        (element,) = typing.get_args(hint)
        return [random_value(element, path, limits, chance) for _ in range(chance.randrange(3))]
    if issubclass(hint, msgspec.Struct):
        return random_struct(hint, path, limits, chance)
    if hint is int:
        low, high = limits.lowest.get(path, -(2**63)), limits.highest.get(path, 2**63 - 1)
        return chance.choice([low, high, max(low, -1), 0, chance.randint(low, high)])
    if hint is bytes and path in limits.uuids:
        return chance.randbytes(16)
    if hint in {bytes, Buf}:
        return hint(chance.randbytes(chance.choice([0, 1, 7, 200])))
    options_of: dict[Any, list[Any]] = {str: TEXTS, bool: [True, False], float: [0.0, -1.5, 1e300]}
    return chance.choice(options_of[hint])


def random_vectors(names: list[str], seed: int) -> Iterator[Vector]:
    """Messages of every version from our side."""
    chance = random.Random(seed)
    for name in names:
        cls = message_class(name)
        first, last = cls.VALID_VERSIONS
        for version in range(first, last + 1):
            data = encode(random_message(cls, version, chance), version)
            yield Vector(name, version, data, as_json(decode(cls, data, version)))
