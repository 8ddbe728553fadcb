"""How values are read, checked and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automq.config import ConfigError, Key, ValueType
from automq.config.key import ListOf, OneOf, Range, RangeOr, Value, parse_text, to_text


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ValueType.BOOLEAN, " TRUE ", True),
        (ValueType.BOOLEAN, "false", False),
        (ValueType.INT, " 5 ", 5),
        (ValueType.INT, "+5", 5),
        (ValueType.INT, "-2147483648", -(2**31)),
        (ValueType.SHORT, "32767", 32767),
        (ValueType.LONG, "9223372036854775807", 2**63 - 1),
        (ValueType.DOUBLE, "1.7976931348623157E308", 1.7976931348623157e308),
        (ValueType.STRING, " a b ", "a b"),
        (ValueType.LIST, "", ()),
        (ValueType.LIST, " a , b,c ", ("a", "b", "c")),
        (ValueType.LIST, "a,,b", ("a", "", "b")),
        (ValueType.CLASS, " x.Y ", "x.Y"),
        (ValueType.PASSWORD, " secret ", "secret"),
    ],
)
def test_text_is_read_as_kafka_reads_it(kind: ValueType, text: str, value: Value) -> None:
    assert parse_text("k", text, kind) == value


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        (ValueType.BOOLEAN, "yes", "Expected value to be either true or false"),
        (ValueType.INT, "2147483648", "Not a number of type INT"),
        (ValueType.INT, "", "Not a number of type INT"),
        (ValueType.INT, "1_000", "Not a number of type INT"),
        (ValueType.INT, "1.0", "Not a number of type INT"),
        (ValueType.INT, "٣", "Not a number of type INT"),
        (ValueType.SHORT, "40000", "Not a number of type SHORT"),
        (ValueType.LONG, "9" * 10_000, "Not a number of type LONG"),
        (ValueType.DOUBLE, "x", "Not a number of type DOUBLE"),
    ],
)
def test_text_that_is_no_value_is_refused_in_kafkas_words(
    kind: ValueType, text: str, why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_text("k", text, kind)

    assert str(caught.value) == f"Invalid value {text} for configuration k: {why}"


@given(st.text(), st.sampled_from(sorted(ValueType)))
def test_no_text_crashes_the_reader(text: str, kind: ValueType) -> None:
    try:
        parse_text("k", text, kind)
    except ConfigError as error:
        message = str(error)
    else:
        message = ""

    assert message == "" or message.startswith("Invalid value")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, "true"),
        (0.5, "0.5"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (0.0001, "1.0E-4"),
        (12345678.0, "1.2345678E7"),
        (-1e10, "-1.0E10"),
        (float("inf"), "Infinity"),
        (("a", "b"), "a,b"),
        (7, "7"),
    ],
)
def test_values_are_written_as_java_writes_them(value: Value, text: str | None) -> None:
    assert to_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_that_was_written_reads_back_the_same(value: float) -> None:
    text = to_text(value)

    assert text is not None
    assert parse_text("k", text, ValueType.DOUBLE) == value


def test_doubles_of_a_list_are_dropped() -> None:
    key: Key[tuple[str, ...]] = Key(name="k", value_type=ValueType.LIST, checks=(ListOf(),))

    assert key.parse("a,b,a") == ("a", "b")


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (Range(1), 0, "Invalid value 0 for configuration k: Value must be at least 1"),
        (Range(0, 1), 2, "Invalid value 2 for configuration k: Value must be no more than 1"),
        (Range(0), None, "Invalid value null for configuration k: Value must be non-null"),
        (
            RangeOr(1, 9, other=-1),
            0,
            "Invalid value 0 for configuration k: Value must be between 1 and 9 or equal to -1",
        ),
        (
            OneOf(("a", "b")),
            "c",
            "Invalid value c for configuration k: String must be one of: a, b",
        ),
        (
            OneOf(("A",), any_case=True),
            "c",
            "Invalid value c for configuration k: String must be one of (case insensitive): A",
        ),
        (ListOf(), ("a", ""), "Configuration 'k' values must not be empty."),
        (ListOf(), None, "Configuration 'k' values must not be null."),
        (
            ListOf(may_be_empty=False),
            (),
            "Configuration 'k' must not be empty. Valid values include: any non-empty value",
        ),
    ],
)
def test_a_broken_rule_is_told_in_kafkas_words(
    check: Range | RangeOr | OneOf | ListOf, value: Value, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check("k", value)

    assert str(caught.value) == message
