"""`automq metadata dump`, as a person runs it."""

from pathlib import Path

from click.testing import CliRunner

from automq.cli import cli
from support.server import running


def test_the_log_of_a_running_node_is_printed(tmp_path: Path) -> None:
    with running(tmp_path):
        done = CliRunner().invoke(
            cli, ["metadata", "dump", "--set", f"automq.data.dir={tmp_path / 'data'}"]
        )

    assert done.exit_code == 0, done.output
    assert done.output.startswith("entry 0 epoch=0 node=1")
    assert "ClusterCreated" in done.output
    assert "NodeRegistered" in done.output


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    entry = tmp_path / "data/store/meta/0000000000/00000000000001"
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")

    done = CliRunner().invoke(
        cli, ["metadata", "dump", "--set", f"automq.data.dir={tmp_path / 'data'}"]
    )

    assert done.exit_code == 1
    assert "metadata entry 1" in done.output


def test_a_wrong_configuration_is_told_and_nothing_is_created(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli,
        ["server", "--set", f"automq.data.dir={tmp_path / 'data'}", "--set", "num.partitions=x"],
    )

    assert done.exit_code == 2
    assert "num.partitions" in done.output
    assert list(tmp_path.iterdir()) == []
