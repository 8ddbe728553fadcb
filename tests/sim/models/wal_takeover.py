"""Takeover of a WAL while its owner may still be alive: object WAL and file WAL.

Invariants, in words:

* what is acknowledged is committed, or is in the WAL below any fence, where a taker will read it;
* what is committed is all values from the first on, each once, in order.

In the object WAL the owner has one value for each number, whose bytes never change. Once it was
sent, its create may take effect at any time. The controller's log is one variable here: that it is
one history is what `metadata_log.py` shows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

FENCE = -1
UNREADABLE = -2

OBJECT_RULES = {
    "the node is fenced before its WAL's start is read": "fence-first",
    "the start comes from the log, after the node was fenced": "fresh-start",
    "the fence is never deleted": "keep-fence",
    "nothing at or after the fence counts": "stop-at-fence",
    "the fence is stored before anything is read": "fence-before-read",
    "acknowledged strictly in order": "ack-in-order",
    "another's bytes at a number are no success": "not-mine",
    "objects are deleted only below a stored start": "stored-start",
}


@dataclass(frozen=True, slots=True)
class Taker:
    """One attempt at taking over. `at` is the number it tries to fence, then the fence."""

    phase: str = "idle"
    start: int = 0
    at: int = 0
    got: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectWal:
    store: tuple[int | None, ...]
    """By number: nothing, the owner's value (its number), or the fence."""
    sent: int = 0
    known: frozenset[int] = frozenset()
    """Numbers that the owner knows to be stored."""
    acked: int = 0
    """Values below are acknowledged."""
    is_owner_alive: bool = True
    commit: tuple[int, int] | None = None
    """A commit of the owner that is on its way."""
    committed: tuple[int, ...] = ()
    start: int = 0
    is_fenced: bool = False
    is_closed: bool = False
    late_fences: frozenset[int] = frozenset()
    """Creates of fences whose taker has died."""
    takers: tuple[Taker, ...] = ()


Now = Callable[..., ObjectWal]


def object_wal(numbers: int, takers: int) -> ObjectWal:
    # One number more than values: there is room for the fence behind all of them.
    return ObjectWal(store=(None,) * (numbers + 1), takers=(Taker(),) * takers)


def _with(store: tuple[int | None, ...], number: int, value: int | None) -> tuple[int | None, ...]:
    return (*store[:number], value, *store[number + 1 :])


def object_moves(state: ObjectWal, off: frozenset[str]) -> Iterator[tuple[str, ObjectWal]]:
    yield from _owner_moves(state, off)
    yield from _commit_moves(state, off)
    yield from _delete_moves(state, off)
    for number in state.late_fences:
        if state.store[number] is None:
            store = _with(state.store, number, FENCE)
            yield f"a dead taker's fence lands at {number}", replace(state, store=store)
    for index in range(len(state.takers)):
        yield from _taker_moves(state, index, off)


def _owner_moves(state: ObjectWal, off: frozenset[str]) -> Iterator[tuple[str, ObjectWal]]:
    if state.is_owner_alive and state.sent < len(state.store) - 1:
        yield f"the owner sends {state.sent}", replace(state, sent=state.sent + 1)
    for number in range(state.sent):
        found = state.store[number]
        if found is None:
            store = _with(state.store, number, number)
            landed = replace(state, store=store)
            yield f"{number} lands, unheard", landed
            yield from _learns(landed, number, off)
        elif found == number or "not-mine" in off:
            yield from _learns(state, number, off)
        elif state.is_owner_alive:
            yield f"the owner finds a fence at {number}", replace(state, is_owner_alive=False)


def _learns(state: ObjectWal, number: int, off: frozenset[str]) -> Iterator[tuple[str, ObjectWal]]:
    if not state.is_owner_alive or number in state.known:
        return
    known = state.known | {number}
    acked = state.acked
    while acked in known:
        acked += 1
    if "ack-in-order" in off:
        acked = max(acked, number + 1)
    yield f"the owner knows {number} stored", replace(state, known=known, acked=acked)


def _commit_moves(state: ObjectWal, off: frozenset[str]) -> Iterator[tuple[str, ObjectWal]]:
    if state.commit is not None:
        first, end = state.commit
        refused = (state.is_fenced and "fence-first" not in off) or state.start != first
        if refused or state.is_closed:
            gone = replace(state, commit=None, is_owner_alive=False)
            yield "the owner's commit is refused", gone
        else:
            committed = state.committed + tuple(range(first, end))
            done = replace(state, commit=None, committed=committed, start=end)
            yield f"the owner commits up to {end}", done
    elif state.is_owner_alive and state.acked > state.start:
        wanted = (state.start, state.acked)
        yield f"the owner asks to commit up to {state.acked}", replace(state, commit=wanted)


def _delete_moves(state: ObjectWal, off: frozenset[str]) -> Iterator[tuple[str, ObjectWal]]:
    below = state.start
    if "stored-start" in off and state.commit is not None:
        below = state.commit[1]
    for number, found in enumerate(state.store):
        if found is None:
            continue
        is_garbage = number < below or state.is_closed
        if is_garbage and (found != FENCE or "keep-fence" in off):
            yield f"{number} is deleted", replace(state, store=_with(state.store, number, None))


def _taker_moves(
    state: ObjectWal, index: int, off: frozenset[str]
) -> Iterator[tuple[str, ObjectWal]]:
    taker = state.takers[index]

    def now(taker: Taker, **changes: object) -> ObjectWal:
        takers = (*state.takers[:index], taker, *state.takers[index + 1 :])
        return replace(state, takers=takers, **changes)  # type: ignore[arg-type]

    if taker.phase in ("idle", "looked"):
        yield from _begin(state, taker, now, off)
        return
    if taker.phase == "fencing":
        dead = now(Taker("dead"), late_fences=state.late_fences | {taker.at})
        yield f"taker {index} dies, fencing {taker.at}", dead
        yield from _fence(state, taker, now, off)
    elif taker.phase == "reading":
        yield f"taker {index} dies before it has read", now(Taker("dead"))
        end = taker.at
        if "stop-at-fence" in off:
            end = len(state.store)
        got = tuple(state.store[taker.start : end])
        yield f"taker {index} reads up to {end}", now(replace(taker, phase="read", got=got))
    elif taker.phase == "read":
        yield f"taker {index} dies before it commits", now(Taker("dead"))
        yield from _close(state, taker, now, off)


def _begin(
    state: ObjectWal, taker: Taker, now: Now, off: frozenset[str]
) -> Iterator[tuple[str, ObjectWal]]:
    if "fresh-start" in off and taker.phase == "idle":
        yield "a taker looks up the start", now(Taker("looked", state.start, state.start))
        return
    start = taker.start if taker.phase == "looked" else state.start
    phase = "reading" if "fence-before-read" in off else "fencing"
    end = start
    if phase == "reading":
        while state.store[end] is not None and state.store[end] != FENCE:
            end += 1
    yield "the node is fenced, a takeover begins", now(Taker(phase, start, end), is_fenced=True)


def _fence(
    state: ObjectWal, taker: Taker, now: Now, off: frozenset[str]
) -> Iterator[tuple[str, ObjectWal]]:
    found = state.store[taker.at]
    if found is None:
        store = _with(state.store, taker.at, FENCE)
        yield f"a fence is stored at {taker.at}", now(replace(taker, phase="reading"), store=store)
    elif found == FENCE:
        yield f"a fence is found at {taker.at}", now(replace(taker, phase="reading"))
    else:
        yield f"{taker.at} is not free", now(replace(taker, at=taker.at + 1))


def _close(
    state: ObjectWal, taker: Taker, now: Now, off: frozenset[str]
) -> Iterator[tuple[str, ObjectWal]]:
    if state.is_closed:
        yield "it is closed already", now(Taker("done"))
        return
    new = taker.got[max(state.start - taker.start, 0) :]
    values = tuple(value for value in new if value is not None and value != FENCE)
    if None in new and "stop-at-fence" not in off:
        values += (UNREADABLE,)
    closed = now(
        Taker("done"),
        committed=state.committed + values,
        start=max(state.start, taker.at),
        is_closed=True,
    )
    yield "a takeover is committed and closed", closed


def object_broken(state: ObjectWal) -> str | None:
    if state.committed != tuple(range(len(state.committed))):
        return f"committed is {state.committed}"
    for number in range(len(state.committed), state.acked):
        if state.is_closed or state.store[number] != number:
            return f"{number} is acknowledged, and lost"
    return None


# -- file WAL on a shared file system: the owner block

FILE_RULES = {
    "the owner reads the owner block before it acknowledges": "check",
    "it reads it after the sync": "check-after-sync",
    "the taker writes its name before it reads": "name-before-read",
}


@dataclass(frozen=True, slots=True)
class FileWal:
    written: int = 0
    synced: int = 0
    checked: int = 0
    """Up to here the owner may acknowledge."""
    looked: bool = False
    """With the rule off: it has read the block before its sync."""
    acked: int = 0
    is_owner_alive: bool = True
    owner: int = 0
    """Who the block names: 0 is the owner, then the takers."""
    phases: tuple[str, ...] = ()
    got: tuple[int, ...] = ()
    closed_at: int | None = None


def file_wal(takers: int) -> FileWal:
    return FileWal(phases=("idle",) * takers, got=(0,) * takers)


def file_moves(state: FileWal, off: frozenset[str], records: int) -> Iterator[tuple[str, FileWal]]:
    if state.is_owner_alive:
        yield from _file_owner_moves(state, off, records)
    for index, phase in enumerate(state.phases):
        yield from _file_taker_moves(state, index, phase, off)


def _file_owner_moves(
    state: FileWal, off: frozenset[str], records: int
) -> Iterator[tuple[str, FileWal]]:
    if state.written < records:
        yield "the owner writes", replace(state, written=state.written + 1)
    if state.synced < state.written:
        yield "the owner syncs", replace(state, synced=state.written)
    if "check-after-sync" in off:
        if state.owner == 0 and not state.looked:
            yield "the owner looks at the block", replace(state, looked=True)
        if state.looked and state.checked < state.synced:
            yield "it believes", replace(state, checked=state.synced, looked=False)
    elif state.owner == 0 or "check" in off:
        yield "the owner finds its name", replace(state, checked=state.synced)
    else:
        yield "the owner finds another's name", replace(state, is_owner_alive=False)
    if state.acked < state.checked:
        yield "the owner acknowledges", replace(state, acked=state.checked)


def _file_taker_moves(
    state: FileWal, index: int, phase: str, off: frozenset[str]
) -> Iterator[tuple[str, FileWal]]:
    def to(phase: str) -> tuple[str, ...]:
        return (*state.phases[:index], phase, *state.phases[index + 1 :])

    def reads() -> tuple[int, ...]:
        return (*state.got[:index], state.synced, *state.got[index + 1 :])

    if phase in ("idle", "named", "read"):
        yield f"taker {index} dies", replace(state, phases=to("dead"))
    late = "name-before-read" in off
    if phase == "idle" and not late:
        yield f"taker {index} writes its name", replace(state, phases=to("named"), owner=index + 1)
    elif phase == "idle" or (phase == "named" and not late):
        yield f"taker {index} reads", replace(state, phases=to("read"), got=reads())
    elif phase == "named" or (phase == "read" and not late):
        if state.closed_at is None:
            yield (
                f"taker {index} commits",
                replace(state, phases=to("done"), closed_at=state.got[index]),
            )
    elif phase == "read":
        yield f"taker {index} writes its name", replace(state, phases=to("named"), owner=index + 1)


def file_broken(state: FileWal) -> str | None:
    if state.closed_at is not None and state.acked > state.closed_at:
        return f"{state.acked} records are acknowledged, {state.closed_at} were taken over"
    return None
