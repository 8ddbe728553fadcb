"""KafkaJS, franz-go and sarama: what their programs in this folder do must succeed."""

import subprocess
from typing import IO

import pytest

from foreign.conftest import Program
from support.broker import Broker

TIMEOUT_S = 240
RECORDS_BETWEEN_RESTARTS = 200

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.mark.parametrize("scenario", ["codecs", "group", "seek", "pause"])
def test_a_scenario_succeeds(program: Program, broker: Broker, name: str, scenario: str) -> None:
    process = program.start(broker.bootstrap, scenario, name)
    output = ended(process)
    assert output.splitlines()[-1:] == ["ok"], output


def test_nothing_acknowledged_is_lost_when_the_broker_restarts(
    program: Program, own_broker: Broker, name: str
) -> None:
    process = program.start(own_broker.bootstrap, "restart", name)
    try:
        assert process.stdout is not None
        wait_for_records(process.stdout)
        assert own_broker.stop() == 0
        own_broker.start()
        wait_for_records(process.stdout)
        own_broker.kill()
        own_broker.start()
        wait_for_records(process.stdout)
    finally:
        output = ended(process)
    assert output.splitlines()[-1:] == ["ok"], output


def wait_for_records(output: IO[str]) -> None:
    """Returns when the program says that so many more records were acknowledged."""
    for _ in range(RECORDS_BETWEEN_RESTARTS):
        line = output.readline()
        assert line.startswith("acked "), line + output.read()


def ended(process: subprocess.Popen[str]) -> str:
    """End the program's input, and wait for its end; what it has printed."""
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"no end within {TIMEOUT_S} s; printed so far:\n{output[-4000:]}")
    return output
