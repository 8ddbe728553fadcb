"""The stores of a node, by URI and with its keys, and the register of its metadata log."""

from pathlib import Path

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.metadata.register import ObjectStoreRegister, SteadyRegister
from automq.node.failure import NodeFailure
from automq.objectstore import BadUri, Credentials, ObjectStore, open_store
from automq.world import World


def open_at(config: NodeConfig, world: World, uri: str) -> ObjectStore:
    """The store of a URI, with the keys that the configuration holds. Raises NodeFailure."""
    ca_file = config.get(keys.automq.STORAGE_CA_FILE)
    try:
        return open_store(
            uri,
            world,
            credentials=credentials_of(config, uri),
            region=config.get(keys.automq.S3_REGION),
            ca_file=Path(ca_file) if ca_file else None,
        )
    except BadUri as error:
        raise NodeFailure(str(error), status=2) from None


def register_at(config: NodeConfig, world: World) -> SteadyRegister:
    """The register of the metadata log, for who only reads it. Raises NodeFailure."""
    store = open_at(config, world, config.metadata_uri)
    return SteadyRegister(ObjectStoreRegister(store), world)


def credentials_of(config: NodeConfig, uri: str) -> Credentials | None:
    """The keys that the configuration holds for the kind of store that `uri` names."""
    names = (keys.automq.S3_ACCESS_KEY_ID, keys.automq.S3_SECRET_ACCESS_KEY)
    token = keys.automq.S3_SESSION_TOKEN
    if uri.startswith("oss:"):
        names = (keys.automq.OSS_ACCESS_KEY_ID, keys.automq.OSS_ACCESS_KEY_SECRET)
        token = keys.automq.OSS_SESSION_TOKEN
    key_id, secret = (config.get(name) for name in names)
    return Credentials(key_id, secret, config.get(token)) if key_id and secret else None
