"""Listeners in Kafka's notation: `NAME://host:port`, and the security protocol behind each name."""

import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from automq.config.key import ConfigError

LISTENER: Final = r"(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)"
LISTENERS: Final = "listeners"
ADVERTISED: Final = "advertised.listeners"
EVERY_INTERFACE: Final = ("0.0.0.0", "::")  # noqa: S104 - to recognise it
PROTOCOL_MAP: Final = "listener.security.protocol.map"


class SecurityProtocol(enum.IntEnum):
    """What protects a connection, by Kafka's number."""

    PLAINTEXT = 0
    SSL = 1
    SASL_PLAINTEXT = 2
    SASL_SSL = 3


class Listener(msgspec.Struct, frozen=True):
    """An address to listen on or to tell clients. An empty `host` is every interface."""

    name: str
    host: str
    port: int
    protocol: SecurityProtocol

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


def parse_protocol_map(text: str) -> dict[str, SecurityProtocol]:
    """`NAME:PROTOCOL,...` by listener name (upper case). Raises ConfigError."""
    protocols: dict[str, SecurityProtocol] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, colon, protocol = item.rpartition(":")
        known = protocol.strip().upper() in SecurityProtocol.__members__
        if not (colon and name.strip() and known):
            wanted = f"Expected NAME:PROTOCOL with one of {', '.join(SecurityProtocol.__members__)}"
            raise ConfigError.of(PROTOCOL_MAP, item, wanted)
        protocols[name.strip().upper()] = SecurityProtocol[protocol.strip().upper()]
    return protocols


def parse_listener(key: str, text: str, protocols: Mapping[str, SecurityProtocol]) -> Listener:
    """One `NAME://host:port`. Raises ConfigError."""
    match = re.fullmatch(LISTENER, text.strip())
    if match is None:
        raise ConfigError.of(key, text, "Expected NAME://host:port")
    name, host, port = match[1].strip().upper(), match[2], int(match[3])
    if name not in protocols:
        wanted = (
            f"No security protocol is defined for listener {name or '(no name)'} in {PROTOCOL_MAP}"
        )
        raise ConfigError.of(key, text, wanted)
    if not 0 <= port <= 65535:
        raise ConfigError.of(key, text, "Expected a port from 0 to 65535")
    return Listener(name, host, port, protocols[name])


def parse_listeners(
    key: str, texts: Sequence[str], protocols: Mapping[str, SecurityProtocol]
) -> tuple[Listener, ...]:
    """All of them. For `listeners`, ports must differ too (unless 0: any). Raises ConfigError."""
    found: list[Listener] = []
    for text in texts:
        listener = parse_listener(key, text, protocols)
        if any(other.name == listener.name for other in found):
            raise ConfigError.of(key, ",".join(texts), "Each listener must have a different name")
        if key == LISTENERS and any(clash(other, listener) for other in found):
            raise ConfigError.of(
                key, ",".join(texts), "Each listener must have a different port on one host"
            )
        found.append(listener)
    return tuple(found)


def clash(one: Listener, other: Listener) -> bool:
    """Whether both want the same port of the same address; IPv4 and IPv6 may share a port."""
    if one.port != other.port or one.port == 0:
        return False
    two_families = (":" in one.host) != (":" in other.host)
    return not (one.host and other.host and two_families)


def check_advertised(
    listeners: Sequence[Listener], advertised: Sequence[Listener]
) -> Iterator[str]:
    """What is wrong with the advertised addresses, a line each."""
    names = [listener.name for listener in listeners]
    for told in advertised:
        if told.name not in names:
            wanted = f"Expected a name that {LISTENERS} defines: {', '.join(names)}"
            yield str(ConfigError.of(ADVERTISED, told, wanted))
        if told.host in EVERY_INTERFACE:
            wanted = f"Clients cannot connect to {told.host}; expected an address they can reach"
            yield str(ConfigError.of(ADVERTISED, told, wanted))
    if not advertised:
        yield (
            "There must be at least one broker advertised listener. "
            "Perhaps all listeners appear in controller.listener.names?"
        )
