"""What the README tells its readers to paste works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_of_the_readme_reads_what_it_wrote(bootstrap: str, number: int) -> None:
    program = SNIPPETS[number].replace("127.0.0.1:9092", bootstrap)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "b'en' b'hello'" in done.stdout.splitlines()


def test_there_is_a_snippet_for_each_client_that_the_readme_names() -> None:
    assert [name for name in ("confluent_kafka", "kafka") if f"from {name} import" in README] == [
        "confluent_kafka",
        "kafka",
    ]
    assert len(SNIPPETS) == 2
