"""The probe of the event loop."""

import asyncio

import pytest

from automq.telemetry import StallProbe


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at_ms = 1000.0

    def now_ms(self) -> int:
        return int(self.at_ms)

    def monotonic_ms(self) -> float:
        return self.at_ms


def test_a_punctual_loop_raises_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    probe = StallProbe(clock)

    clock.at_ms += 51
    probe.tick()

    assert (probe.metrics.stalls, probe.metrics.longest_stall_ms) == (0, 1.0)
    assert caplog.records == []


def test_a_stall_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    probe = StallProbe(clock)

    clock.at_ms += 50 + 130
    probe.tick()
    clock.at_ms += 50
    probe.tick()

    assert (probe.metrics.stalls, probe.metrics.longest_stall_ms) == (1, 130.0)
    assert [record.message for record in caplog.records] == ["event loop stalled"]
    assert caplog.records[0].__dict__["facts"] == {"stall_ms": 130}


def test_a_stall_can_be_seen_before_it_is_over() -> None:
    clock = HandClock()
    probe = StallProbe(clock)

    clock.at_ms += 50 + 70

    assert probe.late_ms() == 70.0


def test_it_wakes_up_less_often_while_nobody_is_connected() -> None:
    clock, connected = HandClock(), [True]
    probe = StallProbe(clock, is_watched=lambda: bool(connected))

    assert probe.tick() == 50
    connected.clear()
    assert probe.tick() == 500
    clock.at_ms += 500 + 70
    assert probe.late_ms() == 70.0
    connected.append(True)
    assert probe.tick() == 50


async def test_the_probe_runs_until_it_is_cancelled() -> None:
    probe = StallProbe(HandClock())

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(probe.run())
        await asyncio.sleep(0)
        running.cancel()

    assert running.cancelled()
