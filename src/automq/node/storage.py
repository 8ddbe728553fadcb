"""The stores of a node, by URI and with its keys, and the register of its metadata log."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.metadata.postgres import PostgresRegister, open_register, parse_uri
from automq.metadata.postgres.location import is_postgres
from automq.metadata.register import (
    Listed,
    ListedRegister,
    ObjectStoreRegister,
    Patience,
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
from automq.stream.wal import WalHome, store_uri_of, wal_home
from automq.world import World
from automq.world.background import Tasks

R = TypeVar("R", bound=Register)
REGISTERED = "registered+"
WalPlaces = Callable[[str, bytes, Tasks], WalHome]
"""Where the WALs of a URI live, those of one cluster; what runs beside belongs to the tasks."""

PATIENCE_MS = 20_000
"""What a command waits for a store that does not answer; a node waits as long as it takes."""
ATTEMPTS_MAX = 10
"""The same for a register that does not repeat by itself: some seconds."""


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


def reading_at(config: NodeConfig, world: World, uri: str) -> Retrying:
    """The store of a URI, for who only looks at it: no call takes longer than `PATIENCE_MS`.

    Raises NodeFailure.
    """
    return Retrying(open_at(config, world, uri), world).within(PATIENCE_MS)


@dataclass(frozen=True, slots=True)
class ReadLog:
    """The place of a metadata log, for who only reads: a call that has no answer in time raises
    Unsettled.
    """

    register: SteadyRegister
    keys: Listed
    rows: ListedRegister
    """The same, each call one attempt: what tells who has the numbers of a WAL."""


@asynccontextmanager
async def log_at(config: NodeConfig, world: World) -> AsyncIterator[ReadLog]:
    """Where the log lies, for the time of a `with` block. Raises NodeFailure."""
    if is_postgres(config.metadata_uri):
        table = open_register_at(config, world)
        assert isinstance(table, PostgresRegister)
        async with closed_after(table):
            patience = Patience(attempts_max=ATTEMPTS_MAX)
            yield ReadLog(SteadyRegister(table, world, patience), table, table)
    else:
        store = reading_at(config, world, config.metadata_uri)
        async with closed_after(ObjectStoreRegister(store)) as register:
            once = Patience(attempts_max=1)
            yield ReadLog(SteadyRegister(register, world, once), store, register)


@asynccontextmanager
async def register_at(config: NodeConfig, world: World) -> AsyncIterator[SteadyRegister]:
    """The register of the metadata log, for who only reads it, as `log_at` gives it."""
    async with log_at(config, world) as log:
        yield log.register


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
        return robust(wal_store_at(config, world, uri, register), world, metrics)

    def home(uri: str, cluster_id: bytes, tasks: Tasks) -> WalHome:
        try:
            return wal_home(uri, cluster_id=cluster_id, world=world, tasks=tasks, store_at=store_at)
        except ValueError as error:
            raise NodeFailure(str(error), status=2) from None

    return home


def wal_store_at(
    config: NodeConfig, world: World, uri: str, register: ListedRegister
) -> ObjectStore:
    """The store of a WAL's URI, each call of it one attempt. Raises NodeFailure."""
    store = open_at(config, world, uri.removeprefix(REGISTERED))
    return RegisteredStore(store, register) if uri.startswith(REGISTERED) else store


def reading_wals_at(
    config: NodeConfig, world: World, register: ListedRegister
) -> ObjectStore | None:
    """Where the WALs of the configuration are, as `reading_at`; None if they are in files, or in
    the store that the data are in. Raises NodeFailure.
    """
    uri = store_uri_of(config.wal_uri)
    if uri is None or uri == config.storage_uri:
        return None
    return Retrying(wal_store_at(config, world, uri, register), world).within(PATIENCE_MS)


def credentials_of(config: NodeConfig, uri: str) -> Credentials | None:
    """The keys that the configuration holds for the kind of store that `uri` names."""
    names = (keys.automq.S3_ACCESS_KEY_ID, keys.automq.S3_SECRET_ACCESS_KEY)
    token = keys.automq.S3_SESSION_TOKEN
    if uri.startswith("oss:"):
        names = (keys.automq.OSS_ACCESS_KEY_ID, keys.automq.OSS_ACCESS_KEY_SECRET)
        token = keys.automq.OSS_SESSION_TOKEN
    key_id, secret = (config.get(name) for name in names)
    return Credentials(key_id, secret, config.get(token)) if key_id and secret else None
