"""The metadata log: would-be controllers on a store of which only create-if-absent is promised.

Invariants, in words, of every state:

* who reads the log from the start now sees every acknowledged entry, in order;
* whoever believes what it has read (a follower, a candidate, a leader) has seen a beginning of it;
* nobody finds a log that contradicts itself.

An entry that was sent once may land at any later time while its number is free, its writer dead or
alive. What is in a closed chunk may be deleted, and so be free again, at any time. A controller may
stop for ever or begin again at every step, and may be arbitrarily slow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

CHUNK = 2

RULES = {
    "a win counts only if its chunk was not closed, asked after it": ("writer-check",),
    "an absent number is the end only if its reading began in an open chunk": ("reader-check",),
    "a chunk is closed before anything in it is deleted": ("close-first",),
    "a snapshot is of stored entries only": ("stored-only",),
    "the bytes of a number never change, and a nonce tells whose they are": ("bytes", "nonce"),
    "an absent number is no verdict": ("bytes",),
    "an entry that is there is not mine": ("not-mine",),
}


class Entry(NamedTuple):
    name: tuple[int, int, int, int]
    """Writer, its life, number, attempt: unique, as a nonce is."""
    epoch: int
    is_leader: bool
    previous: tuple[int, ...]


class Seen(NamedTuple):
    """A log as far as somebody has read it; as a snapshot, what a closed chunk names."""

    position: int = -1
    epoch: int = 0
    last: tuple[int, ...] = ()
    history: tuple[tuple[int, ...], ...] = ()


class Controller(NamedTuple):
    phase: str = "begin"
    seen: Seen = Seen()
    first: int = 0
    """The first number read that is not yet proven."""
    mine: Entry | None = None
    lives: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    entries: tuple[Entry | None, ...]
    closed: tuple[Seen | None, ...]
    controllers: tuple[Controller, ...]
    sent: frozenset[Entry] = frozenset()
    acked: tuple[tuple[int, ...], ...] = ()


BELIEVING = ("follow", "ask", "verify", "lead")


def metadata_log(numbers: int, controllers: int, lives: int) -> Log:
    return Log(
        entries=(None,) * numbers,
        closed=(None,) * (numbers // CHUNK),
        controllers=(Controller(lives=lives),) * controllers,
    )


def moves(log: Log, off: frozenset[str]) -> Iterator[tuple[str, Log]]:
    for entry in log.sent:
        if log.entries[entry.name[2]] is None:
            yield f"{entry.name} lands late", _stored(log, entry)
    for number, found in enumerate(log.entries):
        if found is not None and _may_go(log, number, off):
            entries = (*log.entries[:number], None, *log.entries[number + 1 :])
            yield f"{number} is deleted", replace(log, entries=entries)
    for index in range(len(log.controllers)):
        yield from _controller_moves(log, index, off)


def _may_go(log: Log, number: int, off: frozenset[str]) -> bool:
    chunk = number // CHUNK
    if chunk < len(log.closed) and log.closed[chunk] is not None:
        return True
    leads = [it.seen.position for it in log.controllers if it.phase == "lead"]
    return "close-first" in off and any(position >= (chunk + 1) * CHUNK - 1 for position in leads)


def _stored(log: Log, entry: Entry) -> Log:
    number = entry.name[2]
    entries = (*log.entries[:number], entry, *log.entries[number + 1 :])
    return replace(log, entries=entries)


def _is_closed(log: Log, number: int) -> bool:
    chunk = number // CHUNK
    return chunk < len(log.closed) and log.closed[chunk] is not None


def _newest(log: Log) -> Seen:
    found = Seen()
    for seen in log.closed:
        if seen is None:
            break
        found = seen
    return found


def _follow(seen: Seen, entry: Entry) -> Seen | None:
    """One entry further; None if it contradicts what was read."""
    if entry.previous != seen.last or (entry.epoch > seen.epoch and not entry.is_leader):
        return None
    moved = seen._replace(position=seen.position + 1, last=entry.name)
    if entry.epoch < seen.epoch or (entry.epoch == seen.epoch and entry.is_leader):
        return moved  # stale: it is there, and has no effect
    return moved._replace(epoch=entry.epoch, history=(*seen.history, entry.name))


def _at(log: Log, number: int) -> Entry | None:
    return log.entries[number] if number < len(log.entries) else None


def _with(log: Log, index: int, controller: Controller) -> Log:
    return replace(
        log, controllers=(*log.controllers[:index], controller, *log.controllers[index + 1 :])
    )


def _controller_moves(log: Log, index: int, off: frozenset[str]) -> Iterator[tuple[str, Log]]:
    it = log.controllers[index]
    who = f"controller {index}"
    if it.lives > 0 and it.phase not in ("begin", "damaged"):
        yield f"{who} dies", _with(log, index, Controller(lives=it.lives - 1))
    if it.phase == "begin":
        base = _newest(log)
        began = it._replace(phase="read", seen=base, first=base.position + 1, mine=None)
        yield f"{who} begins after {base.position}", _with(log, index, began)
    elif it.phase == "read":
        yield f"{who} reads {it.seen.position + 1}", _with(log, index, _read(log, it))
    elif it.phase in ("tail", "odd"):
        yield f"{who} asks whether that was closed", _with(log, index, _settle(log, it, off))
    elif it.phase == "follow":
        yield (
            f"{who} polls",
            _with(log, index, it._replace(phase="read", first=it.seen.position + 1)),
        )
        yield from _sends(log, index, is_leader=True)
    elif it.phase == "ask":
        yield from _ask(log, index, off)
    elif it.phase == "verify":
        yield from _verify(log, index, off)
    elif it.phase == "lead":
        yield from _sends(log, index, is_leader=False)
        yield from _closes(log, index, it.seen)


def _read(log: Log, it: Controller) -> Controller:
    entry = _at(log, it.seen.position + 1)
    if entry is None:
        return it._replace(phase="tail")
    seen = _follow(it.seen, entry)
    return it._replace(phase="odd") if seen is None else it._replace(seen=seen)


def _settle(log: Log, it: Controller, off: frozenset[str]) -> Controller:
    if _is_closed(log, it.first) and "reader-check" not in off:
        return Controller(lives=it.lives)
    return it._replace(phase="damaged" if it.phase == "odd" else "follow")


def _sends(log: Log, index: int, *, is_leader: bool, attempt: int = 0) -> Iterator[tuple[str, Log]]:
    it = log.controllers[index]
    number = it.seen.position + 1
    if number < len(log.entries):
        epoch = it.seen.epoch + (1 if is_leader else 0)
        entry = Entry((index, it.lives, number, attempt), epoch, is_leader, it.seen.last)
        asking = _with(log, index, it._replace(phase="ask", mine=entry))
        yield f"controller {index} sends {entry.name}", replace(asking, sent=log.sent | {entry})


def _ask(log: Log, index: int, off: frozenset[str]) -> Iterator[tuple[str, Log]]:
    """The verdict about what was sent, or the first half of a mistake."""
    it = log.controllers[index]
    mine = it.mine
    assert mine is not None
    found = log.entries[mine.name[2]]
    verify = it._replace(phase="verify")
    if found is None:
        yield f"{mine.name} is created", _with(_stored(log, mine), index, verify)
        if "bytes" in off and not mine.is_leader and mine.name[3] == 0:
            yield from _sends(log, index, is_leader=False, attempt=1)
    elif found == mine or "not-mine" in off or ("nonce" in off and found.name[0] == index):
        yield f"{mine.name} is there", _with(log, index, verify)
    else:
        yield f"{found.name} is there instead", _with(log, index, _passes(log, it, found))
    if "stored-only" in off and not mine.is_leader:
        ahead = _follow(it.seen, mine)
        assert ahead is not None
        yield from _closes(log, index, ahead)


def _passes(log: Log, it: Controller, found: Entry) -> Controller:
    assert it.mine is not None
    if _is_closed(log, found.name[2]):
        return Controller(lives=it.lives)
    if it.mine.is_leader:  # a lost election: read on
        return it._replace(phase="read", first=it.seen.position + 1, mine=None)
    if found.is_leader and found.epoch > it.seen.epoch and found.previous == it.seen.last:
        return Controller(lives=it.lives)  # deposed
    seen = _follow(it.seen, found)
    if seen is None or seen.history != it.seen.history:
        return it._replace(phase="damaged")
    return it._replace(phase="lead", seen=seen, mine=None)


def _verify(log: Log, index: int, off: frozenset[str]) -> Iterator[tuple[str, Log]]:
    it = log.controllers[index]
    assert it.mine is not None
    if _is_closed(log, it.mine.name[2]) and "writer-check" not in off:
        yield f"{it.mine.name} is void", _with(log, index, Controller(lives=it.lives))
        return
    seen = _follow(it.seen, it.mine)
    assert seen is not None
    won = _with(log, index, it._replace(phase="lead", seen=seen, mine=None))
    yield f"{it.mine.name} is won", replace(won, acked=tuple(sorted({*log.acked, it.mine.name})))


def _closes(log: Log, index: int, seen: Seen) -> Iterator[tuple[str, Log]]:
    for chunk, known in enumerate(log.closed):
        if known is None:
            if seen.position >= (chunk + 1) * CHUNK - 1:
                closed = (*log.closed[:chunk], seen, *log.closed[chunk + 1 :])
                yield f"controller {index} closes {chunk}", replace(log, closed=closed)
            return


def broken(log: Log) -> str | None:
    if any(it.phase == "damaged" for it in log.controllers):
        return "somebody finds a log that contradicts itself"
    seen = _newest(log)
    while (entry := _at(log, seen.position + 1)) is not None:
        further = _follow(seen, entry)
        if further is None:
            return f"{entry.name} contradicts what is before it"
        seen = further
    for name in log.acked:
        if name not in seen.history:
            return f"{name} is acknowledged, and lost"
    for number, it in enumerate(log.controllers):
        if it.phase in BELIEVING and it.seen.history != seen.history[: len(it.seen.history)]:
            return f"controller {number} believes another history"
    return None
