use automq_batch::{decode_digest, digest_of};
use bytes::Bytes;

use super::*;
use crate::batches::samples::{batch, idempotent};

const CLUSTER: ClusterId = *b"sixteen bytes id";

struct Stored {
    data: Bytes,
    index: ObjectIndex,
}

/// An object of runs (stream, start, batches), one offset a batch.
fn stored(object_id: i64, runs: &[(i64, i64, Vec<Bytes>)]) -> Stored {
    let mut writer = ObjectWriter::with_block_bytes(object_id, CLUSTER, 1_000);
    for (stream, start, batches) in runs {
        let end = start + batches.len() as i64;
        writer.add(*stream, (*start, end), batches.clone(), None).unwrap();
    }
    of(writer.finish().unwrap().unwrap())
}

fn of(built: BuiltObject) -> Stored {
    let data: Bytes = built.parts.concat().into();
    let end = built.index_position + built.index_bytes;
    let index = &data[built.index_position as usize..end as usize];
    let index = ObjectIndex::parse(index, built.index_position, None, None).unwrap();
    Stored { data, index }
}

fn part(stream: i64, object: i64, start: i64, end: i64) -> MergePart {
    MergePart { stream, object, start, end }
}

fn read(source: &Stored, spans: &[Span]) -> Vec<Bytes> {
    spans.iter().map(|s| source.data.slice(s.start as usize..s.end as usize)).collect()
}

fn merge(parts: &[MergePart], sources: &[&Stored]) -> Result<Stored, DamagedObject> {
    let mut merge = ObjectMerge::new(99, CLUSTER, parts.to_vec());
    for source in sources {
        let spans = merge.spans(&source.index)?;
        merge.take(&source.index, &read(source, &spans))?;
    }
    Ok(of(merge.finish().unwrap()))
}

fn content(object: &Stored, stream: i64) -> Vec<u8> {
    let open = |block: &BlockRef| {
        let from = block.position as usize;
        open_block(&object.data.slice(from..from + block.size_bytes as usize), block).unwrap()
    };
    object.index.find(stream, 0, usize::MAX).iter().map(open).collect::<Vec<_>>().concat()
}

fn digest(object: &Stored, stream: i64) -> Bytes {
    let Some(at) = object.index.digest_ref(stream) else { return Bytes::new() };
    let from = at.position as usize;
    open_digest(&object.data.slice(from..from + at.size_bytes as usize), &at).unwrap()
}

fn batches(range: std::ops::Range<i64>, size_bytes: usize) -> Vec<Bytes> {
    range.map(|offset| batch(offset, 1, 1_000 - offset, size_bytes)).collect()
}

#[test]
fn ranges_of_a_stream_become_one_run_in_large_blocks() {
    let first = stored(1, &[(3, 0, batches(0..20, 200)), (7, 0, batches(0..3, 90))]);
    let second = stored(2, &[(3, 20, batches(20..40, 200)), (7, 3, batches(3..5, 90))]);
    assert!(first.index.find(3, 0, 99).len() > 3, "small blocks to begin with");
    let parts = [part(3, 1, 0, 20), part(3, 2, 20, 40), part(7, 1, 0, 3), part(7, 2, 3, 5)];
    let merged = merge(&parts, &[&second, &first]).unwrap();
    let rows: Vec<_> = merged.index.ranges().iter().map(|r| (r.stream, r.start, r.end)).collect();
    assert_eq!(rows, [(3, 0, 40), (7, 0, 5)]);
    assert_eq!(merged.index.block_count(), 2);
    assert_eq!(content(&merged, 3), batches(0..40, 200).concat());
    assert_eq!(merged.index.ranges()[0].max_timestamp, 1_000);
    assert_eq!(merged.index.ranges()[0].record_count, 40);
}

#[test]
fn blocks_stay_near_their_size_when_runs_are_joined() {
    let runs: Vec<Stored> = (0..12)
        .map(|at| stored(at, &[(1, at * 30, batches(at * 30..at * 30 + 30, 5_000))]))
        .collect();
    let parts: Vec<_> = (0..12).map(|at| part(1, at, at * 30, at * 30 + 30)).collect();
    let merged = merge(&parts, &runs.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(content(&merged, 1), batches(0..360, 5_000).concat());
    let blocks = merged.index.find(1, 0, 99);
    assert_eq!(blocks.len(), (360 * 5_000_usize).div_ceil(BLOCK_BYTES));
    assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
}

#[test]
fn the_digest_is_that_of_all_batches() {
    let run = |range: std::ops::Range<i64>| -> Vec<Bytes> {
        range.map(|offset| idempotent(offset, 5 + offset % 2, 80)).collect()
    };
    let first = stored(1, &[(1, 0, run(0..20))]);
    let second = stored(2, &[(1, 20, run(20..23))]);
    let merged = merge(&[part(1, 1, 0, 20), part(1, 2, 20, 23)], &[&first, &second]).unwrap();
    let whole = digest_of(&run(0..23).concat().into()).unwrap().encode();
    assert_eq!(digest(&merged, 1), whole);
    let plain = merge(&[part(3, 1, 0, 2)], &[&stored(1, &[(3, 0, batches(0..2, 90))])]).unwrap();
    assert_eq!(plain.index.digest_ref(3), None);
}

#[test]
fn a_range_that_was_clipped_gives_only_its_own_batches_and_producers() {
    let run: Vec<Bytes> = (0..20).map(|offset| idempotent(offset, 5, 300)).collect();
    let source = stored(1, &[(1, 0, run.clone())]);
    let merged = merge(&[part(1, 1, 17, 20)], &[&source]).unwrap();
    assert_eq!(content(&merged, 1), run[17..].concat());
    let offsets: Vec<_> =
        decode_digest(&digest(&merged, 1)).unwrap().iter().map(|e| e.base_offset).collect();
    assert_eq!(offsets, [17, 18, 19]);
}

#[test]
fn what_is_not_there_as_it_was_named_is_damage() {
    let source = stored(1, &[(1, 10, batches(10..20, 90))]);
    for wrong in [part(1, 1, 9, 20), part(1, 1, 10, 21), part(1, 1, 10, 19), part(2, 1, 10, 20)] {
        assert!(merge(&[wrong], &[&source]).is_err(), "{wrong:?}");
    }
}

#[test]
fn every_flipped_bit_of_what_is_read_is_found() {
    let run: Vec<Bytes> = (0..4).map(|offset| idempotent(offset, 5, 100)).collect();
    let source = stored(1, &[(1, 0, run)]);
    let mut merge = ObjectMerge::new(99, CLUSTER, vec![part(1, 1, 0, 4)]);
    let spans = merge.spans(&source.index).unwrap();
    for at in 0..source.index.index_position() as usize {
        let mut damaged = source.data.to_vec();
        damaged[at] ^= 4;
        let damaged = Stored { data: damaged.into(), index: source.index.clone() };
        assert!(merge.take(&source.index, &read(&damaged, &spans)).is_err(), "byte {at}");
    }
    assert!(merge.take(&source.index, &[]).is_err());
    assert!(merge.finish().is_err(), "nothing was taken");
}

#[test]
fn reads_join_over_small_gaps_and_stay_bounded() {
    let large = |stream: i64| (stream, 0, batches(0..30, 100_000));
    let source = stored(1, &[large(1), (2, 0, batches(0..1, 100)), large(3), large(5)]);
    let spans = |parts: &[MergePart]| {
        ObjectMerge::new(99, CLUSTER, parts.to_vec()).spans(&source.index).unwrap()
    };
    let lengths = |parts: &[MergePart]| -> Vec<u64> {
        spans(parts).iter().map(|span| span.end - span.start).collect()
    };
    assert_eq!(lengths(&[part(2, 1, 0, 1)]), [148]);
    let all = lengths(&[part(1, 1, 0, 30), part(2, 1, 0, 1), part(3, 1, 0, 30)]);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|length| *length <= 4 << 20));
    assert_eq!(spans(&[part(1, 1, 0, 30), part(5, 1, 0, 30)]).len(), 2, "not over a large gap");
}
