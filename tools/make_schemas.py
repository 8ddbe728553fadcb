"""Turns the message definitions inside Apache Kafka's jars into our compact schema file.

    python tools/make_schemas.py $(kafka-run-class classpath)

The argument is a class path (or single jars). Run it when a new Kafka release is to be spoken;
then run `tools/make_messages.py`, which turns the schema into Python classes.
"""

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "src/automq/protocol/schemas/kafka.schema"
DEFINITION = re.compile(r"common/message/\w+\.json")
JARS = re.compile(r"kafka-(clients|group-coordinator|transaction-coordinator|share-coordinator)-\d")

HEAD = """\
# Kafka's messages, every version of them. Facts taken from Apache Kafka {release} by
# tools/make_schemas.py; read by the native codec and by tools/make_messages.py.
#
# A message:  Name kind [key=K] versions=A-B flexible=F+|none
# A field:    name type [versions; all if absent] [null=VERSIONS] [default=VALUE] [tag=T@VERSIONS]
#             [ignorable: dropped, not refused, in versions without it] [rigid: never compact]
# Deeper lines are the fields of the struct named by the line above; `struct Name` is a struct that
# several fields of its message use. Names are in snake_case, otherwise Kafka's.
"""

Definition = dict[str, Any]


def snake_case(name: str) -> str:
    """Kafka's name as Python spells it: `KRaftVersion` is `kraft_version`."""
    name = name.replace("KRaft", "Kraft").replace("kRaft", "kraft")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def read_definitions(jar: Path) -> list[Definition]:
    """The definitions in one jar, without the comments that JSON does not have."""
    found = []
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if DEFINITION.fullmatch(name):
                text = archive.read(name).decode()
                found.append(json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)))
    return found


def default_of(field: Definition) -> str | None:
    """The default as the schema file spells it; None for the zero of the type."""
    # Kafka's generator takes a bare null for "no default given"; only the text "null" is null.
    if field.get("default") is None:
        return None
    text = str(field["default"])
    if text.startswith("0x"):
        text = str(int(text, 16))
    return None if text in {"", "0", "false", "False"} else text


def field_lines(field: Definition, indent: str) -> list[str]:
    """The line of a field, and those of the struct it defines."""
    words = [snake_case(field["name"]), field["type"]]
    tagged = field.get("taggedVersions")
    versions = field.get("versions", tagged)
    if versions != "0+":
        words.append(versions)
    if field.get("nullableVersions", "none") != "none":
        words.append(f"null={field['nullableVersions']}")
    if (default := default_of(field)) is not None:
        words.append(f"default={default}")
    if tagged is not None:
        words.append(f"tag={field['tag']}@{tagged}")
    if field.get("ignorable") is True:
        words.append("ignorable")
    if field.get("flexibleVersions") == "none":
        words.append("rigid")
    return [indent + " ".join(words), *struct_lines(field, indent)]


def struct_lines(definition: Definition, indent: str) -> list[str]:
    """The lines of the fields of a message, a common struct or a struct in place."""
    inner = indent + "  "
    return [line for field in definition.get("fields", []) for line in field_lines(field, inner)]


def message_lines(definition: Definition) -> list[str]:
    """One message with everything below it."""
    words = [definition["name"], definition["type"]]
    if "apiKey" in definition:
        words.append(f"key={definition['apiKey']}")
    words.append(f"versions={definition['validVersions']}")
    if definition["validVersions"] != "none":
        words.append(f"flexible={definition['flexibleVersions']}")
    lines = [" ".join(words)]
    for common in definition.get("commonStructs", []):
        lines += [f"  struct {common['name']}", *struct_lines(common, "  ")]
    return lines + struct_lines(definition, "")


def main(arguments: list[str]) -> int:
    jars = [Path(jar) for jar in ":".join(arguments).split(":") if JARS.search(jar)]
    if not jars:
        sys.exit("usage: make_schemas.py CLASSPATH   (it must hold the jars of Apache Kafka)")
    definitions = [one for jar in jars for one in read_definitions(jar)]
    release = next(jar.stem.rsplit("-", 1)[1] for jar in jars)
    lines = HEAD.format(release=release).splitlines()
    for definition in sorted(definitions, key=lambda each: str(each["name"])):
        lines += ["", *message_lines(definition)]
    SCHEMA.parent.mkdir(parents=True, exist_ok=True)
    SCHEMA.write_text("\n".join(lines) + "\n")
    print(f"{SCHEMA.relative_to(ROOT)}: {len(definitions)} messages, {len(lines)} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
