"""Java's properties syntax."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automq.config import ConfigError
from automq.config.properties import parse_properties


def pairs(text: str) -> list[tuple[str, str]]:
    return [(item.name, item.value) for item in parse_properties(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", [("a", "b")]),
        ("a = b ", [("a", "b ")]),
        ("a:b", [("a", "b")]),
        ("a b c", [("a", "b c")]),
        ("a\t=\tb", [("a", "b")]),
        ("a", [("a", "")]),
        ("a=", [("a", "")]),
        ("=b", [("", "b")]),
        ("a=b=c", [("a", "b=c")]),
        ("# x\n! y\n\n  \na=b", [("a", "b")]),
        ("a=b\\\n   c\nd=e", [("a", "bc"), ("d", "e")]),
        ("a=b\\\\\nc=d", [("a", "b\\"), ("c", "d")]),
        ("a=b,\\\n# not a comment", [("a", "b,# not a comment")]),
        ("a=b\\", [("a", "b")]),
        ("a\\ b=c", [("a b", "c")]),
        ("a\\=b=c", [("a=b", "c")]),
        ("a=\\u0041\\tx\\qy", [("a", "A\txqy")]),
        ("a=1\r\nb=2\rc=3", [("a", "1"), ("b", "2"), ("c", "3")]),
        ("\\\na=b", [("a", "b")]),
    ],
)
def test_lines_are_read_as_java_reads_them(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


def test_a_property_knows_the_line_it_starts_on() -> None:
    assert [item.line for item in parse_properties("#\na=b\\\nc\n\nd=e")] == [2, 5]


def test_a_damaged_unicode_escape_is_named() -> None:
    with pytest.raises(ConfigError, match=r"line 2: .*four hexadecimal digits"):
        parse_properties("\na=\\u00g1")


@given(st.text())
def test_no_text_crashes_the_reader(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert all(item.line > 0 for item in parse_properties(text))
