"""Takes the facts about Kafka's configuration keys from Apache Kafka's own classes.

    python tools/make_configs.py CLASSPATH             rewrites src/automq/config/keys/kafka.tsv
    python tools/make_configs.py CLASSPATH HOST:PORT   also asks the broker there (node id 1, fresh)
                                                       and rewrites tests/config/kafka_answers.tsv

CLASSPATH is that of a Kafka distribution (`libs/*`). The broker is to be started with the
properties that tests/config/test_kafka_answers.py has in STATIC. Following a new release is running
this again and reading the difference.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FACTS = ROOT / "src/automq/config/keys/kafka.tsv"
ANSWERS = ROOT / "tests/config/kafka_answers.tsv"
MODES = {"cluster-wide": "cw", "per-broker": "pb"}
HEADER = (
    "# Facts from Apache Kafka {release}, written by tools/make_configs.py. One key a line:\n"
    "# scope, name, type, default (- none, ~ null, =value), importance, update mode (ro, pb, cw),\n"
    "# checks, synonyms in order (name or name*factor), internal\n"
)
NAMED_CHECKS = {
    "ControllerQuorumVotersValidator": "voters",
    "ControllerQuorumBootstrapServersValidator": "servers",
    "ThrottledReplicaListValidator": "throttled",
    "NonEmptyString": "nonempty",
    "NonNullValidator": "",
    "LambdaValidator": "gzip",
    "Validator": "offset-reset",
    "": "",
}


def run_java(classpath: str, program: str, *arguments: str) -> list[list[str]]:
    command = ["java", "-cp", classpath, str(ROOT / "tools/java" / program), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in output.splitlines()]


def check_code(validator: str) -> str:
    """Kafka's validator, as it prints itself, in our short form."""
    kind, _, rest = validator.partition(" ")
    if kind == "-":
        return ""
    words = rest[rest.index("[") + 1 : -1].replace(", ", ",") if "[" in rest else ""
    if kind == "Range":
        ends = words.split(",...")
        return f"{ends[0]}..{ends[1].lstrip(',')}"
    if kind == "ValidString":
        return f"in:{words}"
    if kind == "CaseInsensitiveValidString":
        return f"in-any-case:{words}"
    if kind == "ValidList":
        empty = "" if "isEmptyAllowed=true" in rest else "+"
        null = "?" if "isNullAllowed=true" in rest else ""
        return f"list{empty}{null}:{words}"
    return NAMED_CHECKS[kind]


def fact_lines(rows: list[list[str]]) -> list[str]:
    modes = {row[1]: MODES[row[2]] for row in rows if row[0] == "mode"}
    synonyms: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row[0] == "topic-synonym":
            factor = "" if row[3] == "1" else f"*{row[3]}"
            synonyms.setdefault(("topic", row[1]), []).append(row[2] + factor)
        elif row[0] == "group-synonym" and row[2]:
            synonyms["group", row[1]] = [row[2]]
        elif row[0] == "names":
            synonyms["broker", row[1]] = row[2].split(",")
    lines = []
    for _, scope, name, kind, default, importance, internal, validator in (
        row for row in rows if row[0] == "key"
    ):
        mode = modes.get(name, "ro") if scope.startswith("broker") else "cw"
        text = {"none": "-", "null": "~"}.get(default, default)
        names = ",".join(synonyms.get((scope, name), []))
        flag = "internal" if internal == "true" else ""
        columns = (scope, name, kind, text, importance, mode, check_code(validator), names, flag)
        lines.append("\t".join(columns).rstrip("\t"))
    return lines


def main() -> None:
    classpath = sys.argv[1]
    rows = run_java(classpath, "KafkaConfigFacts.java")
    release = next(row[1] for row in rows if row[0] == "release")
    lines = fact_lines(rows)
    FACTS.write_text(HEADER.format(release=release) + "\n".join(lines) + "\n")
    print(f"{FACTS}: {len(lines)} keys of Apache Kafka {release}")
    if len(sys.argv) > 2:
        answers = run_java(classpath, "KafkaConfigAnswers.java", sys.argv[2])
        ANSWERS.write_text("\n".join("\t".join(row) for row in answers) + "\n")
        print(f"{ANSWERS}: {len(answers)} answers")


if __name__ == "__main__":
    main()
