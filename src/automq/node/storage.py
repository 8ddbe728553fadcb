"""The stores of a node, by URI and with its keys."""

from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.node.failure import NodeFailure
from automq.objectstore import BadUri, ObjectStore, open_store
from automq.objectstore.uri import Credentials
from automq.world import World


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
