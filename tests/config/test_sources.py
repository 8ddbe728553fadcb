"""The memory limit and the configuration file, as the machine has them."""

from pathlib import Path

import pytest

from automq.config import ConfigError
from automq.config.sources import (
    cgroup_limits,
    disk_bytes,
    load_node_config,
    machine_name,
    memory_limit_bytes,
    read_properties_file,
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_smallest_limit_of_a_cgroup_and_those_above_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/pod/box\n")
    write(tmp_path / "sys/fs/cgroup/pod/box/memory.max", "max\n")
    write(tmp_path / "sys/fs/cgroup/pod/memory.max", "300000\n")
    write(tmp_path / "sys/fs/cgroup/memory.max", "500000\n")

    assert list(cgroup_limits(tmp_path)) == [300_000, 500_000]
    assert memory_limit_bytes(tmp_path) == 300_000


def test_the_older_cgroups_are_asked_too(tmp_path: Path) -> None:
    write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n")

    assert memory_limit_bytes(tmp_path) == 700_000


def test_a_machine_without_cgroups_has_its_memory(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) > 1 << 20


def test_a_file_may_be_utf8_or_latin1(tmp_path: Path) -> None:
    (tmp_path / "utf8").write_bytes("rack=Zürich".encode())
    (tmp_path / "latin1").write_bytes("rack=Zürich".encode("latin-1"))

    assert read_properties_file(tmp_path / "utf8") == "rack=Zürich"
    assert read_properties_file(tmp_path / "latin1") == "rack=Zürich"


def test_a_node_is_configured_from_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text("num.partitions=3\nlisteners=PLAINTEXT://:9092\n")

    config = load_node_config(
        file=file, environment={"AUTOMQ_NODE_ID": "4"}, overrides=["broker.rack=a"]
    )

    assert config.static.keys() >= {"num.partitions", "listeners", "node.id", "broker.rack"}
    assert config.advertised_listeners[0].host == machine_name()


def test_an_error_names_the_file_it_is_in(tmp_path: Path) -> None:
    file = tmp_path / "my.properties"
    file.write_text("\nnum.partitions=none")

    with pytest.raises(ConfigError, match=r"my\.properties:2: Invalid value none"):
        load_node_config(file=file, environment={}, overrides=[])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.properties: No such file"):
        read_properties_file(tmp_path / "missing.properties")


def test_a_disk_has_its_size_before_the_directory_is_made(tmp_path: Path) -> None:
    there = disk_bytes(f"file://{tmp_path}")
    assert there is not None
    assert there > 1 << 20
    assert disk_bytes(f"file://{tmp_path}/not/yet") == there
    assert disk_bytes("s3://bucket/wal") is None
