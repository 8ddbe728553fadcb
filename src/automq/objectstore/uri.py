"""Opening the store that a URI names."""

import os
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeAlias

from automq._native import BlobError, BlobStore
from automq.objectstore import errors
from automq.objectstore.location import (
    BadUri,
    CloudLocation,
    FileLocation,
    Location,
    MemoryLocation,
    parse_uri,
)
from automq.objectstore.memory import MemoryStore
from automq.objectstore.native import NativeStore
from automq.objectstore.providers import OPTIONS, Credentials
from automq.objectstore.store import MULTIPART_BYTES, ObjectStore
from automq.world import World

Address: TypeAlias = IPv4Address | IPv6Address


def open_store(
    uri: str,
    world: World,
    *,
    credentials: Credentials | None = None,
    region: str | None = None,
    ca_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    address: Address | None = None,
    multipart_bytes: int = MULTIPART_BYTES,
) -> ObjectStore:
    """The store that `uri` names. Raises BadUri, Denied, Unavailable.

    `file://` opens its directory at once, and blocks for that long; the others wait for the first
    call. `credentials` (of `s3://` and `oss://`) come first, then keys, roles and tokens named by
    the environment (see `providers`; of this process if not given), then the machine's own role.
    `region` and `ca_file` are those of a URI that names none. With `address` a store in the network
    is asked there, wherever its name leads; it takes objects of more than `multipart_bytes` in
    parts.
    """
    location = parse_uri(uri)
    match location:
        case MemoryLocation():
            return MemoryStore(world.clock)
        case FileLocation(path=path):
            return NativeStore(_opened(location, lambda: BlobStore.local(str(path))), str(location))
        case CloudLocation():
            environ = os.environ if environ is None else environ
            options = OPTIONS[location.scheme](location, credentials, environ, region)
            ca_file = location.ca_file or ca_file
            native = _opened_cloud(location, options, ca_file, address, multipart_bytes)
            return NativeStore(native, str(location))


def _opened_cloud(
    at: CloudLocation,
    options: dict[str, str],
    ca_file: Path | None,
    address: Address | None,
    multipart_bytes: int,
) -> BlobStore:
    try:
        ca_pem = None if ca_file is None else ca_file.read_bytes()
    except OSError as why:
        raise BadUri(f"storage URI {at}: cannot read the CA file {ca_file}: {why}") from None
    return _opened(
        at,
        lambda: BlobStore.cloud(
            at.scheme,
            at.bucket,
            at.prefix,
            timeout_ms=at.timeout_ms,
            options=options,
            ca_pem=ca_pem,
            proxy=at.proxy,
            address=address,
            multipart_bytes=multipart_bytes,
        ),
    )


def _opened(location: Location, open_native: Callable[[], BlobStore]) -> BlobStore:
    try:
        return open_native()
    except BlobError as refused:
        kind, why = refused.args
        if kind == "Invalid":
            raise BadUri(f"storage URI {location}: {why}") from None
        error: type[errors.StoreError] = getattr(errors, kind)
        raise error("open", str(location), "", why) from None
