"""Fixed work for the native core, under callgrind: `python -m benches.counted` (see `counts`).

Each piece of work runs a few times to warm up, then in `WINDOWS` of `TIMES` with a call of getppid
before, between and after them, where callgrind writes its counters down and starts again at zero.
The names go to standard output in the same order. Nothing here may depend on time or chance.
"""

import gc
import importlib
import os
import re
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from automq import _native
from automq._native import Buf, LogCache, UnencodableMessage, WalBatch
from automq.broker.dispatch import Api, load_apis

WARM_UP_TIMES = 20
# What happens once in a while (an arena of the allocator) is seldom in each window.
WINDOWS = 3
TIMES = 50
ELEMENTS = 2
RECORDS = 15
RECORD_BYTES = 1024
NOW_MS = 1_700_000_000_000
CLUSTER_ID = bytes(16)
CACHE_BYTES = 1 << 30
FETCH_BYTES = 1 << 20
WAL_RECORDS = 64

Work = Callable[[], object]


def main() -> None:
    """Do all of it, each piece between two marks."""
    gc.disable()
    # The first mark ends what starting took.
    for name, work in all_work():
        repeat(work, WARM_UP_TIMES)
        os.getppid()
        for _ in range(WINDOWS):
            repeat(work, TIMES)
            os.getppid()
        print(name)


def repeat(work: Work, times: int) -> None:
    for _ in range(times):
        work()


def all_work() -> Iterator[tuple[str, Work]]:
    """Every piece of work by its name."""
    for api in sorted(load_apis().values(), key=lambda api: api.key):
        yield from codec_work(api)
    yield from batch_work()
    yield from cache_work()
    yield from wal_work()


# -- the codec


def codec_work(api: Api) -> Iterator[tuple[str, Work]]:
    """A request decoded and a response encoded, at the newest version that is advertised."""
    version = api.last_version
    request, response = sample(api.request, version), sample(api.response, version)
    frame = Buf(_native.encode_message(request, version))
    yield f"decode {api.name}Request", lambda: _native.decode_message(api.request, frame, version)
    yield (
        f"encode {api.name}Response",
        lambda: _native.encode_response(response, version, 1),
    )


def sample(cls: type, version: int) -> Any:
    """A message with something in every field that the version has."""
    dropped: set[str] = set()
    while True:
        message = filled(cls, dropped)
        try:
            _native.encode_message(message, version)
        except UnencodableMessage as refused:
            field = re.split(r"[.\[]", re.sub(r"\[\d+\]$", "", str(refused.args[0])))[-1]
            if field in dropped:
                raise
            dropped.add(field)
        else:
            return message


def filled(cls: type, dropped: set[str]) -> Any:
    """An instance with `ELEMENTS` in each array; the fields that are dropped stay at default."""
    module = vars(importlib.import_module(cls.__module__))
    hints = get_type_hints(cls, {**module, "Buf": Buf})
    values = {
        name: value_of(hints[name], name, dropped)
        for name in cls.__struct_fields__  # type: ignore[attr-defined]
        if name not in dropped and name != "unknown_tagged_fields"
    }
    return cls(**values)


def value_of(hint: Any, name: str, dropped: set[str]) -> Any:
    if get_origin(hint) in (UnionType, Union):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is list:
        return [value_of(get_args(hint)[0], name, dropped) for _ in range(ELEMENTS)]
    if issubclass(hint, msgspec.Struct):
        return filled(hint, dropped)
    if hint is bytes:
        return bytes(range(16))
    if hint is Buf:
        return batch()
    return {str: f"a {name}", bool: True, int: 1, float: 1.0}[hint]


# -- batches, the log cache, the WAL


def batch(records: int = RECORDS, codec: str = "none") -> Buf:
    """A batch as a producer sends it: values of 1 KiB that do not repeat."""
    values = [bytes((at * 7 + byte) % 251 for byte in range(RECORD_BYTES)) for at in range(records)]
    return _native.build_batch([(NOW_MS, None, value, ()) for value in values], codec=codec)


def batch_work() -> Iterator[tuple[str, Work]]:
    rules = _native.ProduceRules(batch_bytes_max=1 << 20)
    compacted = _native.ProduceRules(batch_bytes_max=1 << 20, compacted=True)
    small, large = batch(1), batch()
    keyed = _native.build_batch([(NOW_MS, b"key %d" % at, b"value", ()) for at in range(RECORDS)])
    packed = batch(codec="lz4")
    yield "check a batch of 1 KiB", lambda: _native.check_produce(small, rules, NOW_MS, 9)
    yield "check a batch of 15 KiB", lambda: _native.check_produce(large, rules, NOW_MS, 9)
    yield (
        "check a batch of a compacted topic",
        lambda: _native.check_produce(keyed, compacted, NOW_MS, 9),
    )
    yield "check an lz4 batch of 15 KiB", lambda: _native.check_produce(packed, rules, NOW_MS, 9)
    yield "stamp a batch", lambda: _native.stamp(large, 5, 1)


def cache_work() -> Iterator[tuple[str, Work]]:
    for name, records in (("1 KiB", 1), ("15 KiB", RECORDS)):
        appender = Appender(batch(records), records)
        yield f"append {name} to the log cache", appender.append
    reader = Appender(batch(), RECORDS)
    repeat(reader.append, WARM_UP_TIMES)
    end = reader.next_offset
    yield (
        f"read {WARM_UP_TIMES} batches of 15 KiB from the log cache",
        lambda: reader.cache.read(1, 0, end, FETCH_BYTES, at_least_one=True),
    )


class Appender:
    """Batches appended one after another to one stream of a log cache."""

    def __init__(self, payload: Buf, records: int) -> None:
        self.cache = LogCache(bytes_max=CACHE_BYTES)
        self.payload, self.records = payload, records
        self.next_offset = 0

    def append(self) -> None:
        start, end = self.next_offset, self.next_offset + self.records
        _native.stamp(self.payload, start, 1)
        self.cache.append(1, start, end - 1, NOW_MS, self.payload)
        self.next_offset = end


def wal_work() -> Iterator[tuple[str, Work]]:
    for name, payload in (("1 KiB", batch(1)), ("15 KiB", batch())):
        yield f"encode {WAL_RECORDS} WAL records of {name}", wal_encoding(payload)


def wal_encoding(payload: Buf) -> Work:
    def encode() -> None:
        records = WalBatch()
        for number in range(WAL_RECORDS):
            records.append(1, 1, number, number, payload)
        records.encode(
            "batch",
            wal_id=1,
            number=1,
            cluster_id=CLUSTER_ID,
            nonce=CLUSTER_ID,
            node_id=1,
            node_epoch=1,
        )

    return encode


if __name__ == "__main__":
    main()
