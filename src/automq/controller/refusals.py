"""Why the controller refused a command. Each class tells the caller what to do."""


class Refused(Exception):
    """Nothing was decided, nothing is stored."""


class NodeFenced(Refused):
    """This incarnation of the node is over: give up, exit."""


class DuplicateNode(Refused):
    """Another process with this node id is alive: stop it, or take another id."""


class WalOver(Refused):
    """The WAL is closed, unknown, or another's to commit from: give up."""


class TakeoverRefused(Refused):
    """The WAL's owner or its taker is not known to be over: fence it first."""


class StreamUnknown(Refused):
    """The stream was removed, or never created: drop it."""


class StaleEpoch(Refused):
    """A newer epoch of the stream was opened: step down from that partition."""


class StreamHeld(Refused):
    """The tail of the stream's last owner is not committed yet: try again later."""


class NotUploaded(Refused):
    """The stream's end is not the committed end: commit what is left, then close it."""


class NotPrepared(Refused):
    """The object cannot be committed (any more): upload again under a new id."""


class InvalidCommand(Refused):
    """No correct node sends this: a bug of the sender. Stop and report it."""
