"""Which store a URI names, and opening it."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from automq._native import BlobError, BlobStore
from automq.objectstore import errors
from automq.objectstore.memory import MemoryStore
from automq.objectstore.native import NativeStore
from automq.objectstore.store import ObjectStore, check_key
from automq.world import World

TIMEOUT_MS = 30_000
S3_PARAMETERS = ("endpoint", "region", "path_style", "allow_http", "timeout_ms")
S3_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
"""What is taken from the environment: who we are. Where the store is, only its URI says."""

_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}")
_ENDPOINT = re.compile(r"(https?)://([^/?#@\s]+)/?")


class BadUri(ValueError):
    """The URI names no store. One line: what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Static keys of an S3-compatible store, from a configuration. Never shown."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A directory, relative to the working directory unless absolute."""

    path: Path

    def __str__(self) -> str:
        return f"file://{self.path}" if self.path.is_absolute() else f"file://./{self.path}"


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket of an S3-compatible store, or what is below a prefix in it."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    path_style: bool = False
    timeout_ms: int = TIMEOUT_MS

    def __str__(self) -> str:
        at = "" if self.endpoint is None else f"?endpoint={self.endpoint}"
        return f"s3://{self.bucket}{'/' if self.prefix else ''}{self.prefix}{at}"


@dataclass(frozen=True, slots=True)
class MemoryLocation:
    """A store of this process, empty each time it is opened."""

    def __str__(self) -> str:
        return "memory://"


Location: TypeAlias = FileLocation | S3Location | MemoryLocation


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
            " set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    match parts.scheme:
        case "file":
            return _file(uri, parts)
        case "s3":
            return _s3(parts)
        case "memory":
            if uri != "memory://":
                raise BadUri(f"storage URI {uri!r}: memory:// takes nothing after it")
            return MemoryLocation()
        case _:
            raise BadUri(
                f"storage URI {uri!r}: starts with none of file:// (a directory), s3:// and"
                " memory://; a directory is file://./data or file:///var/lib/automq"
            )


def open_store(
    uri: str,
    world: World,
    *,
    credentials: Credentials | None = None,
    region: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> ObjectStore:
    """The store that `uri` names. Raises BadUri, Denied, Unavailable.

    `file://` opens its directory at once, and blocks for that long; the others wait for the first
    call. For `s3://`, `credentials` come first, then keys, roles and tokens named by the
    environment (S3_ENVIRONMENT, of this process if not given), then the machine's own role.
    `region` is that of a URI that names none.
    """
    location = parse_uri(uri)
    match location:
        case MemoryLocation():
            return MemoryStore(world.clock)
        case FileLocation(path=path):
            return NativeStore(_opened(location, lambda: BlobStore.local(str(path))), str(location))
        case S3Location():
            environ = os.environ if environ is None else environ
            options = s3_options(location, credentials, environ, region)
            return NativeStore(_opened_s3(location, options), str(location))


def s3_options(
    at: S3Location,
    credentials: Credentials | None,
    environ: Mapping[str, str],
    configured_region: str | None = None,
) -> dict[str, str]:
    """The options of the native client, secrets among them. Raises BadUri for half a key."""
    region = at.region or configured_region
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    options = {
        "aws_region": region or "us-east-1",
        "aws_virtual_hosted_style_request": str(not at.path_style).lower(),
    }
    if at.endpoint is not None:
        scheme, host = at.endpoint.split("://", 1)
        options["aws_endpoint"] = f"{scheme}://{'' if at.path_style else f'{at.bucket}.'}{host}"
        options["aws_allow_http"] = str(scheme == "http").lower()
    if credentials is not None:
        options["aws_access_key_id"] = credentials.access_key_id
        options["aws_secret_access_key"] = credentials.secret_access_key
        if credentials.session_token is not None:
            options["aws_session_token"] = credentials.session_token
        return options
    options |= {name.lower(): environ[name] for name in S3_ENVIRONMENT if environ.get(name)}
    if ("aws_access_key_id" in options) != ("aws_secret_access_key" in options):
        raise BadUri(
            f"storage URI {at}: one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set; set"
            " both, or none to use the machine's role"
        )
    return options


def _opened_s3(at: S3Location, options: dict[str, str]) -> BlobStore:
    return _opened(at, lambda: BlobStore.s3(at.bucket, at.prefix, at.timeout_ms, options))


def _opened(location: Location, open_native: Callable[[], BlobStore]) -> BlobStore:
    try:
        return open_native()
    except BlobError as refused:
        kind, why = refused.args
        if kind == "Invalid":
            raise BadUri(f"storage URI {location}: {why}") from None
        error: type[errors.StoreError] = getattr(errors, kind)
        raise error("open", str(location), "", why) from None


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


def _s3(parts: SplitResult) -> S3Location:
    bucket, prefix = parts.netloc, unquote(parts.path).strip("/")
    shown = f"storage URI s3://{bucket}{parts.path}"
    if not _BUCKET.fullmatch(bucket):
        raise BadUri(f"{shown}: {bucket!r} is no bucket; write s3://bucket/prefix?region=...")
    if parts.fragment:
        raise BadUri(f"{shown}: has a '#'; parameters follow a '?'")
    if prefix:
        try:
            check_key(prefix)
        except ValueError as why:
            raise BadUri(f"{shown}: {why}") from None
    given = _parameters(shown, parts.query)
    endpoint = _endpoint(shown, given)
    path_style = _flag(shown, given, "path_style", default=endpoint is not None)
    timeout = given.get("timeout_ms", str(TIMEOUT_MS))
    if not timeout.isascii() or not timeout.isdigit() or int(timeout) < 1:
        raise BadUri(f"{shown}: timeout_ms={timeout!r} is no number of milliseconds")
    return S3Location(bucket, prefix, endpoint, given.get("region"), path_style, int(timeout))


def _parameters(shown: str, query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in S3_PARAMETERS:
            # The value is not shown: it may be a key.
            raise BadUri(f"{shown}: unknown parameter {name!r}; known: {', '.join(S3_PARAMETERS)}")
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
