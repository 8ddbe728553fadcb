"""Every message in every version, as Apache's own classes write and read it."""

import pytest

from automq.protocol.apis import APIS
from support.message_vectors import difference, message_class, recorded


@pytest.mark.parametrize("name", sorted(recorded()))
def test_a_message_reads_and_writes_as_apache_does(name: str) -> None:
    differences = [difference(vector) for vector in recorded()[name]]

    assert [each for each in differences if each is not None] == []


def test_every_version_of_every_api_has_vectors() -> None:
    names = [name for api in APIS.values() for name in (api.request_name, api.response_name)]
    missing = [
        (name, version)
        for name in names
        for version in range(*versions_of(name))
        if version not in {vector.version for vector in recorded()[name]}
    ]

    assert missing == []


def versions_of(name: str) -> tuple[int, int]:
    first, last = message_class(name).VALID_VERSIONS
    return first, last + 1
