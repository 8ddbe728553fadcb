"""The stores of a node, by URI and with its keys, and the register of its metadata log."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.metadata.postgres import PostgresRegister, open_register, parse_uri
from automq.metadata.postgres.location import is_postgres
from automq.metadata.register import (
    ListedRegister,
    ObjectStoreRegister,
    Register,
    SteadyRegister,
    Unfit,
)
from automq.metadata.registered_store import RegisteredStore
from automq.node.failure import NodeFailure
from automq.objectstore import (
    BadUri,
    Credentials,
    ObjectStore,
    Retrying,
    StoreMetrics,
    open_store,
    robust,
)
from automq.objectstore.store import MULTIPART_BYTES
from automq.objectstore.uri import Address
from automq.stream.wal import Tasks, WalHome, wal_home
from automq.world import World

R = TypeVar("R", bound=Register)
REGISTERED = "registered+"
WalPlaces = Callable[[str, bytes, Tasks], WalHome]
"""Where the WALs of a URI live, those of one cluster; what runs beside belongs to the tasks."""


def open_at(
    config: NodeConfig,
    world: World,
    uri: str,
    *,
    address: Address | None = None,
    multipart_bytes: int = MULTIPART_BYTES,
) -> ObjectStore:
    """The store of a URI, with the keys that the configuration holds. Raises NodeFailure.

    `address` and `multipart_bytes`: see `open_store`.
    """
    ca_file = config.get(keys.automq.STORAGE_CA_FILE)
    try:
        return open_store(
            uri,
            world,
            credentials=credentials_of(config, uri),
            region=config.get(keys.automq.S3_REGION),
            ca_file=Path(ca_file) if ca_file else None,
            address=address,
            multipart_bytes=multipart_bytes,
        )
    except BadUri as error:
        raise NodeFailure(str(error), status=2) from None


def open_register_at(config: NodeConfig, world: World) -> ObjectStoreRegister | PostgresRegister:
    """The register of the metadata log, each call of it one attempt. Raises NodeFailure."""
    if not is_postgres(config.metadata_uri):
        return ObjectStoreRegister(open_at(config, world, config.metadata_uri))
    password = config.get(keys.automq.POSTGRES_PASSWORD)
    try:
        return open_register(parse_uri(config.metadata_uri), password, world.clock)
    except (BadUri, Unfit) as error:
        raise NodeFailure(str(error), status=2) from None


@asynccontextmanager
async def register_at(config: NodeConfig, world: World) -> AsyncIterator[SteadyRegister]:
    """The register of the metadata log, one that repeats, for the time of a `with` block.

    Raises NodeFailure.
    """
    async with closed_after(open_register_at(config, world)) as register:
        yield SteadyRegister(register, world)


@asynccontextmanager
async def closed_after(register: R) -> AsyncIterator[R]:
    """A register for the time of a `with` block."""
    try:
        yield register
    finally:
        await register.close()


def wals_at(
    config: NodeConfig, world: World, metrics: StoreMetrics, register: ListedRegister
) -> WalPlaces:
    """The places of WALs, by URI and cluster; those in object stores count into `metrics`.

    With `registered+` in front of a store's URI, `register` tells who has a number of a WAL.
    """

    def store_at(uri: str) -> Retrying:
        store = open_at(config, world, uri.removeprefix(REGISTERED))
        if uri.startswith(REGISTERED):
            store = RegisteredStore(store, register)
        return robust(store, world, metrics)

    def home(uri: str, cluster_id: bytes, tasks: Tasks) -> WalHome:
        try:
            return wal_home(uri, cluster_id=cluster_id, world=world, tasks=tasks, store_at=store_at)
        except ValueError as error:
            raise NodeFailure(str(error), status=2) from None

    return home


def credentials_of(config: NodeConfig, uri: str) -> Credentials | None:
    """The keys that the configuration holds for the kind of store that `uri` names."""
    names = (keys.automq.S3_ACCESS_KEY_ID, keys.automq.S3_SECRET_ACCESS_KEY)
    token = keys.automq.S3_SESSION_TOKEN
    if uri.startswith("oss:"):
        names = (keys.automq.OSS_ACCESS_KEY_ID, keys.automq.OSS_ACCESS_KEY_SECRET)
        token = keys.automq.OSS_SESSION_TOKEN
    key_id, secret = (config.get(name) for name in names)
    return Credentials(key_id, secret, config.get(token)) if key_id and secret else None
