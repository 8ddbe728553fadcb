"""librdkafka, through confluent-kafka: producing and consuming."""

import random
import time

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from clients.librdkafka import Record, consumer, producer, read, read_from, send, texts, values
from support.broker import eventually
from support.clients import admin, create_topic

# For records of long ago, which retention would take away.
FOREVER = {"retention.ms": "-1"}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.mark.parametrize("codec", CODECS)
def test_records_come_back_as_they_were_sent(bootstrap: str, name: str, codec: str) -> None:
    create_topic(bootstrap, name, config=FOREVER)
    sent = [
        Record(b"plain", timestamp=1_000_000_000_000),
        Record(b"keyed", key=b"k"),
        Record(None, key=b"tombstone"),
        Record(b"", key=b"", headers=[("empty", b""), ("null", None)]),
        Record(b"headed", headers=[("a", b"1"), ("a", b"2"), ("\u00e9", bytes(range(256)))]),
        Record(random.Random(codec).randbytes(50_000)),
    ]
    assert send(producer(bootstrap, compression_type=codec), name, sent) == list(range(6))
    got = read_from(bootstrap, name, 6)
    assert [(m.value(), m.key(), m.headers() or []) for m in got] == [
        (r.value, r.key, list(r.headers)) for r in sent
    ]
    assert got[0].timestamp() == (TIMESTAMP_CREATE_TIME, 1_000_000_000_000)
    assert [m.offset() for m in got] == list(range(6))


@pytest.mark.parametrize("codec", CODECS)
def test_thousands_of_records_keep_their_order(bootstrap: str, name: str, codec: str) -> None:
    create_topic(bootstrap, name)
    wanted = [f"{codec}-{n:05}" * 5 for n in range(5000)]
    send(producer(bootstrap, compression_type=codec, batch_num_messages=500), name, values(*wanted))
    assert texts(read_from(bootstrap, name, 5000)) == wanted


def test_an_idempotent_producer_with_five_requests_in_flight_keeps_order(
    bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    client = producer(
        bootstrap,
        enable_idempotence=True,
        max_in_flight_requests_per_connection=5,
        batch_num_messages=10,
        linger_ms=0,
    )
    assert send(client, name, values(*range(2000))) == list(range(2000))
    assert texts(read_from(bootstrap, name, 2000)) == [str(n) for n in range(2000)]


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_acknowledgement_stores_all(bootstrap: str, name: str, acks: str) -> None:
    create_topic(bootstrap, name)
    send(producer(bootstrap, acks=acks), name, values(*range(500)))
    assert texts(read_from(bootstrap, name, 500)) == [str(n) for n in range(500)]


def test_log_append_time_is_told_to_producer_and_consumer(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, config={"message.timestamp.type": "LogAppendTime"})
    before_ms = time.time_ns() // 1_000_000
    send(producer(bootstrap), name, [Record(b"x", timestamp=1_000)])
    (message,) = read_from(bootstrap, name, 1)
    kind, at_ms = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert before_ms <= at_ms <= time.time_ns() // 1_000_000


def test_messages_up_to_the_limit_are_taken_and_larger_ones_refused(
    bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name, config={"max.message.bytes": "2000000"})
    client = producer(bootstrap, message_max_bytes=10_000_000)
    large = random.Random(1).randbytes(1_999_000)
    first, second = send(client, name, [Record(large), Record(large + large)])
    assert first == 0
    assert isinstance(second, KafkaError)
    assert second.code() == KafkaError.MSG_SIZE_TOO_LARGE
    (message,) = read_from(bootstrap, name, 1)
    assert message.value() == large


def test_a_message_larger_than_the_fetch_limit_still_arrives(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    large = random.Random(2).randbytes(500_000)
    send(producer(bootstrap), name, [Record(large), Record(b"small")])
    with consumer(bootstrap, fetch_message_max_bytes=1000, fetch_max_bytes=1_000_000) as client:
        client.assign([TopicPartition(name, 0, 0)])
        assert [m.value() for m in read(client, 2)] == [large, b"small"]


def test_a_compacted_topic_refuses_records_without_a_key(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, config={"cleanup.policy": "compact"})
    client = producer(bootstrap)
    (refused,) = send(client, name, [Record(b"no key")])
    (taken,) = send(client, name, [Record(b"value", key=b"key")])
    assert isinstance(refused, KafkaError)
    assert refused.code() == KafkaError.INVALID_RECORD
    assert taken == 0


def test_producing_to_a_topic_that_is_not_there_creates_it(bootstrap: str, name: str) -> None:
    assert send(producer(bootstrap), name, values("first")) == [0]
    assert texts(read_from(bootstrap, name, 1)) == ["first"]


def test_producing_to_an_invalid_topic_name_fails(bootstrap: str) -> None:
    (refused,) = send(producer(bootstrap), "not a name", values("x"))
    assert isinstance(refused, KafkaError)
    assert refused.code() == KafkaError.TOPIC_EXCEPTION


def test_a_consumer_does_not_create_topics_unless_allowed(bootstrap: str, name: str) -> None:
    with consumer(bootstrap, group=name) as client:
        client.subscribe([name])
        assert event(client).code() == KafkaError.UNKNOWN_TOPIC_OR_PART
        assert name not in client.list_topics(timeout=20).topics


def test_a_consumer_may_create_topics_if_allowed(bootstrap: str, name: str) -> None:
    observer = admin(bootstrap)
    with consumer(bootstrap, allow_auto_create_topics=True) as client:
        client.assign([TopicPartition(name, 0, 0)])
        eventually(
            lambda: client.poll(0.1) or name in observer.list_topics(timeout=20).topics,
            what="the topic",
        )


def test_a_consumer_seeks_by_offset_and_by_time(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, config=FOREVER)
    send(
        producer(bootstrap),
        name,
        [Record(str(n).encode(), timestamp=1_000_000 + 1000 * n) for n in range(10)],
    )
    with consumer(bootstrap) as client:
        client.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
        assert texts(read(client, 2)) == ["0", "1"]
        client.seek(TopicPartition(name, 0, 7))
        assert texts(read(client, 2)) == ["7", "8"]
        (at,) = client.offsets_for_times([TopicPartition(name, 0, 1_003_500)], timeout=20)
        assert at.offset == 4
        client.seek(at)
        assert texts(read(client, 1)) == ["4"]
        (late,) = client.offsets_for_times([TopicPartition(name, 0, 9_000_000)], timeout=20)
        assert late.offset == OFFSET_END


def test_the_watermarks_are_the_first_and_the_next_offset(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    send(producer(bootstrap), name, values(*range(7)))
    with consumer(bootstrap) as client:
        client.assign([TopicPartition(name, 0, 0)])
        read(client, 7)
        assert client.get_watermark_offsets(TopicPartition(name, 0), timeout=20) == (0, 7)
        assert client.get_watermark_offsets(TopicPartition(name, 0), cached=True)[1] == 7


def test_a_paused_partition_delivers_nothing_until_resumed(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, partitions=2)
    client_of_both = producer(bootstrap)
    with consumer(bootstrap) as client:
        both = [TopicPartition(name, p, 0) for p in range(2)]
        client.assign(both)
        client.pause(both[:1])
        send(client_of_both, name, [Record(b"x", partition=p) for p in (0, 1, 0, 1)])
        assert [m.partition() for m in read(client, 2)] == [1, 1]
        client.resume(both[:1])
        assert [m.partition() for m in read(client, 2)] == [0, 0]


@pytest.mark.parametrize(("reset", "wanted"), [("earliest", "0"), ("latest", "new")])
def test_an_offset_out_of_range_is_reset_as_the_consumer_wants(
    bootstrap: str, name: str, reset: str, wanted: str
) -> None:
    create_topic(bootstrap, name)
    client_of_topic = producer(bootstrap)
    send(client_of_topic, name, values(*range(5)))
    with consumer(bootstrap, auto_offset_reset=reset) as client:
        client.assign([TopicPartition(name, 0, 1000)])

        def answered() -> list[str]:
            send(client_of_topic, name, values("new"))
            return texts(client.consume(1, timeout=0.2))

        assert eventually(answered) == [wanted]


def test_an_offset_out_of_range_is_an_error_if_the_consumer_wants(
    bootstrap: str, name: str
) -> None:
    create_topic(bootstrap, name)
    with consumer(bootstrap, auto_offset_reset="error") as client:
        client.assign([TopicPartition(name, 0, 1000)])
        assert event(client).code() == KafkaError._AUTO_OFFSET_RESET


def test_many_partitions_are_read_in_one_session(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name, partitions=100)
    client_of_all = producer(bootstrap)
    with consumer(bootstrap) as client:
        client.assign([TopicPartition(name, p, 0) for p in range(100)])
        send(client_of_all, name, [Record(b"1", partition=p) for p in range(100)])
        assert {m.partition() for m in read(client, 100)} == set(range(100))
        send(client_of_all, name, [Record(b"2", partition=p) for p in (3, 50, 99)])
        assert {m.partition() for m in read(client, 3)} == {3, 50, 99}
        client.assign([TopicPartition(name, p, 1) for p in (3, 50)])
        assert {m.partition() for m in read(client, 2)} == {3, 50}


@pytest.mark.parametrize("level", ["read_committed", "read_uncommitted"])
def test_both_isolation_levels_read_plain_records(bootstrap: str, name: str, level: str) -> None:
    create_topic(bootstrap, name)
    send(producer(bootstrap), name, values(*range(50)))
    with consumer(bootstrap, isolation_level=level) as client:
        client.assign([TopicPartition(name, 0, 0)])
        assert texts(read(client, 50)) == [str(n) for n in range(50)]
        assert client.get_watermark_offsets(TopicPartition(name, 0), timeout=20) == (0, 50)


def test_the_end_of_a_partition_is_told(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    send(producer(bootstrap), name, values("only"))
    with consumer(bootstrap, enable_partition_eof=True) as client:
        client.assign([TopicPartition(name, 0, 0)])
        read(client, 1)
        assert event(client).code() == KafkaError._PARTITION_EOF


def test_a_long_poll_returns_as_soon_as_there_is_something(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    client_of_topic = producer(bootstrap, linger_ms=0)
    with consumer(bootstrap, fetch_wait_max_ms=20_000) as client:
        client.assign([TopicPartition(name, 0, 0)])
        client.poll(0.5)
        started = time.monotonic()
        send(client_of_topic, name, values("wake"))
        read(client, 1)
        assert time.monotonic() - started < 10


def test_an_unknown_partition_is_refused(bootstrap: str, name: str) -> None:
    create_topic(bootstrap, name)
    with consumer(bootstrap) as client, pytest.raises(KafkaException) as refused:
        client.get_watermark_offsets(TopicPartition(name, 5), timeout=5)
    assert refused.value.args[0].code() == KafkaError._UNKNOWN_PARTITION


def event(client: Consumer) -> KafkaError:
    """What the consumer tells next that is not a record."""
    message = eventually(lambda: client.poll(0.2), what="an event")
    assert message is not None
    error = message.error()
    assert error is not None, f"a record, at {message.offset()}"
    return error
