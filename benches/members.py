"""The members of a group, in a process: `python -m benches.members --bootstrap B --topic T`.

So many librdkafka consumers join a new group together; when each partition of the topic has one
owner, one consumer leaves. One line of JSON: the seconds until that was so, and until the others
had everything again. It fails if a partition ever has two owners at the end of either.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition

from benches.load import Report, finish

TIMEOUT_S = 120.0
POLL_S = 0.001


class Member:
    """One consumer, and the partitions that it has now."""

    def __init__(self, bootstrap: str, group_id: str) -> None:
        self.partitions: set[int] = set()
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group_id,
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
            }
        )

    def subscribe(self, topic: str) -> None:
        self.consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)

    def poll(self) -> None:
        """Run what has come; the topic is empty, so there is never a message."""
        message = self.consumer.poll(0)
        if message is not None and message.error() is not None:
            raise SystemExit(f"members: {message.error()}")

    def _assigned(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.partitions = {each.partition for each in partitions}

    def _revoked(self, _: Consumer, __: list[TopicPartition]) -> None:
        self.partitions = set()


def join_and_leave(bootstrap: str, topic: str, **options: object) -> Report:
    """Do it in another process: `joined_s` and `left_s`."""
    words = [sys.executable, "-m", "benches.members", "--bootstrap", bootstrap, "--topic", topic]
    for option, value in options.items():
        words += [f"--{option}", str(value)]
    return finish(words)


def seconds_until(is_done: Callable[[], bool], members: list[Member], started_s: float) -> float:
    """Poll all members until it is done; the seconds since `started_s`."""
    while not is_done():
        for member in members:
            member.poll()
        if time.monotonic() > started_s + TIMEOUT_S:
            raise SystemExit(f"members: the group is not settled after {TIMEOUT_S:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - started_s


def each_has_one_owner(members: list[Member], partitions: int) -> bool:
    """Whether all partitions are assigned, and no member is without."""
    if not all(member.partitions for member in members):
        return False
    return sorted(at for member in members for at in member.partitions) == list(range(partitions))


@contextmanager
def leaving(member: Member) -> Iterator[None]:
    """The member closes, which waits for an answer, while the others go on."""
    closing = threading.Thread(target=member.consumer.close)
    closing.start()
    try:
        yield
    finally:
        closing.join()


def main() -> None:
    args = parse()
    group_id = f"members-{time.monotonic_ns()}"
    members = [Member(args.bootstrap, group_id) for _ in range(args.members)]
    started_s = time.monotonic()
    for member in members:
        member.subscribe(args.topic)
    joined_s = seconds_until(
        lambda: each_has_one_owner(members, args.partitions), members, started_s
    )
    leaver, staying = members[0], members[1:]
    started_s = time.monotonic()
    with leaving(leaver):
        left_s = seconds_until(
            lambda: each_has_one_owner(staying, args.partitions), staying, started_s
        )
    for member in staying:
        member.consumer.close()
    print(json.dumps({"joined_s": joined_s, "left_s": left_s}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--partitions", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    main()
