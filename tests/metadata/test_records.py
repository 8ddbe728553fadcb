"""Every record type: bytes and back, and what damaged bytes do."""

from contextlib import suppress
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automq._native import Columns
from automq.metadata import fields
from automq.metadata.fields import DamagedRecord, Kind, Reader, Whole
from automq.metadata.records import RecordTooNew, UnknownRecord, check_version, decode, encode
from automq.metadata.records.cluster import ClusterCreated, FeatureSet
from automq.metadata.records.registry import STORAGE_FROM, Spec, specs

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "int8": st.integers(-128, 127),
    "int16": st.integers(-(1 << 15), (1 << 15) - 1),
    "uint16": st.integers(0, (1 << 16) - 1),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64": INT64,
    "float64": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "uuid": st.binary(min_size=16, max_size=16),
    "bytes16": st.binary(min_size=16, max_size=16),
    "bytes": st.binary(max_size=40),
    "string": st.text(max_size=20),
    "string?": st.none() | st.text(max_size=20),
    "float64?": st.none() | st.floats(allow_nan=False),
}


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    match kind:
        case Whole():
            return st.builds(kind.cls, *[values_of(it) for it in kind.kinds.values()])
        case fields.Many():
            return st.lists(values_of(kind.item), max_size=4).map(tuple)
        case fields.OneOf():
            return st.sampled_from(list[IntEnum](kind.values))
        case fields.Rows():
            width = len(kind.names)
            rows = st.lists(st.lists(INT64, min_size=width, max_size=width), max_size=5)
            return rows.map(lambda it: Columns(*([row[at] for row in it] for at in range(width))))
    return SCALARS[kind.name]


ANY_SPEC = st.sampled_from(specs())


def of_spec(spec: Spec) -> st.SearchStrategy[Any]:
    return values_of(spec.body)


@given(ANY_SPEC.flatmap(of_spec))
@settings(max_examples=200, deadline=None)
def test_a_record_is_read_back_as_it_was_written(record: Any) -> None:
    out = bytearray()
    encode([record, record], out)

    assert list(decode(Reader(bytes(out)))) == [record, record]


@given(ANY_SPEC.flatmap(of_spec), st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_refused_or_read_and_nothing_else(
    record: Any, data: st.DataObject
) -> None:
    out = bytearray()
    encode([record], out)
    at = data.draw(st.integers(0, len(out) - 1))
    out[at] ^= data.draw(st.integers(1, 255))
    with suppress(DamagedRecord, UnknownRecord):
        list(decode(Reader(bytes(out))))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with suppress(DamagedRecord, UnknownRecord):
        list(decode(Reader(data)))


def test_bytes_behind_the_last_field_are_damage() -> None:
    with pytest.raises(DamagedRecord, match="FeatureSet at 0: bytes behind its last field"):
        list(decode(Reader(b"\x00\x04\x00\x05\x02a\x00\x01\xff")))


def test_an_unknown_key_stops_with_one_clear_line() -> None:
    with pytest.raises(UnknownRecord, match="record key 999 version 1 is not known"):
        list(decode(Reader(b"\x03\xe7\x01\x00")))


def test_nothing_above_the_finalized_version_is_written() -> None:
    check_version([ClusterCreated(bytes(16), 0, 1)], level=1)
    with pytest.raises(RecordTooNew, match=r"FeatureSet needs metadata.version 1, finalized is 0"):
        check_version([FeatureSet("a", 1)], level=0)


def test_keys_are_those_of_the_design() -> None:
    keys = {(spec.key, spec.cls.__name__) for spec in specs()}

    assert {(1, "ClusterCreated"), (2, "ControllerElected"), (1021, "ObjectCommitted")} <= keys
    assert all((spec.key < STORAGE_FROM) == spec.is_cluster for spec in specs())
