"""`/metrics`: where it is, what it shows, and that a wrong request costs nothing."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from automq.config.key import ConfigError
from automq.config.node_config import NodeConfig
from crash.load import Load
from support.broker import eventually
from support.server import Server, free_port, running


def scrape(port: int, path: str = "/metrics") -> dict[str, float]:
    """Every sample by its name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_a_node_shows_its_stores_wal_caches_and_loop(tmp_path: Path) -> None:
    port = free_port()
    settings = (f"automq.metrics.listener=127.0.0.1:{port}", "automq.upload.interval.ms=100")
    with running(tmp_path, *settings) as server:
        load = Load(server, per_s=200)
        load.progresses()
        eventually(lambda: scrape(port)["automq_upload_objects_total"] > 0, what="it uploads")
        seen = scrape(port)
        load.finish()
    assert seen["automq_wal_records_total"] > 0
    assert seen["automq_wal_sync_ms_count"] == seen["automq_wal_commits_total"] > 0
    assert seen["automq_wal_bytes_max"] > seen["automq_wal_used_bytes"]
    assert seen["automq_wal_disk_full"] == 0
    assert seen["automq_log_cache_bytes_max"] > 0
    assert seen["automq_upload_objects_total"] > 0
    assert seen['automq_store_calls_total{operation="put",role="data"}'] > 0
    assert seen['automq_store_calls_total{operation="create",role="metadata"}'] > 0
    assert seen["automq_clients_connections"] > 0
    assert "automq_block_cache_hits_total" in seen
    assert "automq_loop_stalls_total" in seen
    assert seen["automq_object_compaction_merges_total"] == 0
    assert seen["automq_object_delete_failures_total"] == 0
    assert seen["process_resident_memory_bytes"] > 0


def test_nothing_but_metrics_is_served(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, f"automq.metrics.listener=127.0.0.1:{port}"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            scrape(port, "/")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", data=b"x", timeout=10)
        assert scrape(port, "/metrics?name=up")


def test_a_port_in_use_is_told_before_anything_is_done(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path / "one", f"automq.metrics.listener=127.0.0.1:{port}"):
        other = Server(tmp_path / "two", f"automq.metrics.listener=127.0.0.1:{port}")
        other.launch()
        assert other.process is not None
        assert other.process.wait(30) == 1
        assert "change automq.metrics.listener or free the port" in other.log
        assert not (tmp_path / "two/data/store").exists()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"automq\.metrics\.listener: Expected host:port"):
        NodeConfig.load(overrides=["automq.metrics.listener=9404"])
