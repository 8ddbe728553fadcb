"""Feeds damaged bytes to every parser until told to stop; a failure is printed and ends it.

    python tools/fuzz.py [--seconds N] [--seed N] [--keep] [TARGET ...]

Inputs that end in a new way are gone on from; `--keep` adds them to `tests/fuzzed`, from where the
tests and later runs begin.

A parser joins by a `Target` in TARGETS; `tests/test_fuzz.py` then runs it for a moment each time.
"""

import argparse
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from automq._native import (
    BatchTooLarge,
    Buf,
    CorruptBatch,
    batches,
    build_batch,
    read_records,
)
from automq.metadata.log import (
    CHECKSUM_BYTES,
    Author,
    DamagedLog,
    decode_entry,
    encode_all,
    encode_entry,
    sealed,
)
from automq.metadata.records.cluster import ControllerElected, SnapshotTaken
from automq.metadata.records.registry import Record, UnknownRecord
from automq.protocol.codec import (
    Frames,
    FrameTooLarge,
    MalformedMessage,
    UnencodableMessage,
    decode,
    encode,
    encode_request,
    read_request_header,
)
from support.damage import Case, Parse, Target, first_failure, outcome, read_cases
from support.message_vectors import message_class, recorded
from support.parsers import STORED

Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]

MEMORY_BYTES_MAX = 4 << 30
ROUNDS = 1000
KEPT = Path(__file__).resolve().parent.parent / "tests" / "fuzzed"


def _message(chance: random.Random) -> tuple[bytes, Parse]:
    vector = chance.choice(recorded()[chance.choice(sorted(recorded()))])
    cls, version = message_class(vector.message), vector.version

    def parse(data: bytes) -> None:
        written = encode(decode(cls, Buf(data), version), version)
        again = encode(decode(cls, written, version), version)
        assert again == written, "what was read is not what is written"

    return vector.data, parse


def _request_header(chance: random.Random) -> tuple[bytes, Parse]:
    requests = [name for name in sorted(recorded()) if name.endswith("Request")]
    cls = message_class(chance.choice(requests))
    version = chance.randint(*cls.VALID_VERSIONS)
    return encode_request(cls(), version, chance.getrandbits(31), "client")[4:], read_request_header


def _frames(chance: random.Random) -> tuple[bytes, Parse]:
    sizes = [chance.choice([0, 1, 100, 5000]) for _ in range(chance.randint(1, 4))]
    good = b"".join(size.to_bytes(4, "big") + bytes(size) for size in sizes)
    step = chance.choice([1, 7, 1000, 100_000])

    def parse(data: bytes) -> None:
        frames, at = Frames(1 << 20), 0
        while at < len(data):
            with memoryview(frames.get_buffer(-1)) as room:
                count = min(step, len(room), len(data) - at)
                room[:count] = data[at : at + count]
            frames.received(count)
            at += count

    return good, parse


def _batch(chance: random.Random) -> tuple[bytes, Parse]:
    rows: list[Row] = [
        (
            chance.getrandbits(40),
            chance.randbytes(3),
            chance.randbytes(chance.choice([0, 9, 99])),
            [],
        )
        for _ in range(chance.randint(1, 5))
    ]

    def parse(data: bytes) -> None:
        for batch in batches(data):
            read_records(batch.records)

    return bytes(build_batch(rows)), parse


def _records() -> list[Record]:
    return [
        ControllerElected(3, 1, bytes(16), (), 1),
        SnapshotTaken(7, bytes(CHECKSUM_BYTES), ()),
    ]


def _metadata_entry(chance: random.Random) -> tuple[bytes, Parse]:
    """What is damaged is below the checksum, which then holds again."""
    data = encode_entry(
        encode_all(_records()),
        number=5,
        epoch=3,
        author=Author(1, bytes(16)),
        nonce=chance.randbytes(16),
        previous=chance.randbytes(CHECKSUM_BYTES),
        written_ms=1,
    )
    return data[:-CHECKSUM_BYTES], lambda body: decode_entry(sealed(body), 5)


TARGETS = [
    Target("message", _message, (MalformedMessage, UnencodableMessage)),
    Target("request header", _request_header, (MalformedMessage,)),
    Target("frames", _frames, (FrameTooLarge,)),
    Target("record batch", _batch, (CorruptBatch, BatchTooLarge)),
    Target("metadata entry", _metadata_entry, (DamagedLog, UnknownRecord)),
    *STORED,
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("targets", nargs="*", default=[target.name for target in TARGETS])
    arguments = parser.parse_args()
    # A parser that reserves what a length claims fails here, instead of the machine.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    chosen = [target for target in TARGETS if target.name in arguments.targets]
    known = {target.name: outcomes(target) for target in chosen}
    rounds, end = 0, time.monotonic() + arguments.seconds
    while time.monotonic() < end:
        for target in chosen:
            failure = first_failure(target, chance, ROUNDS, known[target.name])
            rounds += ROUNDS
            if failure is not None:
                print(failure)
                return 1
    if arguments.keep:
        keep(known)
    print(f"{rounds} inputs, {sum(map(len, known.values()))} ways to end, no failure")
    return 0


def kept_in(name: str) -> Path:
    """Where inputs of a target are kept."""
    return KEPT / f"{name.replace(' ', '-')}.txt"


def outcomes(target: Target) -> dict[str, Case]:
    """The kept inputs of a target by their outcomes. Raises AssertionError for one that fails."""
    found: dict[str, Case] = {}
    for case in read_cases(kept_in(target.name)):
        result = outcome(target, case)
        assert isinstance(result, str), str(result)
        found[result] = case
    return found


def keep(known: dict[str, dict[str, Case]]) -> None:
    KEPT.mkdir(exist_ok=True)
    for name, cases in known.items():
        lines = [str(cases[found]) for found in sorted(cases)]
        kept_in(name).write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
