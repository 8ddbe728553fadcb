"""What the codec promises beyond the vectors: zero-copy, headers, and refusals that say where."""

import ctypes
import struct

import pytest

from automq._native import Buf
from automq.protocol.codec import (
    MalformedMessage,
    UnencodableMessage,
    decode,
    encode,
    encode_request,
    encode_response,
    read_request_header,
    response_header_version,
)
from automq.protocol.messages.api_versions_response import ApiVersionsResponse
from automq.protocol.messages.create_topics_request import CreateTopicsRequest
from automq.protocol.messages.fetch_response import (
    FetchableTopicResponse,
    FetchResponse,
    LeaderIdAndEpoch,
    PartitionData,
)
from automq.protocol.messages.heartbeat_request import HeartbeatRequest
from automq.protocol.messages.metadata_response import MetadataResponse
from automq.protocol.messages.offset_commit_key import OffsetCommitKey
from automq.protocol.messages.produce_request import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)


def produce(records: bytes) -> ProduceRequest:
    partition = PartitionProduceData(index=3, records=Buf(records))
    topic = TopicProduceData(name="t", partition_data=[partition])
    return ProduceRequest(acks=-1, timeout_ms=1500, topic_data=[topic])


def fetched(*records: Buf) -> FetchResponse:
    partition = PartitionData(partition_index=1, records=list(records))
    return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[partition])])


def where(refusal: pytest.ExceptionInfo[ValueError]) -> str:
    place, _ = refusal.value.args
    assert isinstance(place, str)
    return place


# -- requests


def test_a_request_is_found_behind_its_header() -> None:
    frame = encode_request(produce(b"abc"), 9, 77, "me")
    body = Buf(frame).slice(4, len(frame))

    head = read_request_header(body)

    assert struct.unpack(">i", frame[:4]) == (len(body),)
    assert (head.api_key, head.api_version, head.correlation_id) == (0, 9, 77)
    assert head.client_id == "me"
    assert decode(ProduceRequest, body, 9, head.body_at) == produce(b"abc")


def test_records_are_slices_of_the_frame() -> None:
    frame = Buf(encode(produce(b"x" * 1000), 9))

    records = decode(ProduceRequest, frame, 9).topic_data[0].partition_data[0].records

    assert records is not None
    assert address(records) - address(frame) == bytes(frame).index(b"xxx")


def address(buf: Buf) -> int:
    """Where the bytes are: the first field of CPython's `Py_buffer`."""
    view = (ctypes.c_ssize_t * 16)()
    exporter = ctypes.py_object(buf)
    assert ctypes.pythonapi.PyObject_GetBuffer(exporter, ctypes.byref(view), 0) == 0
    found = int(view[0])
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
    return found


def test_a_version_that_nobody_knows_is_refused_with_those_that_are() -> None:
    with pytest.raises(MalformedMessage, match=r"version 99 is not in \[3, 13\]"):
        decode(ProduceRequest, b"", 99)
    with pytest.raises(UnencodableMessage, match=r"version 2 is not in \[3, 13\]"):
        encode(ProduceRequest(), 2)


def test_bytes_behind_a_message_are_ignored_as_kafka_does() -> None:
    data = encode(produce(b"abc"), 9)

    assert decode(ProduceRequest, data + b"more", 9) == produce(b"abc")


def test_a_message_can_be_read_from_any_bytes() -> None:
    data = encode(produce(b"abc"), 9)

    assert decode(ProduceRequest, bytearray(data), 9) == produce(b"abc")
    assert decode(ProduceRequest, memoryview(b"--" + data), 9, 2) == produce(b"abc")


# -- refusals when decoding


def test_a_string_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="not UTF-8") as refusal:
        decode(OffsetCommitKey, b"\0\x02\xff\xfe\0\0\0\0\0\0", 0)

    assert where(refusal) == "OffsetCommitKey.group"


def test_a_null_where_none_may_be_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="must not be null") as refusal:
        decode(OffsetCommitKey, b"\xff\xff", 0)

    assert where(refusal) == "OffsetCommitKey.group"


def test_a_count_that_the_bytes_cannot_hold_reserves_nothing() -> None:
    data = b"\xff\xff" + struct.pack(">hii", 1, 1500, 0x7FFFFFFF)

    with pytest.raises(MalformedMessage, match="2147483647 elements in 0 bytes") as refusal:
        decode(ProduceRequest, data, 3)

    assert where(refusal) == "ProduceRequest.topic_data"


def test_a_tagged_field_of_another_size_than_its_tag_says_is_refused() -> None:
    good = encode(fetched_with_leader(), 12)
    at = good.index(b"\x01\x09" + struct.pack(">ii", 5, 6))
    bad = good[: at + 1] + b"\x0a" + good[at + 2 :]

    with pytest.raises(MalformedMessage, match="is 9 bytes, its tag said 10") as refusal:
        decode(FetchResponse, bad, 12)

    assert where(refusal) == "FetchResponse.responses.partitions.current_leader"


def fetched_with_leader() -> FetchResponse:
    leader = LeaderIdAndEpoch(leader_id=5, leader_epoch=6)
    partition = PartitionData(current_leader=leader, records=Buf(b""))
    return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[partition])])


def test_a_cut_message_is_refused_wherever_it_is_cut() -> None:
    data = encode(produce(b"abc"), 9)
    whole = len(data)

    refused = [cut for cut in range(whole) if is_refused(data[:cut])]

    assert refused == list(range(whole))


def is_refused(data: bytes) -> bool:
    try:
        decode(ProduceRequest, data, 9)
    except MalformedMessage:
        return True
    return False


def test_a_header_that_is_cut_is_refused() -> None:
    with pytest.raises(MalformedMessage) as refusal:
        read_request_header(b"\0\0\0")

    assert where(refusal) == "RequestHeader"


# -- refusals when encoding


def test_a_field_that_the_version_lacks_must_be_left_unset() -> None:
    assert encode(HeartbeatRequest(group_id="g", member_id="m"), 0)
    with pytest.raises(UnencodableMessage, match="is not in version 2") as refusal:
        encode(HeartbeatRequest(group_instance_id="i"), 2)

    assert where(refusal) == "HeartbeatRequest.group_instance_id"


def test_an_ignorable_field_that_the_version_lacks_is_dropped() -> None:
    assert encode(MetadataResponse(cluster_id="c"), 1) == encode(MetadataResponse(), 1)


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UnencodableMessage, match="32768 does not fit in 2 bytes") as refusal:
        encode(ProduceRequest(acks=32768), 9)
    with pytest.raises(UnencodableMessage, match="does not fit in 8 bytes"):
        encode(ProduceRequest(acks=2**64), 9)

    assert where(refusal) == "ProduceRequest.acks"


def test_a_value_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(UnencodableMessage, match="is str, not int"):
        encode(ProduceRequest(acks="1"), 9)  # type: ignore[arg-type]
    with pytest.raises(UnencodableMessage, match="is ProduceRequest, not TopicProduceData"):
        encode(ProduceRequest(topic_data=[ProduceRequest()]), 9)  # type: ignore[list-item]
    with pytest.raises(UnencodableMessage, match="is int, not bool"):
        encode(CreateTopicsRequest(validate_only=1), 5)  # type: ignore[arg-type]
    with pytest.raises(UnencodableMessage, match="element 0 must not be None"):
        encode(ProduceRequest(topic_data=[None]), 9)  # type: ignore[list-item]


def test_a_string_that_has_no_utf_8_form_or_is_too_long_is_refused() -> None:
    with pytest.raises(UnencodableMessage, match="has no form in UTF-8"):
        encode(OffsetCommitKey(group="\ud800"), 0)
    with pytest.raises(UnencodableMessage, match="a string of 32768 bytes is too long"):
        encode(OffsetCommitKey(group="g" * 32768), 0)


def test_unknown_tags_must_be_in_order_and_unknown() -> None:
    with pytest.raises(UnencodableMessage, match="unknown tag 7 comes after 9"):
        encode(ProduceRequest(unknown_tagged_fields=[(9, b""), (7, b"")]), 9)
    with pytest.raises(UnencodableMessage, match="tag 0 has a field of its own"):
        encode(FetchResponse(unknown_tagged_fields=[(0, b"")]), 16)
    with pytest.raises(UnencodableMessage, match="version 8 has no tagged fields"):
        encode(ProduceRequest(unknown_tagged_fields=[(9, b"")]), 8)


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(TypeError, match=r"builtins.int is not the class of a message"):
        encode(5, 0)
    with pytest.raises(TypeError, match="TopicProduceData is not the class of a message"):
        decode(TopicProduceData, b"", 0)


# -- responses


def test_small_records_are_copied_and_large_ones_stay_their_own() -> None:
    small, large = Buf(b"s" * 4095), Buf(b"l" * 4096)

    pieces = encode_response(fetched(small, large, large, small), 4, 77)

    assert [type(each) for each in pieces] == [bytes, Buf, Buf, bytes]
    assert pieces[1] == large
    assert isinstance(pieces[1], Buf)
    assert address(pieces[1]) == address(large)


def test_a_response_frame_is_its_length_its_header_and_the_message() -> None:
    response = fetched(Buf(b"l" * 5000), Buf(b"s"))

    frame = b"".join(encode_response(response, 12, 77))

    assert frame[:9] == struct.pack(">iib", len(frame) - 4, 77, 0)
    assert frame[9:] == encode(response, 12)
    read = decode(FetchResponse, frame, 12, 9).responses[0].partitions[0].records
    assert isinstance(read, Buf)
    assert bytes(read) == b"l" * 5000 + b"s"


def test_an_api_versions_response_has_the_old_header_in_every_version() -> None:
    frame = b"".join(encode_response(ApiVersionsResponse(), 3, 77))

    assert frame[4:] == struct.pack(">i", 77) + encode(ApiVersionsResponse(), 3)
    assert response_header_version(ApiVersionsResponse, 3) == 0
    assert response_header_version(MetadataResponse, 9) == 1
