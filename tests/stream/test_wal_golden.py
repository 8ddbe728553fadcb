"""A WAL that version 1 wrote, which every later version reads."""

import gzip
from pathlib import Path

from automq.stream.wal import FileWals

GOLDEN = Path(__file__).parents[1] / "golden" / "wal-v1"
CLUSTER = b"0123456789abcdef"
WAL_ID, END = 7, 97_760
GROUPS = 12


async def test_the_golden_wal_is_read_as_ever(tmp_path: Path) -> None:
    """Two streams in twelve groups, over two segments, closed in order."""
    directory = tmp_path / str(WAL_ID)
    directory.mkdir()
    for packed in GOLDEN.iterdir():
        (directory / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    home = FileWals(tmp_path)
    recovery = home.recover(wal_id=WAL_ID, start=0, cluster_id=CLUSTER)

    records = [record async for chunk in recovery for record in chunk]

    assert [
        (it.stream_id, it.epoch, it.base_offset, it.last_offset, bytes(it.payload))
        for it in records
    ] == [
        (stream, 2, 10 * number, 10 * number + 9, bytes([number]) * (4000 + number))
        for number in range(GROUPS)
        for stream in (1, 9)
    ]
    assert recovery.end.clean
    assert recovery.end.position == END
    assert await home.owner_of(WAL_ID) == (CLUSTER, 3)
