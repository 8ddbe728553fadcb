"""What only later seeds have: those before stay the runs that they were."""

import random

FIRST_SEED = 300_000
"""From this seed on a run may have all that is here."""

CONTESTED_FROM = 600_000
"""From this seed on two may delete records of one partition at once."""

SHARE_REGISTERED = 0.4
SHARE_MOVING = 0.15
SHARE_QUIET = 0.08
SHARE_SCANNED = 0.1
SHARE_CONTESTED = 0.5


def is_wide(seed: int) -> bool:
    """Whether the seed has more kinds of clients, of logs, and of changes of mind."""
    return seed >= FIRST_SEED


def is_quiet(seed: int) -> bool:
    """Whether nobody writes but who floods a topic and deletes it."""
    return is_wide(seed) and _draws(seed, "quiet", SHARE_QUIET)


def is_registered(seed: int) -> bool:
    """Whether a log in the store has its numbers in the register."""
    return is_wide(seed) and _draws(seed, "registered", SHARE_REGISTERED)


def is_moving(seed: int) -> bool:
    """Whether a life of the node may keep its log elsewhere than the one before."""
    return is_wide(seed) and _draws(seed, "moving", SHARE_MOVING)


def is_scanned(seed: int) -> bool:
    """Whether the whole store is looked through in half a minute, and not in a day."""
    return is_wide(seed) and _draws(seed, "scanned", SHARE_SCANNED)


def is_contested(seed: int) -> bool:
    """Whether two delete records of the same partitions, each without the other's knowledge."""
    return seed >= CONTESTED_FROM and _draws(seed, "contested", SHARE_CONTESTED)


def _draws(seed: int, trait: str, share: float) -> bool:
    """Whether a seed is one of the share that has a trait; no trait depends on another."""
    return random.Random(f"{seed} {trait}").random() < share
