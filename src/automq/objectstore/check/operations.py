"""The calls that move data: ranges, parts, lists, copies, deletes."""

from automq.objectstore.check.finding import Broken
from automq.objectstore.check.promises import expect_absent
from automq.objectstore.check.trial import Trial, patiently
from automq.objectstore.errors import Corrupt
from automq.objectstore.store import PART_BYTES

MIB = 1 << 20
RANGED_BYTES = 3 * MIB
SEVERAL = (
    (0, 1),
    (10, 1000),
    (900, 2000),
    (2 * MIB, 2 * MIB + 7),
    (RANGED_BYTES - 5, RANGED_BYTES),
)
BEYOND = ((RANGED_BYTES - 5, RANGED_BYTES + 1), (RANGED_BYTES, RANGED_BYTES + 1))
PARTED_BYTES = PART_BYTES + 1
LISTED = 25


async def ranges(trial: Trial) -> str:
    """A range is given in full or refused."""
    key, data = trial.key("ranges"), trial.world.chance.randbytes(RANGED_BYTES)
    await trial.put(key, data)
    for start, end in SEVERAL:
        if await trial.get_range(key, start, end) != data[start:end]:
            raise Broken(f"the range [{start}, {end}) holds other bytes than were written")
    several = await patiently(lambda: trial.by(0).get_ranges(key, SEVERAL))
    if [bytes(it) for it in several] != [data[start:end] for start, end in SEVERAL]:
        raise Broken("several ranges in one call hold other bytes than were written")
    for start, end in BEYOND:
        try:
            await trial.get_range(key, start, end)
        except Corrupt:
            continue
        raise Broken(f"the range [{start}, {end}) of {RANGED_BYTES} bytes was not refused")
    return "one, several at once, and none beyond the end"


async def parts(trial: Trial) -> str:
    """An object that was uploaded in parts is one object."""
    key, piece = trial.key("parts"), trial.world.chance.randbytes(MIB)
    data = piece * (PART_BYTES // MIB) + b"!"
    assert len(data) == PARTED_BYTES
    await trial.put(key, data)
    known = await patiently(lambda: trial.by(1).head(key))
    if known.size_bytes != PARTED_BYTES:
        raise Broken(f"{PARTED_BYTES} bytes in parts became {known.size_bytes}")
    joint = (PART_BYTES - 3, PARTED_BYTES)
    if await trial.get_range(key, *joint) != data[slice(*joint)]:
        raise Broken("where two parts meet, other bytes than were written")
    return f"{PARTED_BYTES // MIB} MiB and a byte, read where two parts meet"


async def listing(trial: Trial) -> str:
    """A list shows all that is there; the audit needs it, and nothing else."""
    keys = [trial.key(f"list/{number:03}") for number in range(LISTED)]
    for by, key in enumerate(keys):
        await trial.put(key, b"listed", by=by)
    shown = await trial.list("list/")
    if sorted(shown) != keys:
        raise Broken(f"{len(shown)} objects are listed where {LISTED} were written")
    after = await trial.list("list/", after=keys[9])
    if sorted(after) != keys[10:]:
        raise Broken("a list that begins after a key shows others than those behind it")
    return f"all of {LISTED} objects, as soon as they are written"


async def copying(trial: Trial) -> str:
    """A copy has the bytes of its source."""
    source, target, data = trial.key("source"), trial.key("target"), trial.world.new_uuid()
    await trial.put(source, data)
    await patiently(lambda: trial.by(0).copy(source, target))
    if await trial.get(target, by=1) != data:
        raise Broken("a copy holds other bytes than its source")
    return "the same bytes"


async def deleting(trial: Trial) -> str:
    """What is deleted is gone, and deleting what is not there is no error."""
    keys = [trial.key(f"delete/{number:03}") for number in range(LISTED)]
    for by, key in enumerate(keys[1:]):
        await trial.put(key, b"to delete", by=by)
    await trial.delete(keys)
    for by, key in enumerate(keys):
        await expect_absent(trial, key, by=by)
    await patiently(lambda: trial.by(0).delete(keys[0]))
    return f"one, and {LISTED} in a call"
