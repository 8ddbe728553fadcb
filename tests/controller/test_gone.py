"""A controller whose metadata log was found damaged: who asks it looks for another one."""

import asyncio
from typing import Any

import pytest

from automq.controller.local import LocalController
from automq.metadata.log import DamagedLog
from automq.protocol import errors
from support.storage import NODE_ID, Machine
from support.virtual_time import run_virtual


class DamagedMetadata:
    """Every command fails as it does once the log was found damaged."""

    async def run(self, command: Any) -> Any:
        raise DamagedLog("meta/0/closed: the checksum over its 73 bytes does not hold")

    run_lazy = run


def test_a_request_under_way_is_told_to_look_for_another_controller() -> None:
    async def story() -> None:
        machine = Machine()
        metadata: Any = DamagedMetadata()
        controller = LocalController(metadata, NODE_ID, machine.world.clock)
        with pytest.raises(errors.NotController, match="does not hold"):
            await controller.delete_topic(bytes(16))
        await asyncio.sleep(0)

    run_virtual(story())


def test_a_merge_under_way_is_told_to_look_for_another_controller() -> None:
    async def story() -> None:
        metadata: Any = DamagedMetadata()
        controller = LocalController(metadata, NODE_ID, Machine().world.clock)
        with pytest.raises(errors.NotController, match="does not hold"):
            await controller.give_up_object(7)

    run_virtual(story())
