"""Batches written and judged by Apache Kafka, for the tests of the native batch functions.

    python tools/make_batch_vectors.py $(kafka-run-class classpath)

Writes `tests/partition/vectors/`: `batches.tsv` (name, batch, what Kafka reads in it) and
`checks.tsv` (name, rules, batch, what Kafka's broker does with it). Then lets Kafka read batches
that we built, with every codec, and fails where it reads something else. Needs Java 17.
"""

import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from automq import _native as native

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests/partition/vectors"
PROGRAM = ROOT / "tools/java/BatchVectors.java"

NOW = 1_000_000
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RULES = [
    "",
    "compacted=1",
    "timestamp_after_max_ms=4",
    "timestamp_before_max_ms=4",
    "timestamp_before_max_ms=4 compacted=1",
    "log_append_time=1",
    "log_append_time=1 timestamp_after_max_ms=0",
    "log_append_time=1 codec=lz4",
    "version=6",
    "batch_bytes_max=120",
    *(f"codec={codec}" for codec in CODECS),
]


def java(classpath: str, mode: str, lines: list[str]) -> list[str]:
    """What the Java program answers to `lines`."""
    done = subprocess.run(
        ["java", "-cp", classpath, str(PROGRAM), mode],
        input="".join(f"{line}\n" for line in lines),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def sample(codec: str, *, sequence: int = -1, timestamps: tuple[int, ...] = (0, 5, -5)) -> bytes:
    return bytes(
        native.build_batch(
            [
                (NOW + ms, None if n == 1 else b"key", b"value %d" % n, [("h", b"1"), ("n", None)])
                for n, ms in enumerate(timestamps)
            ],
            codec=codec,
            producer_id=-1 if sequence == -1 else 5,
            producer_epoch=-1 if sequence == -1 else 0,
            base_sequence=sequence,
        )
    )


def patched(batch: bytes, at: int, value: int, size: int) -> bytes:
    """`batch` with one field changed and its CRC right again."""
    body = bytearray(batch)
    body[at : at + size] = value.to_bytes(size, "big", signed=True)
    body[17:21] = crc32c(bytes(body[21:])).to_bytes(4, "big")
    return bytes(body)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def oddities() -> Iterator[tuple[str, bytes]]:
    """Batches that a broker must refuse, or look at twice."""
    good = sample("none")
    yield "empty", b""
    yield "half", good[: len(good) // 2]
    yield "twice", good + good
    yield "flipped", good[:-1] + bytes([good[-1] ^ 1])
    yield (
        "control",
        bytes(
            native.build_marker(
                commit=True, coordinator_epoch=1, producer_id=5, producer_epoch=0, timestamp=NOW
            )
        ),
    )
    yield "no-sequence", patched(sample("none", sequence=0), 53, -1, 4)
    yield "newest-claimed", patched(sample("gzip"), 35, NOW + 3_700_000, 8)
    yield "newest-understated", patched(good, 35, NOW, 8)
    for name, at, size, values in (
        ("base-offset", 0, 8, (7, -1)),
        ("length", 8, 4, (-1, 0, 13, 14, 40, 4_000)),
        ("magic", 16, 1, (0, 1, 3, -1)),
        ("last-offset-delta", 23, 4, (1, 3, -1)),
        ("count", 57, 4, (0, 2, 4, -1)),
    ):
        for value in values:
            yield f"{name}={value}", patched(good, at, value, size)
    short = patched(patched(good, 57, 2, 4), 23, 1, 4)
    yield "fewer-announced", short
    yield "more-announced", patched(patched(good, 57, 4, 4), 23, 3, 4)


def checks() -> Iterator[str]:
    for rules in RULES:
        for codec in CODECS:
            yield f"{codec}\t{rules}\t{b64encode(sample(codec)).decode()}"
    for codec in CODECS:
        late = sample(codec, timestamps=(0, 3_600_001, 3_600_000))
        yield f"late-{codec}\t\t{b64encode(late).decode()}"
        untimed = sample(codec, timestamps=(-NOW - 1,))
        yield f"untimed-{codec}\ttimestamp_before_max_ms=4\t{b64encode(untimed).decode()}"
        sequenced = sample(codec, sequence=9)
        yield f"sequenced-{codec}\t\t{b64encode(sequenced).decode()}"
    for name, batch in oddities():
        yield f"{name}\t\t{b64encode(batch).decode()}"


def ours() -> Iterator[str]:
    for codec in CODECS:
        for count in (1, 3, 5_000):
            batch = sample(codec, sequence=2**31 - 2, timestamps=tuple(range(count)))
            yield f"{codec}-{count}\t{b64encode(batch).decode()}"


def main() -> int:
    """Write both files, then let Kafka read ours."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.batch_dump import dump  # the tests' own reader

    classpath = sys.argv[1]
    VECTORS.mkdir(exist_ok=True)
    for name, lines in (
        ("batches", java(classpath, "write", [])),
        ("checks", java(classpath, "judge", list(checks()))),
    ):
        (VECTORS / f"{name}.tsv").write_text("".join(f"{line}\n" for line in lines))
    wrong = []
    for line in java(classpath, "read", list(ours())):
        name, batch, read = line.split("\t")
        if dump(batch) != read:
            wrong.append(name)
    print(f"Kafka reads our batches otherwise: {wrong}" if wrong else "Kafka reads our batches")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
