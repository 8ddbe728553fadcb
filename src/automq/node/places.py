"""Where a node's data lies and where its clients come in, as its configuration names them."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from automq.broker.listener import Acceptor, listen
from automq.config import keys
from automq.config.listeners import Listener, SecurityProtocol
from automq.config.node_config import NodeConfig
from automq.controller.scanning import LogPlace
from automq.metadata.register import Listed, ObjectStoreRegister, Register, SteadyRegister
from automq.metadata.storage import Wal as RegisteredWal
from automq.node.failure import NodeFailure
from automq.node.metrics_door import MetricsDoor
from automq.node.storage import REGISTERED, WalPlaces, open_at, open_register_at, wals_at
from automq.objectstore import ObjectStore, StoreMetrics
from automq.stream.wal import WalHome, store_uri_of
from automq.telemetry import Metrics
from automq.world import World
from automq.world.background import Tasks

METRICS_BACKLOG = 16


class Door(Protocol):
    """A listener that is bound: clients may knock, and are let in once the node serves."""

    async def serve(self, acceptor: Acceptor) -> None:
        """Hand every client to `acceptor`, until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class SocketDoor:
    """A listening socket of this machine."""

    listener: Listener
    listening: socket.socket

    async def serve(self, acceptor: Acceptor) -> None:
        await acceptor.serve(self.listener, self.listening)

    def __str__(self) -> str:
        return str(self.listener)


@dataclass(frozen=True, slots=True)
class Places:
    """What of a node's surroundings a simulation replaces.

    Each call of the store, and of the register of the metadata log, is one attempt.
    """

    store: ObjectStore
    register: Register
    wals: WalPlaces
    doors: Sequence[Door]
    log_keys: Listed | None = None
    """The place of the metadata log, to be listed."""
    wal_metrics: StoreMetrics = field(default_factory=lambda: StoreMetrics("wal"))
    """What the stores that WALs are in were asked for."""
    metrics: Metrics = field(default_factory=Metrics)
    """What the node shows to who scrapes it."""
    wal_store: Callable[[], ObjectStore] | None = None
    """The store that this node's WAL is in, if it is in one."""

    def log_place(self, register: SteadyRegister) -> LogPlace | None:
        """Where the log lies, for who looks through it; None where it cannot be listed."""
        return None if self.log_keys is None else LogPlace(register, self.log_keys)

    def homes_of(
        self, uri: str, cluster_id: bytes, tasks: Tasks
    ) -> Callable[[RegisteredWal], Sequence[WalHome]]:
        """Where a WAL of this node's earlier lives may be: a disk that is mounted elsewhere by now
        is at `uri`, and one of another kind where it was registered.
        """

        def homes_of(wal: RegisteredWal) -> list[WalHome]:
            uris = [uri] if wal.uri == uri else [uri, wal.uri]
            return [self.wals(it, cluster_id, tasks) for it in uris]

        return homes_of

    async def refuse_unfit(self, world: World) -> None:
        """Raise NodeFailure if no cluster may be made here: a store does not keep our rules.

        The metadata log and a WAL create what another may create as well; data objects are nobody
        else's.
        """
        log_store = self.register.store if isinstance(self.register, ObjectStoreRegister) else None
        stores = [self.store, *([] if log_store is None else [log_store])]
        if self.wal_store is None and all(it.name.startswith("file:") for it in stores):
            # A directory's rules are link(2)'s, and a laptop's start has no time to import this.
            return
        from automq.objectstore.check import Unfit, refuse_unfit

        try:
            if log_store is not None:
                await refuse_unfit(log_store, world)
            if self.wal_store is not None:
                store = self.wal_store()
                await refuse_unfit(store, world)
                await store.close()
            if log_store is None or log_store.name != self.store.name:
                await refuse_unfit(self.store, world, conditions=False)
        except Unfit as why:
            raise NodeFailure(
                f"no cluster is made on this store: {why}; docs/stores.md says what is needed,"
                " `automq storage check` shows more",
                status=2,
            ) from None


def real_places(config: NodeConfig, world: World) -> Places:
    """The places that `config` names. Raises NodeFailure."""
    # First of all: a port in use is told before anything is done.
    metrics = Metrics()
    doors = [*bind(config), *bind_metrics(config, metrics)]
    wal_metrics = StoreMetrics("wal")
    # Where the register tells who has a number, the store only keeps bytes.
    is_registered = config.wal_uri.startswith(REGISTERED)
    wal_uri = None if is_registered else store_uri_of(config.wal_uri)
    register = open_register_at(config, world)
    return Places(
        store=open_at(config, world, config.storage_uri),
        register=register,
        log_keys=register,
        wals=wals_at(config, world, wal_metrics, register),
        doors=doors,
        wal_metrics=wal_metrics,
        metrics=metrics,
        wal_store=None if wal_uri is None else lambda: open_at(config, world, wal_uri),
    )


def bind(config: NodeConfig) -> list[Door]:
    """A socket for each listener. Raises NodeFailure."""
    backlog = config.get(keys.kafka.SOCKET_LISTEN_BACKLOG_SIZE)
    receive_bytes = config.get(keys.kafka.SOCKET_RECEIVE_BUFFER_BYTES)
    try:
        return [SocketDoor(it, listen(it, backlog, receive_bytes)) for it in config.listeners]
    except OSError as error:
        raise NodeFailure(f"{error.strerror}; change listeners or free the port") from None


def bind_metrics(config: NodeConfig, metrics: Metrics) -> list[Door]:
    """The socket of `/metrics`, if the configuration names one. Raises NodeFailure."""
    address = config.get(keys.automq.METRICS_LISTENER)
    if address is None:
        return []
    host, _, port = address.rpartition(":")
    at = Listener("METRICS", host.strip("[]"), int(port), SecurityProtocol.PLAINTEXT)
    try:
        return [MetricsDoor(listen(at, METRICS_BACKLOG, -1), metrics)]
    except (OSError, OverflowError) as error:
        raise NodeFailure(
            f"{getattr(error, 'strerror', error)}; change automq.metrics.listener or free the port"
        ) from None
