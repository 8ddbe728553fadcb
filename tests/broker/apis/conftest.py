"""One node for all tests of a module; each test takes topics and groups of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.node import Node, running_node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    async with running_node(tmp_path_factory.mktemp("node")) as running:
        yield running
