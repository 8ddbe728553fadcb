"""Where a node's data lies and where its clients come in, as its configuration names them."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from automq.broker.listener import Acceptor, listen
from automq.config import keys
from automq.config.listeners import Listener
from automq.config.node_config import NodeConfig
from automq.metadata.register import ObjectStoreRegister, Register
from automq.metadata.storage import Wal as RegisteredWal
from automq.node.failure import NodeFailure
from automq.node.storage import WalPlaces, open_at, open_register_at, wals_at
from automq.objectstore import ObjectStore, StoreMetrics
from automq.stream.wal import Tasks, WalHome
from automq.world import World


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
    wal_metrics: StoreMetrics = field(default_factory=lambda: StoreMetrics("wal"))
    """What the stores that WALs are in were asked for."""

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

        Only the metadata log creates what another may create as well.
        """
        # Imported late: only a first start needs it.
        from automq.objectstore.check import Unfit, refuse_unfit

        log_store = self.register.store if isinstance(self.register, ObjectStoreRegister) else None
        try:
            if log_store is not None:
                await refuse_unfit(log_store, world)
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
    doors = bind(config)
    wal_metrics = StoreMetrics("wal")
    return Places(
        store=open_at(config, world, config.storage_uri),
        register=open_register_at(config, world),
        wals=wals_at(config, world, wal_metrics),
        doors=doors,
        wal_metrics=wal_metrics,
    )


def bind(config: NodeConfig) -> list[Door]:
    """A socket for each listener. Raises NodeFailure."""
    backlog = config.get(keys.kafka.SOCKET_LISTEN_BACKLOG_SIZE)
    receive_bytes = config.get(keys.kafka.SOCKET_RECEIVE_BUFFER_BYTES)
    try:
        return [SocketDoor(it, listen(it, backlog, receive_bytes)) for it in config.listeners]
    except OSError as error:
        raise NodeFailure(f"{error.strerror}; change listeners or free the port") from None
