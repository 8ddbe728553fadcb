"""What is generated is what its generator makes of the schema, and the tables agree."""

import subprocess
import sys
from pathlib import Path

import pytest

from automq.protocol import errors
from automq.protocol.apis import APIS, ApiKey

ROOT = Path(__file__).resolve().parents[2]


def test_the_message_classes_are_those_of_the_schema_file() -> None:
    command = [sys.executable, "tools/make_messages.py", "--check"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_an_api_knows_its_classes() -> None:
    api = APIS[ApiKey.PRODUCE]

    assert (api.first_version, api.last_version, api.flexible_from) == (3, 13, 9)
    assert api.request_class().__name__ == "ProduceRequest"
    assert api.response_class().API_KEY == ApiKey.PRODUCE


@pytest.mark.parametrize("key", sorted(APIS))
def test_the_table_of_apis_agrees_with_the_classes(key: int) -> None:
    api = APIS[key]
    versions = (api.first_version, api.last_version)

    assert (key, key) == (api.request_class().API_KEY, api.response_class().API_KEY)
    assert (
        versions,
        versions,
    ) == (api.request_class().VALID_VERSIONS, api.response_class().VALID_VERSIONS)
    assert api.flexible_from == api.request_class().FLEXIBLE_FROM


def test_importing_the_table_imports_no_message() -> None:
    program = (
        "import sys, automq.protocol.apis as apis, automq.protocol.messages.fetch_request;"
        "print(sorted(n for n in sys.modules if n.startswith('automq.protocol.messages.')))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "['automq.protocol.messages.fetch_request']"


def test_an_error_has_kafkas_code_and_name() -> None:
    error = errors.UnknownTopicOrPartition("topic t has no partition 9")

    assert (error.code, error.name, error.retriable) == (3, "UNKNOWN_TOPIC_OR_PARTITION", True)
    assert (error.message, str(error)) == ("topic t has no partition 9",) * 2
    assert errors.NotCoordinator().message == "not coordinator"


def test_an_error_is_found_by_its_code() -> None:
    assert errors.by_code(16) is errors.NotCoordinator
    assert errors.by_code(-1) is errors.UnknownServerError
    assert errors.by_code(9999) is errors.UnknownServerError
