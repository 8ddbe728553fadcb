"""The stores of a node, and what its earlier incarnations left in their WALs."""

import logging

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.controller.local import LocalController
from automq.metadata.storage import Wal as RegisteredWal
from automq.node.failure import NodeFailure
from automq.objectstore import BadUri, ObjectStore, open_store
from automq.objectstore.uri import Credentials
from automq.stream.recovery import WalRecovery
from automq.stream.wal import WalError, WalHome
from automq.world import World

log = logging.getLogger(__name__)


def open_at(config: NodeConfig, world: World, uri: str) -> ObjectStore:
    """The store of a URI, with the keys that the configuration holds. Raises NodeFailure."""
    key_id = config.get(keys.automq.S3_ACCESS_KEY_ID)
    secret = config.get(keys.automq.S3_SECRET_ACCESS_KEY)
    credentials = None
    if key_id and secret:
        token = config.get(keys.automq.S3_SESSION_TOKEN)
        credentials = Credentials(key_id, secret, token)
    try:
        region = config.get(keys.automq.S3_REGION)
        return open_store(uri, world, credentials=credentials, region=region)
    except BadUri as error:
        raise NodeFailure(str(error), status=2) from None


async def recover_wals(
    *,
    controller: LocalController,
    home: WalHome,
    store: ObjectStore,
    cluster_id: bytes,
    object_bytes: int,
) -> None:
    """Commit what earlier incarnations of this node acknowledged and did not upload.

    Invariant: streams are opened only after this, so each is opened at its true end. Raises
    NodeFailure for damage, naming file and position, and for WALs of another cluster.
    """
    refuse_foreign(home, cluster_id)
    for wal in controller.unfinished_wals():
        try:
            await recover_one(
                wal,
                controller=controller,
                home=home,
                store=store,
                cluster_id=cluster_id,
                object_bytes=object_bytes,
            )
        except WalError as error:
            raise NodeFailure(f"cannot recover the write-ahead log {wal.wal}: {error}") from None
    for wal_id in home.wal_ids():
        # Closed by a stored record, and the process died before it was removed.
        if controller.is_wal_closed(wal_id):
            home.remove(wal_id)


def refuse_foreign(home: WalHome, cluster_id: bytes) -> None:
    """Raises NodeFailure if a WAL is another cluster's.

    Ids repeat from cluster to cluster: by its id alone it would be taken for one that is closed,
    and removed with everything acknowledged that it holds.
    """
    for wal_id in home.wal_ids():
        owner = home.cluster_of(wal_id)
        if owner is not None and owner != cluster_id:
            raise NodeFailure(
                f"the write-ahead log {wal_id} belongs to cluster {owner.hex()}, the store to "
                f"{cluster_id.hex()}; use that cluster's automq.storage.uri, or another "
                "automq.data.dir"
            )


async def recover_one(
    wal: RegisteredWal,
    *,
    controller: LocalController,
    home: WalHome,
    store: ObjectStore,
    cluster_id: bytes,
    object_bytes: int,
) -> None:
    """The takeover of one WAL, in the only order there is (HAZARDS 2).

    Its owner is fenced already: this node has registered at a newer epoch, and that is stored.
    """
    start = await controller.take_over(wal.wal)
    if wal.wal not in home.wal_ids():
        # Registered, and died before it was made: or the disk is not there.
        if controller.may_hold_data(wal):
            raise NodeFailure(
                f"the write-ahead log {wal.wal} is not in {wal.uri}, but data from position "
                f"{start} on is only there; is the disk mounted?"
            )
        log.warning("the write-ahead log %d was registered and never written", wal.wal)
        await controller.close_wal(wal.wal, fence=start, clean=False)
        return
    recovery = home.recover(wal_id=wal.wal, start=start, cluster_id=cluster_id)
    upload = WalRecovery(
        store=store,
        client=controller,
        cluster_id=cluster_id,
        wal_id=wal.wal,
        object_bytes=object_bytes,
    )
    done = await upload.run(recovery)
    await controller.close_wal(wal.wal, fence=max(recovery.end.position, start), clean=False)
    home.remove(wal.wal)
    if done.records:
        log.info(
            "recovered %d records, %d bytes of the write-ahead log %d into %d objects",
            done.records,
            done.size_bytes,
            wal.wal,
            done.objects,
        )
