"""Where the values of a configuration come from: a file, the environment, the command line."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from automq.config import keys
from automq.config.key import ConfigError, base_of_listener_key
from automq.config.keys.tables import AnyKey
from automq.config.properties import parse_properties

PREFIX: Final = "AUTOMQ_"
OURS: Final = "automq."

# What Kubernetes puts into every container for a service called automq, or automq-something.
SERVICE_LINK: Final = (
    r"AUTOMQ_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
REMOVED: Final = {
    "zookeeper.": "ZooKeeper left Kafka with 4.0; delete it",
    "log.message.format.version": "it left Kafka with 4.0; delete it",
    "inter.broker.protocol.version": "it left Kafka with 4.0; delete it",
}


class Given(msgspec.Struct, frozen=True):
    """A value as it was given, the key that rules it, and where it was found."""

    key: AnyKey
    value: str
    origin: str


def from_file(text: str, file_name: str, errors: list[str]) -> dict[str, Given]:
    """What a properties file says; a later line wins."""
    found: dict[str, Given] = {}
    try:
        properties = parse_properties(text)
    except ConfigError as error:
        errors.append(f"{file_name}: {error}")
        return found
    for item in properties:
        origin = f"{file_name}:{item.line}"
        key = find_key(item.name)
        if key is None:
            errors.append(f"{origin}: {unknown(item.name)}")
        else:
            found[item.name] = Given(key, item.value, origin)
    return found


def from_environment(environment: Mapping[str, str], errors: list[str]) -> dict[str, Given]:
    """What AUTOMQ_<KEY WITH _ FOR . AND UPPER CASE> says. The prefix of our own keys may be left
    out.
    """
    mine = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
    if not mine:
        return {}
    found: dict[str, Given] = {}
    names = {to_variable(name): name for name in keys.broker_keys()}
    for variable in sorted(mine):
        stem = variable[len(PREFIX) :]
        name = names.get(stem) or names.get(PREFIX + stem) or listener_name(stem, names)
        if name is None:
            if not re.fullmatch(SERVICE_LINK, variable):
                guess = stem.lower().replace("_", ".")
                errors.append(f"environment: {variable}: {unknown(guess)}")
            continue
        key = find_key(name)
        assert key is not None, name
        if name in found and found[name].value != mine[variable]:
            errors.append(
                f"environment: {variable} and {found[name].origin.removeprefix('environment: ')} "
                f"both set {name}, to different values; expected one of them"
            )
        found[name] = Given(key, mine[variable], f"environment: {variable}")
    return found


def from_overrides(overrides: Iterable[str], errors: list[str]) -> dict[str, Given]:
    """What `--set key=value` says; a later one wins."""
    found: dict[str, Given] = {}
    for item in overrides:
        name, equals, value = item.partition("=")
        name = name.strip()
        if not equals:
            errors.append(f"--set {name}: expected key=value")
            continue
        key = find_key(name)
        if key is None:
            errors.append(f"--set: {unknown(name)}")
        else:
            found[name] = Given(key, value, f"--set {name}")
    return found


def find_key(name: str) -> AnyKey | None:
    """The key that rules `name`, which may carry a listener's prefix; None if there is none."""
    table = keys.broker_keys()
    key = table.get(name)
    if key is None and (base := base_of_listener_key(name)) is not None:
        # listener.name.<listener>.<key> or listener.name.<listener>.<mechanism>.<key>
        candidates = (base, base.partition(".")[2])
        key = next((table[item] for item in candidates if item in table), None)
    return key


def listener_name(stem: str, names: Mapping[str, str]) -> str | None:
    """LISTENER_NAME_<LISTENER>_<KEY>, where both may hold underscores: the longest key wins."""
    head = "LISTENER_NAME_"
    if not stem.startswith(head):
        return None
    words = stem[len(head) :].split("_")
    for end in range(1, len(words)):
        key = names.get("_".join(words[end:]))
        if key is not None:
            return f"listener.name.{'_'.join(words[:end]).lower()}.{key}"
    return None


def to_variable(name: str) -> str:
    return name.upper().replace(".", "_")


def unknown(name: str) -> str:
    """One line about a key that does not exist, with the nearest that does."""
    for removed, why in REMOVED.items():
        if name.startswith(removed):
            return f"Unknown configuration {name}: {why}"
    import difflib  # only needed when something is wrong already

    known = keys.broker_keys()
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    near = near or difflib.get_close_matches(OURS + name, known, n=1, cutoff=0.8)
    hint = f"did you mean {near[0]}?" if near else "see docs/reference/config.md for all keys"
    return f"Unknown configuration {name}: {hint}"
