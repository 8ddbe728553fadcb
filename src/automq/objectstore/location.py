"""Which store a URI names: the text alone, nothing is opened."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from automq.objectstore.store import check_key

TIMEOUT_MS = 30_000
ALL_PARAMETERS = ("endpoint", "allow_http", "timeout_ms", "ca_file", "proxy")
PARAMETERS = {
    "s3": ("endpoint", "region", "path_style", *ALL_PARAMETERS[1:]),
    "oss": ("endpoint", "region", "path_style", *ALL_PARAMETERS[1:]),
    "gs": ALL_PARAMETERS,
    "az": ("account", *ALL_PARAMETERS),
}
KEYS_ARE_IN = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "oss": "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_KEY",
}

_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}")
_ENDPOINT = re.compile(r"(https?)://([^/?#@\s]+)/?")


class BadUri(ValueError):
    """The URI names no store. One line: what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A directory, relative to the working directory unless absolute."""

    path: Path

    def __str__(self) -> str:
        return f"file://{self.path}" if self.path.is_absolute() else f"file://./{self.path}"


@dataclass(frozen=True, slots=True)
class CloudLocation:
    """A bucket of a store in the network, or what is below a prefix in it."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    path_style: bool = False
    timeout_ms: int = TIMEOUT_MS
    scheme: str = "s3"
    account: str | None = None
    """Azure's storage account; its container is the bucket."""
    ca_file: Path | None = None
    """Certificates that are trusted besides those of the system."""
    proxy: str | None = None
    """None is straight, whatever the environment says."""

    def __str__(self) -> str:
        at = "" if self.endpoint is None else f"?endpoint={self.endpoint}"
        return f"{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}{at}"


@dataclass(frozen=True, slots=True)
class MemoryLocation:
    """A store of this process, empty each time it is opened."""

    def __str__(self) -> str:
        return "memory://"


Location: TypeAlias = FileLocation | CloudLocation | MemoryLocation


def parse_uri(uri: str) -> Location:
    """The store that `uri` names. Raises BadUri; looks at nothing but the text."""
    try:
        parts = urlsplit(uri)
    except ValueError as why:
        raise BadUri(f"storage URI: {why}") from None
    if "@" in parts.netloc:
        # Not shown: what stands in front of the @ is a secret.
        raise BadUri(
            f"storage URI {parts.scheme}://...: keys do not belong into a URI, which is logged;"
            f" set {KEYS_ARE_IN.get(parts.scheme, KEYS_ARE_IN['s3'])}"
        )
    match parts.scheme:
        case "file":
            return _file(uri, parts)
        case "s3" | "oss" | "gs" | "az":
            return _cloud(parts)
        case "memory":
            if uri != "memory://":
                raise BadUri(f"storage URI {uri!r}: memory:// takes nothing after it")
            return MemoryLocation()
        case _:
            raise BadUri(
                f"storage URI {uri!r}: starts with none of file:// (a directory), s3://, oss://,"
                " gs://, az:// and memory://; a directory is file://./data or file:///var/lib/automq"
            )


def _file(uri: str, parts: SplitResult) -> FileLocation:
    if parts.netloc not in ("", ".", "..", "localhost"):
        raise BadUri(
            f"storage URI {uri!r}: {parts.netloc!r} is where a host would be; write"
            f" file://./{parts.netloc}{parts.path} or file:///{parts.netloc}{parts.path}"
        )
    if parts.query or parts.fragment:
        raise BadUri(f"storage URI {uri!r}: file:// takes a path and nothing after it")
    relative = parts.netloc if parts.netloc in (".", "..") else ""
    path = Path(unquote(relative + parts.path))
    if path in (Path(), Path("/")):
        raise BadUri(f"storage URI {uri!r}: names no directory; write file://./data")
    return FileLocation(path)


def _cloud(parts: SplitResult) -> CloudLocation:
    bucket, prefix = parts.netloc, unquote(parts.path).strip("/")
    shown = f"storage URI {parts.scheme}://{bucket}{parts.path}"
    if not _BUCKET.fullmatch(bucket):
        raise BadUri(f"{shown}: {bucket!r} is no bucket; write {parts.scheme}://bucket/prefix?...")
    if parts.fragment:
        raise BadUri(f"{shown}: has a '#'; parameters follow a '?'")
    if prefix:
        try:
            check_key(prefix)
        except ValueError as why:
            raise BadUri(f"{shown}: {why}") from None
    given = _parameters(shown, parts.query, PARAMETERS[parts.scheme])
    endpoint = _endpoint(shown, given)
    timeout = given.get("timeout_ms", str(TIMEOUT_MS))
    if not timeout.isascii() or not timeout.isdigit() or int(timeout) < 1:
        raise BadUri(f"{shown}: timeout_ms={timeout!r} is no number of milliseconds")
    # OSS answers to the bucket's own host only; S3-compatible stores rarely have one for each.
    by_path = parts.scheme == "s3" and endpoint is not None
    return CloudLocation(
        bucket,
        prefix,
        endpoint,
        given.get("region"),
        _flag(shown, given, "path_style", default=by_path),
        int(timeout),
        parts.scheme,
        given.get("account"),
        Path(given["ca_file"]) if "ca_file" in given else None,
        _proxy(shown, given),
    )


def _proxy(shown: str, given: Mapping[str, str]) -> str | None:
    if "proxy" in given and not _ENDPOINT.fullmatch(given["proxy"]):
        raise BadUri(f"{shown}: proxy is not like http://host:port (and takes no password)")
    return given.get("proxy")


def _parameters(shown: str, query: str, known: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            # The value is not shown: it may be a key.
            raise BadUri(f"{shown}: unknown parameter {name!r}; known: {', '.join(known)}")
        if name in given:
            raise BadUri(f"{shown}: parameter {name!r} is given twice")
        if not value:
            raise BadUri(f"{shown}: parameter {name!r} is empty")
        given[name] = value
    return given


def _endpoint(shown: str, given: Mapping[str, str]) -> str | None:
    allow_http = _flag(shown, given, "allow_http", default=False)
    if "endpoint" not in given:
        return None
    match = _ENDPOINT.fullmatch(given["endpoint"])
    if match is None:
        raise BadUri(f"{shown}: endpoint is not like https://host:port")
    if match[1] == "http" and not allow_http:
        raise BadUri(
            f"{shown}: endpoint http://{match[2]} is not encrypted; use https://, or add"
            " allow_http=true where the network is trusted"
        )
    return f"{match[1]}://{match[2]}"


def _flag(shown: str, given: Mapping[str, str], name: str, *, default: bool) -> bool:
    match given.get(name):
        case None:
            return default
        case "true" | "false" as value:
            return value == "true"
        case value:
            raise BadUri(f"{shown}: {name}={value!r} is neither true nor false")
