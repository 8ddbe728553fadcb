"""Asks Apache's own classes for messages of every version: what the codec is tested against.

    python tools/make_vectors.py CLASSPATH                 write tests/protocol/vectors
    python tools/make_vectors.py CLASSPATH --soak ROUNDS   compare fresh random content, both ways

CLASSPATH is that of Apache Kafka (`kafka-run-class classpath`); needs Java 17. The soak has Apache
write messages that we read and write again, each round with another seed, and has it read those
that we wrote from our own random values.
"""

import json
import lzma
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tools/java/MessageVectors.java"
VECTORS = ROOT / "tests/protocol/vectors/messages.jsonl.xz"
SCHEMA = ROOT / "src/automq/protocol/schemas/kafka.schema"

sys.path.insert(0, str(ROOT / "tests"))


def message_names() -> list[str]:
    """Every message that has versions, in the order of the schema file."""
    heads = [block.splitlines()[0] for block in SCHEMA.read_text().split("\n\n")]
    alive = [head for head in heads if head[0] != "#" and "versions=none" not in head]
    return [head.split()[0] for head in alive]


def ask_java(classpath: str, arguments: Iterable[str], lines: Iterable[str]) -> str:
    """What the Java program answers to `lines`."""
    command = ["java", "-cp", classpath, str(PROGRAM), *arguments]
    text = "\n".join(lines) + "\n"
    return subprocess.run(command, input=text.encode(), stdout=-1, check=True).stdout.decode()


def written_by_java(classpath: str, seed: int, count: int) -> str:
    """Vectors of every message and version, one a line."""
    return ask_java(classpath, ["write", str(seed), str(count)], message_names())


def soak(classpath: str, rounds: int) -> int:
    """Compares both directions with fresh content; the number of differences, each printed."""
    from support import message_vectors as vectors

    differences = 0
    for seed in range(rounds):
        found = [*check_reading(classpath, seed, vectors), *check_writing(classpath, seed, vectors)]
        for difference in found:
            print(f"seed {seed}: {difference}")
        differences += len(found)
    print(f"{rounds} rounds, {differences} differences")
    return differences


def check_reading(classpath: str, seed: int, vectors: Any) -> Iterator[str]:
    """We read and rewrite what Apache wrote."""
    for line in written_by_java(classpath, seed, 5).splitlines():
        vector = vectors.parse(line)
        problem = vectors.difference(vector)
        if problem is not None:
            yield f"{vector.message} v{vector.version}: {problem}"


def check_writing(classpath: str, seed: int, vectors: Any) -> Iterator[str]:
    """Apache reads and rewrites what we wrote."""
    ours = list(vectors.random_vectors(message_names(), seed))
    lines = [
        json.dumps({"message": one.message, "version": one.version, "bytes": one.data.hex()})
        for one in ours
    ]
    answers = ask_java(classpath, ["read"], lines).splitlines()
    assert len(answers) == len(ours), "an answer is missing"
    for one, answer in zip(ours, map(vectors.parse, answers), strict=True):
        if answer.data != one.data or answer.value != one.value:
            yield f"{one.message} v{one.version}: Apache reads {answer.value}, not {one.value}"


def main(arguments: list[str]) -> int:
    match arguments:
        case [classpath]:
            text = written_by_java(classpath, seed=1, count=5)
            VECTORS.parent.mkdir(parents=True, exist_ok=True)
            VECTORS.write_bytes(lzma.compress(text.encode(), preset=9))
            print(f"{len(text.splitlines())} vectors, {VECTORS.stat().st_size} bytes")
            return 0
        case [classpath, "--soak", rounds]:
            return 1 if soak(classpath, int(rounds)) else 0
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
