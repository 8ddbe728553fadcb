use automq_batch::{CRC_FROM, crc32c, decode_digest};
use bytes::Bytes;

use super::*;
use crate::batches::samples::{batch, idempotent};
use crate::cache::LogCache;
use crate::summed::Summed;

const CLUSTER: ClusterId = *b"sixteen bytes id";

fn whole(object: &BuiltObject) -> Bytes {
    let bytes: Bytes = object.parts.concat().into();
    assert_eq!(bytes.len() as u64, object.size_bytes);
    bytes
}

fn index_of(data: &Bytes) -> ObjectIndex {
    let footer = parse_footer(data, data.len() as u64, None, None).unwrap();
    let end = footer.index_position + footer.index_bytes;
    let index = &data[footer.index_position as usize..end as usize];
    ObjectIndex::parse(index, footer.index_position, Some(footer.object_id), None).unwrap()
}

fn part(data: &Bytes, position: u64, size_bytes: u64) -> Bytes {
    data.slice(position as usize..(position + size_bytes) as usize)
}

fn batches_of(data: &Bytes, blocks: &[BlockRef]) -> Vec<u8> {
    let open = |block: &BlockRef| {
        open_block(&part(data, block.position, block.size_bytes), block).unwrap()
    };
    blocks.iter().map(open).collect::<Vec<_>>().concat()
}

/// Two streams, three blocks, one digest: with every kind of part, but small.
fn small_object() -> Bytes {
    let mut writer = ObjectWriter::with_block_bytes(77, CLUSTER, 150);
    writer.add(3, (10, 12), [batch(10, 1, 500, 70), batch(11, 1, 400, 100)], None).unwrap();
    let two = Bytes::from([idempotent(0, 5, 61), idempotent(1, 5, 64)].concat());
    writer.add(9, (0, 2), [two], None).unwrap();
    whole(&writer.finish().unwrap().unwrap())
}

#[test]
fn an_object_gives_back_what_was_written() {
    let mut writer = ObjectWriter::with_block_bytes(5, CLUSTER, 10_000);
    let mut streams = Vec::new();
    for stream in [1, 2, 70, 1 << 40] {
        let start = stream * 3;
        let sizes = [61, 4000, 9000, 20_000, 100, 100, 5000];
        let run: Vec<Bytes> = sizes
            .into_iter()
            .zip(start..)
            .map(|(size, offset)| batch(offset, 1, 1000 - offset, size))
            .collect();
        writer.add(stream, (start, start + 7), run.clone(), None).unwrap();
        streams.push((stream, start, run.concat()));
    }
    let object = writer.finish().unwrap().unwrap();
    let data = whole(&object);
    let index = index_of(&data);
    assert_eq!(index.ranges(), object.ranges);
    assert_eq!(index.index_position(), object.index_position);
    for (stream, start, bytes) in streams {
        let blocks = index.find(stream, 0, usize::MAX);
        assert!(blocks.len() > 2 && blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(batches_of(&data, &blocks), bytes);
        let found = index.find(stream, start + 3, 1)[0];
        assert!(found.start <= start + 3 && found.end > start + 3);
        assert_eq!(index.find(stream, start + 7, 9), []);
        assert_eq!(index.digest_ref(stream), None);
    }
    assert_eq!(index.find(4, 0, 9), []);
}

#[test]
fn a_generation_becomes_one_object() {
    let cache = LogCache::new(1 << 20);
    for offset in 0..200 {
        let size = if offset % 10 == 0 { 6000 } else { 200 };
        cache.append(offset % 3, offset / 3, offset / 3, 0, batch(offset / 3, 1, 0, size)).unwrap();
    }
    let sealed = cache.seal().unwrap();
    cache.append(0, 67, 67, 0, batch(67, 1, 0, 61)).unwrap();
    let object = build_object(&cache, sealed, 8, CLUSTER, None).unwrap().unwrap();
    let (data, ranges) = (whole(&object), object.ranges.clone());
    let ends: Vec<_> = ranges.iter().map(|range| (range.stream, range.start, range.end)).collect();
    assert_eq!(ends, [(0, 0, 67), (1, 0, 67), (2, 0, 66)]);
    let index = index_of(&data);
    for range in ranges {
        let stored = batches_of(&data, &index.find(range.stream, 0, usize::MAX));
        let cached = cache.read(range.stream, 0, range.end, usize::MAX, false).unwrap();
        assert_eq!(stored, cached.bufs.concat());
        assert_eq!((range.bytes, range.record_count), (stored.len() as u64, range.end as u64));
    }
    let some = build_object(&cache, sealed, 9, CLUSTER, Some(vec![2, 77])).unwrap().unwrap();
    assert_eq!(some.ranges.len(), 1);
    assert_eq!(build_object(&cache, sealed, 9, CLUSTER, Some(vec![77])), Ok(None));
}

#[test]
fn a_checksum_that_a_batch_came_with_gives_the_same_object() {
    let object = |known: bool| {
        let cache = LogCache::new(1 << 22);
        for offset in 0..40 {
            let bytes = batch(offset, 1, 0, 50_000 * (offset as usize % 3) + 100);
            let crc = known.then(|| crc32c(&bytes[CRC_FROM..]));
            cache.append(1, offset, offset, 0, Summed::batch(bytes, crc)).unwrap();
        }
        let run = cache.run_of(cache.seal().unwrap(), 1).unwrap();
        let with = run.pieces.iter().filter(|piece| piece.known().is_some()).count();
        assert_eq!(with, if known { 26 } else { 0 });
        whole(&build_object(&cache, 0, 8, CLUSTER, None).unwrap().unwrap())
    };
    assert_eq!(object(true), object(false));
}

#[test]
fn appends_go_on_while_an_object_is_built() {
    let cache = LogCache::new(1 << 20);
    let append = |offset| {
        for stream in 0..20 {
            cache.append(stream, offset, offset, 0, batch(offset, 1, 0, 150)).unwrap();
        }
    };
    (0..100).for_each(append);
    let sealed = cache.seal().unwrap();
    let builds = std::thread::scope(|scope| {
        let build = |id| build_object(&cache, sealed, id, CLUSTER, None).unwrap().unwrap();
        let builder = scope.spawn(move || [build(1), build(1)]);
        (100..200).for_each(append);
        builder.join().unwrap()
    });
    assert_eq!(whole(&builds[0]), whole(&builds[1]));
    let index = index_of(&whole(&builds[0]));
    let stored = batches_of(&whole(&builds[0]), &index.find(7, 0, usize::MAX));
    assert_eq!(stored, cache.read(7, 0, 100, usize::MAX, false).unwrap().bufs.concat());
    assert_eq!(cache.offsets(7), Some((0, 200)));
}

#[test]
fn a_released_or_active_generation_cannot_be_built() {
    let cache = LogCache::new(1 << 20);
    cache.append(1, 0, 0, 0, batch(0, 1, 0, 100)).unwrap();
    assert!(build_object(&cache, 0, 8, CLUSTER, None).is_err());
    cache.seal().unwrap();
    cache.release(0).unwrap();
    assert!(build_object(&cache, 0, 8, CLUSTER, None).is_err());
}

#[test]
fn large_batches_are_parts_by_reference_in_a_block_of_their_own() {
    let large = batch(0, 1, 0, 3 * BLOCK_BYTES);
    let mut writer = ObjectWriter::new(5, CLUSTER);
    writer.add(1, (0, 2), [large.clone(), batch(1, 1, 0, 100)], None).unwrap();
    let object = writer.finish().unwrap().unwrap();
    assert!(object.parts.iter().any(|part| part.as_ptr() == large.as_ptr()));
    let blocks = index_of(&whole(&object)).find(1, 0, 9);
    assert_eq!(blocks.len(), 2);
}

#[test]
fn digests_are_found_by_stream() {
    let data = small_object();
    let index = index_of(&data);
    assert_eq!(index.digest_ref(3), None);
    let digest = index.digest_ref(9).unwrap();
    assert_eq!(digest.position, index.digest_position());
    let content = open_digest(&part(&data, digest.position, digest.size_bytes), &digest).unwrap();
    let offsets: Vec<_> = decode_digest(&content).unwrap().iter().map(|e| e.base_offset).collect();
    assert_eq!(offsets, [0, 1]);
}

#[test]
fn merged_runs_join_their_digests_and_keep_gaps() {
    let first = automq_batch::digest_of(&idempotent(0, 5, 80)).unwrap().encode();
    let mut writer = ObjectWriter::new(6, CLUSTER);
    writer.add(1, (0, 10), [batch(7, 2, 0, 80)], Some(&first)).unwrap();
    writer.add(1, (10, 12), [idempotent(11, 5, 80)], None).unwrap();
    let data = whole(&writer.finish().unwrap().unwrap());
    let index = index_of(&data);
    let digest = index.digest_ref(1).unwrap();
    let content = open_digest(&part(&data, digest.position, digest.size_bytes), &digest).unwrap();
    let offsets: Vec<_> = decode_digest(&content).unwrap().iter().map(|e| e.base_offset).collect();
    assert_eq!(offsets, [0, 11]);
    let block = index.find(1, 3, 1)[0];
    assert_eq!((block.start, block.end), (0, 12));
    let read = cut(&Bytes::from(batches_of(&data, &[block])), 3, 10, 1000, false).unwrap();
    assert_eq!((read.base_offset, read.next_offset, read.size_bytes), (7, 9, 80));
}

#[test]
fn a_search_by_time_gives_the_first_block_that_may_hold_it() {
    let index = index_of(&small_object());
    let start = |timestamp, from| index.find_timestamp(3, timestamp, from).map(|block| block.start);
    assert_eq!(start(450, 0), Some(10));
    assert_eq!(start(400, 11), Some(11));
    assert_eq!(start(450, 11), None);
}

#[test]
fn runs_out_of_order_break_the_writer() {
    let add = |stream, range, batch: Bytes| {
        let mut writer = ObjectWriter::new(5, CLUSTER);
        writer.add(4, (10, 20), [self::batch(10, 5, 0, 80)], None).unwrap();
        let added = writer.add(stream, range, [batch], None);
        assert_eq!(added.is_err(), writer.finish().is_err());
        added.is_ok()
    };
    assert!(add(4, (20, 25), batch(20, 5, 0, 80)));
    assert!(add(4, (25, 30), batch(25, 5, 0, 80)));
    assert!(!add(4, (19, 25), batch(20, 5, 0, 80)));
    assert!(!add(3, (0, 25), batch(20, 5, 0, 80)));
    assert!(!add(5, (0, 4), batch(0, 5, 0, 80)));
    assert!(!add(5, (1, 5), batch(0, 5, 0, 80)));
    assert!(!add(5, (0, 0), batch(0, 5, 0, 80)));
    assert!(!add(5, (0, 5), batch(0, 5, 0, 80).slice(..79)));
    assert!(!add(5, (0, 5), Bytes::new()));
}

#[test]
fn an_empty_writer_has_no_object() {
    assert_eq!(ObjectWriter::new(5, CLUSTER).finish(), Ok(None));
}

#[test]
fn cutting_gives_whole_batches_within_the_limits() {
    let bytes: Bytes =
        [batch(0, 5, 0, 100), batch(5, 5, 0, 100), batch(10, 5, 0, 100)].concat().into();
    let read = |start, end, max, one| {
        let read = cut(&bytes, start, end, max, one).unwrap();
        assert_eq!(read.bufs.concat().len(), read.size_bytes);
        (read.base_offset, read.next_offset, read.size_bytes)
    };
    assert_eq!(read(0, 15, 1000, false), (0, 15, 300));
    assert_eq!(read(7, 15, 1000, false), (5, 15, 200));
    assert_eq!(read(7, 14, 1000, false), (5, 10, 100));
    assert_eq!(read(7, 15, 199, false), (5, 10, 100));
    assert_eq!(read(7, 15, 1, true), (5, 10, 100));
    assert_eq!(read(7, 15, 1, false), (7, 7, 0));
    assert_eq!(read(15, 20, 1000, true), (15, 15, 0));
    assert_eq!(cut(&bytes.slice(..250), 0, 15, 1000, false).unwrap_err().position, 200);
}

#[test]
fn every_part_is_listed() {
    let kinds: Vec<_> = inspect(&small_object()).unwrap().iter().map(|part| part.kind).collect();
    assert_eq!(kinds, ["block", "block", "block", "digest", "index", "footer"]);
    let parts = inspect(&small_object()).unwrap();
    assert!(parts.iter().all(|part| part.damage.is_none()));
    assert!(parts.windows(2).all(|p| p[0].position + p[0].size_bytes == p[1].position));
}

/// Reads all of it as a reader would, who knows the object's ids.
fn read_all(data: &Bytes) -> Result<(), DamagedObject> {
    let footer = parse_footer(data, data.len() as u64, Some(77), Some(CLUSTER))?;
    let index = part(data, footer.index_position, footer.index_bytes);
    let index = ObjectIndex::parse(&index, footer.index_position, Some(77), Some(CLUSTER))?;
    for block in index.blocks() {
        let bytes = part(data, block.position, block.size_bytes);
        let opened = open_block(&bytes, &block);
        assert_eq!(open_summed_block(&bytes, crc32c(&bytes), &block), opened);
        opened?;
    }
    for digest in index.streams().filter_map(|stream| index.digest_ref(stream)) {
        open_digest(&part(data, digest.position, digest.size_bytes), &digest)?;
    }
    Ok(())
}

#[test]
fn every_flipped_bit_is_found() {
    let data = small_object();
    assert_eq!(read_all(&data), Ok(()));
    for at in 0..data.len() {
        for bit in 0..8 {
            let mut damaged = data.to_vec();
            damaged[at] ^= 1 << bit;
            let damaged = Bytes::from(damaged);
            let found = read_all(&damaged).expect_err("damage");
            assert!(found.position <= at as u64, "byte {at}: {found}");
            let listed = inspect(&damaged);
            assert!(listed.map_or(true, |parts| parts.iter().any(|part| part.damage.is_some())));
        }
    }
}

#[test]
fn every_cut_off_object_is_found() {
    let data = small_object();
    for end in 0..data.len() {
        let found = read_all(&data.slice(..end)).expect_err("cut off");
        assert!(found.position <= end as u64);
        assert!(inspect(&data.slice(..end)).is_err());
    }
}

#[test]
fn random_bytes_in_an_index_never_panic() {
    let data = small_object();
    let footer = parse_footer(&data, data.len() as u64, None, None).unwrap();
    let index = part(&data, footer.index_position, footer.index_bytes);
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut damaged = index.to_vec();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let at = 32 + (seed >> 33) as usize % (damaged.len() - 32);
            damaged[at] = (seed >> 20) as u8;
        }
        let checksum = automq_batch::crc32c(&damaged[8..]);
        damaged[4..8].copy_from_slice(&checksum.to_be_bytes());
        if let Ok(index) = ObjectIndex::parse(&damaged, footer.index_position, None, None) {
            index.ranges();
            index.blocks();
        }
    }
}

#[test]
fn a_wrong_object_is_found_out() {
    let data = small_object();
    let size = data.len() as u64;
    assert!(parse_footer(&data, size, Some(78), None).is_err());
    assert!(parse_footer(&data, size, None, Some([0; 16])).is_err());
    assert!(parse_footer(&data, size + 1, None, None).is_err());
    let mut block = index_of(&data).blocks()[0];
    block.object_id = 78;
    let refused = open_block(&part(&data, 0, block.size_bytes), &block).unwrap_err();
    assert!(refused.why.contains("wanted (78, 3, 10, 11)"), "{refused}");
}

/// The bytes of version 1 are for ever: a later reader must read this file.
#[test]
fn the_object_in_the_repository_is_still_written_and_read_the_same() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/object-v1.bin");
    let data = small_object();
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        std::fs::write(golden, &data).unwrap();
    }
    assert_eq!(std::fs::read(golden).unwrap(), data);
    assert_eq!(read_all(&data), Ok(()));
}
