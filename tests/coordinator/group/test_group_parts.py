"""Timers and subscriptions."""

import hypothesis.strategies as st
from hypothesis import given

from automq.coordinator.group.subscription import subscribed_topics
from automq.coordinator.group.timers import TimerKey, TimerKind, Timers
from support.groups import subscription

KEYS = st.sampled_from([TimerKey(TimerKind.SESSION, "g", name) for name in "abc"])


@given(st.lists(st.tuples(KEYS, st.none() | st.integers(0, 20)), max_size=40))
def test_timers_know_the_first_deadline_whatever_was_moved(
    moves: list[tuple[TimerKey, int | None]],
) -> None:
    timers = Timers()
    known: dict[TimerKey, int] = {}
    for key, at_ms in moves:
        if at_ms is None:
            timers.cancel(key)
            known.pop(key, None)
        else:
            timers.set_at(key, at_ms)
            known[key] = at_ms
        assert timers.next_ms() == min(known.values(), default=None)
        due = timers.due(10, count_max=10)
        assert set(due) == {key for key, at_ms in known.items() if at_ms <= 10}
        assert [known[key] for key in due] == sorted(known[key] for key in due)


def test_due_timers_come_a_few_at_a_time() -> None:
    timers = Timers()
    for number in range(5):
        timers.set_at(TimerKey(TimerKind.JOIN, f"g{number}"), number)
    assert [key.group_id for key in timers.due(10, count_max=2)] == ["g0", "g1"]


def test_topics_of_all_versions_of_a_subscription_are_read() -> None:
    version_3 = bytes.fromhex("000300000001000174ffffffff00000000ffffffffffff")
    assert subscribed_topics([version_3, subscription("t", "u")]) == frozenset("tu")
    assert subscribed_topics([]) == frozenset()


def test_metadata_that_is_no_subscription_makes_the_topics_unknown() -> None:
    whole = subscription("t", user_data=b"x")
    assert all(subscribed_topics([whole[:end]]) is None for end in range(len(whole)))
    assert subscribed_topics([subscription("t"), b"\xff\xff\0\0\0\0"]) is None
    assert subscribed_topics([b"\0\0\0\0\0\1\0\1\xff\0\0\0\0"]) is None


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reading_of_subscriptions(damaged: bytes) -> None:
    topics = subscribed_topics([damaged])
    assert topics is None or all(isinstance(topic, str) for topic in topics)
