"""Objects through their binding: from the log cache to bytes and back."""

import struct
from pathlib import Path

import pytest

from automq._native import (
    BlockCache,
    Buf,
    BuiltObject,
    DamagedObject,
    LogCache,
    ObjectIndex,
    ObjectWriter,
    Wish,
    build_object,
    cut,
    inspect_object,
    open_block,
    open_digest,
    parse_footer,
)

CLUSTER = b"sixteen bytes id"
GOLDEN = Path(__file__).parents[1] / "golden" / "object-v1.bin"


def batch(base_offset: int, *, timestamp: int = 0, size: int = 100, producer: int = -1) -> Buf:
    sequence = base_offset if producer >= 0 else -1
    head = struct.pack(
        ">qiibIhiqqqhii",
        *(base_offset, size - 12, 0, 2, 0, 0, 0, timestamp, timestamp, producer),
        *(0 if producer >= 0 else -1, sequence, 1),
    )
    return Buf(head + bytes(size - len(head)))


def body(built: BuiltObject) -> Buf:
    return Buf(b"".join(bytes(part) for part in built.parts))


def built() -> BuiltObject:
    cache = LogCache(bytes_max=1 << 20)
    for offset in range(20):
        for stream in (5, 8):
            producer = 3 if stream == 8 else -1
            one = batch(offset, timestamp=offset * 10, size=5000, producer=producer)
            cache.append(stream, offset, offset, offset * 10, one)
    generation = cache.seal()
    assert generation is not None
    result = build_object(cache, generation, object_id=42, cluster_id=CLUSTER)
    assert result is not None
    return result


def index_of(data: Buf) -> ObjectIndex:
    footer = parse_footer(data, len(data), object_id=42, cluster_id=CLUSTER)
    end = footer.index_position + footer.index_bytes
    return ObjectIndex(
        data.slice(footer.index_position, end), position=footer.index_position, object_id=42
    )


def test_a_generation_comes_back_from_its_object() -> None:
    data = body(built())
    (block,) = index_of(data).find(5, 7)
    batches = open_block(data.slice(block.position, block.position + block.size_bytes), block)
    read = cut(batches, 7, 20, 1 << 20, False)
    assert (read.base_offset, read.next_offset, read.size_bytes) == (7, 20, 13 * 5000)
    assert bytes(read.bufs[0]) == b"".join(
        bytes(batch(at, timestamp=at * 10, size=5000)) for at in range(7, 20)
    )


def test_an_object_tells_its_ranges_and_sizes() -> None:
    result = built()
    data = body(result)
    assert result.ranges == [(5, 0, 20, 100_000, 190, 20), (8, 0, 20, 100_000, 190, 20)]
    assert result.range_columns() == tuple(map(list, zip(*result.ranges, strict=True)))
    index = index_of(data)
    assert (len(data), index.ranges()) == (result.size_bytes, result.ranges)
    assert (index.index_position, index.streams()) == (result.index_position, [5, 8])


def test_a_digest_is_there_only_for_streams_with_producers() -> None:
    data = body(built())
    index = index_of(data)
    assert index.digest_ref(5) is None
    digest = index.digest_ref(8)
    assert digest is not None
    content = open_digest(data.slice(digest.position, digest.position + digest.size_bytes), digest)
    assert len(content) == 1 + 5 * 40


def test_objects_are_merged_by_a_writer() -> None:
    writer = ObjectWriter(object_id=42, cluster_id=CLUSTER, block_bytes=150)
    writer.add(5, 0, 2, [batch(0), batch(1)])
    writer.add(5, 2, 4, [batch(3)], digest=Buf(b""))
    result = writer.finish()
    assert result is not None
    blocks = index_of(body(result)).blocks()
    assert [(block.start, block.end) for block in blocks] == [(0, 1), (1, 2), (2, 4)]
    with pytest.raises(AssertionError, match="finished"):
        writer.finish()


def test_runs_out_of_order_are_a_mistake() -> None:
    writer = ObjectWriter(object_id=42, cluster_id=CLUSTER)
    writer.add(5, 0, 1, [batch(0)])
    with pytest.raises(AssertionError, match="stream 4: comes behind stream 5"):
        writer.add(4, 0, 1, [batch(0)])


def test_damage_is_named_with_its_position() -> None:
    data = bytearray(bytes(body(built())))
    (block,) = index_of(Buf(data)).find(8, 0)
    data[block.position + 60] ^= 1
    damaged = Buf(data).slice(block.position, block.position + block.size_bytes)
    with pytest.raises(DamagedObject, match="CRC-32C") as caught:
        open_block(damaged, block)
    assert caught.value.position == block.position
    assert caught.value.args == (caught.value.why, block.position)


def test_a_cut_off_object_is_damaged() -> None:
    data = body(built())
    with pytest.raises(DamagedObject, match="no footer"):
        parse_footer(data.slice(0, len(data) - 1), len(data) - 1)


def test_the_object_of_another_cluster_is_refused() -> None:
    data = body(built())
    with pytest.raises(DamagedObject, match="an object of cluster"):
        parse_footer(data, len(data), cluster_id=bytes(16))
    with pytest.raises(ValueError, match="it has 16"):
        parse_footer(data, len(data), cluster_id=b"short")


def test_every_part_of_the_object_in_the_repository_is_listed() -> None:
    parts = inspect_object(Buf(GOLDEN.read_bytes()))
    assert [part.kind for part in parts] == [*["block"] * 3, "digest", "index", "footer"]
    assert [part.stream for part in parts] == [3, 3, 9, 9, None, None]
    assert [part.damage for part in parts] == [None] * 6


def test_the_block_cache_keeps_blocks_and_indexes() -> None:
    cache = BlockCache(bytes_max=1 << 20)
    index = index_of(body(built()))
    cache.put(42, 0, batch(0), copy=True)
    cache.put_index(index)
    assert cache.get(42, 0) == batch(0)
    kept = cache.get_index(42)
    assert kept is not None
    assert kept.ranges() == index.ranges()
    cache.drop_object(42)
    assert (cache.get(42, 0), cache.get_index(42), cache.bytes) == (None, None, 0)
    assert (cache.hits, cache.misses, cache.entries) == (2, 2, 0)


def test_a_read_goes_on_as_far_as_memory_has_the_blocks() -> None:
    writer = ObjectWriter(object_id=42, cluster_id=CLUSTER, block_bytes=150)
    writer.add(5, 0, 4, [batch(offset) for offset in range(4)])
    result = writer.finish()
    assert result is not None
    data, cache = body(result), BlockCache(bytes_max=1 << 20)
    index, wish = index_of(data), Wish(5, 0, 100, 1000)
    assert wish.kept(index, cache) is None
    first, second, third, _ = refs = wish.blocks(index)
    for ref in (first, second):
        block = open_block(data.slice(ref.position, ref.position + ref.size_bytes), ref)
        cache.put(ref.object_id, ref.position, block)
    kept = wish.kept(index, cache)
    assert kept is not None
    read, blocks_bytes = kept
    assert (read.size_bytes, read.next_offset) == (200, third.start)
    assert blocks_bytes == first.size_bytes + second.size_bytes
    assert len(refs) == 4


def test_a_read_that_has_no_room_gets_one_batch_where_it_must() -> None:
    data = body(built())
    refs = Wish(5, 7, 20, -1).blocks(index_of(data))
    blocks = [
        open_block(data.slice(ref.position, ref.position + ref.size_bytes), ref) for ref in refs
    ]
    assert Wish(5, 7, 20, -1).gather(refs, blocks).next_offset == 8
    assert Wish(5, 7, 20, -1, at_least_one=False).gather(refs, blocks).size_bytes == 0
