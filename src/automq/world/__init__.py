"""What a node cannot decide by itself: time, chance, network and disk.

A `World` is handed to whatever needs one of them; nothing below the command line reaches for the
system's own. Production hands in `system_world()`; a simulation hands in its own, in which time is
virtual and every draw comes from a seed.

Main names: `World` (a clock, chance, new ids), `system_world` (the machine's own), `Background`
(short tasks that may fail alone), `called` and `settle` (callbacks and futures).

Invariants: `Clock.monotonic_ms` never goes back; `Clock.now_ms` may (it is the wall clock) and so
never decides who may write. Nothing here imports another layer.
"""

from automq.world.clock import Clock, SystemClock
from automq.world.world import World, system_world

__all__ = ["Clock", "SystemClock", "World", "system_world"]
