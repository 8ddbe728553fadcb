"""The bytes of `__consumer_offsets`, against those that Apache Kafka 4.3.1 wrote."""

import pytest

from automq.coordinator.group.records import (
    CommittedOffset,
    GroupForgotten,
    GroupRecord,
    GroupStored,
    OffsetCommitted,
    OffsetForgotten,
    StoredMember,
    parse_record,
)
from automq.protocol import errors

# A topic `t` of two partitions, read by the console consumer with `--group g1` (client id `cl`)
# and with `--group g2` (group.instance.id `inst`); then the offsets of g3 were reset and deleted,
# and g1 was deleted.
TOPIC_ID = bytes.fromhex("63840e9412844f21891d9e1b33b4108b")
G1_MEMBER = "cl-d74f7cbc-3ed3-4488-a7e9-27b350e4796c"
G2_MEMBER = "inst-5ef8c431-85de-476a-af49-8c5254557808"
SUBSCRIPTION = bytes.fromhex("000300000001000174ffffffff00000000ffffffffffff")
ASSIGNMENT = bytes.fromhex("000300000001000174000000020000000000000001ffffffff")

VECTORS: list[tuple[str, str | None, GroupRecord]] = [
    (
        "000200026731",
        "0003000000000000ffffffff000001a21056eed900000000",
        GroupStored("g1", "", 0, None, None, 1795570462425),
    ),
    (
        "000200026731",
        "00030008636f6e73756d657200000001000572616e67650027636c2d64373466376362632d336564332d3434"
        "38382d613765392d323762333530653437393663000001a21056ef26000000010027636c2d64373466376362"
        "632d336564332d343438382d613765392d323762333530653437393663ffff0002636c000a2f3132372e302e"
        "302e31000493e00000afc800000017000300000001000174ffffffff00000000ffffffffffff000000190003"
        "00000001000174000000020000000000000001ffffffff",
        GroupStored(
            "g1",
            "consumer",
            1,
            "range",
            G1_MEMBER,
            1795570462502,
            (
                StoredMember(
                    G1_MEMBER, None, "cl", "/127.0.0.1", 300_000, 45_000, SUBSCRIPTION, ASSIGNMENT
                ),
            ),
        ),
    ),
    (
        "00010002673100017400000000",
        "0004000000000000000a0000000001000001a21056f05801001063840e9412844f21891d9e1b33b4108b",
        OffsetCommitted("g1", "t", 0, CommittedOffset(10, 0, "", 1795570462808, None, TOPIC_ID)),
    ),
    (
        "000200026731",
        "00030008636f6e73756d657200000002ffffffff000001a21056f08300000000",
        GroupStored("g1", "consumer", 2, None, None, 1795570462851),
    ),
    (
        "000200026732",
        "00030008636f6e73756d657200000001000572616e67650029696e73742d35656638633433312d383564652d"
        "343736612d616634392d386335323534353537383038000001a21056fa64000000010029696e73742d356566"
        "38633433312d383564652d343736612d616634392d3863353235343535373830380004696e73740010636f6e"
        "736f6c652d636f6e73756d6572000a2f3132372e302e302e31000493e00000afc80000001700030000000100"
        "0174ffffffff00000000ffffffffffff00000019000300000001000174000000020000000000000001ffffff"
        "ff",
        GroupStored(
            "g2",
            "consumer",
            1,
            "range",
            G2_MEMBER,
            1795570465380,
            (
                StoredMember(
                    G2_MEMBER,
                    "inst",
                    "console-consumer",
                    "/127.0.0.1",
                    300_000,
                    45_000,
                    SUBSCRIPTION,
                    ASSIGNMENT,
                ),
            ),
        ),
    ),
    ("00010002673300017400000001", None, OffsetForgotten("g3", "t", 1)),
    ("000200026731", None, GroupForgotten("g1")),
]


@pytest.mark.parametrize(("key", "value", "record"), VECTORS)
def test_a_record_of_apache_kafka_is_read(key: str, value: str | None, record: GroupRecord) -> None:
    value_bytes = None if value is None else bytes.fromhex(value)
    assert parse_record(bytes.fromhex(key), value_bytes) == record


@pytest.mark.parametrize(("key", "value", "record"), VECTORS)
def test_a_record_is_written_as_apache_kafka_writes_it(
    key: str, value: str | None, record: GroupRecord
) -> None:
    value_bytes = None if value is None else bytes.fromhex(value)
    assert record.key_value() == (bytes.fromhex(key), value_bytes)


def test_an_offset_with_an_expiry_of_its_own_is_written_in_version_1() -> None:
    committed = CommittedOffset(7, -1, "m", 1_000, expire_timestamp_ms=2_000)
    record = OffsetCommitted("g", "t", 3, committed)
    key, value = record.key_value()
    assert value is not None
    assert value.startswith(b"\0\1")
    assert parse_record(key, value) == record


def test_the_oldest_keys_of_offsets_are_read() -> None:
    key, value = VECTORS[2][0], VECTORS[2][1]
    assert value is not None
    legacy_key = b"\0\0" + bytes.fromhex(key)[2:]
    assert parse_record(legacy_key, bytes.fromhex(value)) == VECTORS[2][2]


def test_a_member_without_a_rebalance_time_out_uses_its_session() -> None:
    value = bytes.fromhex(
        "0000" "0008636f6e73756d6572" "00000001" "000572616e6765" "00016d" "00000001"
        "00016d" "000163" "00012f" "00002710" "00000000" "00000000"
    )  # fmt: skip
    record = parse_record(bytes.fromhex("0002000167"), value)
    assert isinstance(record, GroupStored)
    assert record.members[0].rebalance_timeout_ms == 10_000
    assert record.state_timestamp_ms == -1


def test_a_record_of_a_type_unknown_here_is_left_alone() -> None:
    assert parse_record(bytes.fromhex("0003000167"), b"\0\0") is None


@pytest.mark.parametrize("end", range(2, 40))
def test_a_record_that_cannot_be_read_is_damage(end: int) -> None:
    key, value = VECTORS[1][0], VECTORS[1][1]
    assert value is not None
    with pytest.raises(errors.CorruptMessage, match=key):
        parse_record(bytes.fromhex(key), bytes.fromhex(value)[:end])
