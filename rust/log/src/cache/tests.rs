use std::collections::HashMap;

use super::*;
use crate::batches::samples::batch;

/// A small generator of numbers, so that a failing seed can be run again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn append(cache: &LogCache, stream: i64, base: i64, records: u32, size: usize) -> Bytes {
    let bytes = batch(base, records, base, size);
    cache.append(stream, base, base + i64::from(records) - 1, base, bytes).unwrap()
}

fn all(cache: &LogCache, stream: i64, start: i64) -> Vec<u8> {
    cache.read(stream, start, i64::MAX, usize::MAX, false).unwrap().bufs.concat()
}

#[test]
fn a_read_starts_with_the_batch_that_holds_the_offset() {
    let cache = LogCache::new(1 << 20);
    append(&cache, 1, 0, 10, 100);
    append(&cache, 1, 10, 10, 5000);
    let read = cache.read(1, 15, 20, usize::MAX, false).unwrap();
    assert_eq!((read.size_bytes, read.next_offset), (5000, 20));
    assert_eq!(cache.read(1, 9, 20, usize::MAX, false).unwrap().size_bytes, 5100);
}

#[test]
fn a_batch_that_passes_the_end_is_left_out() {
    let cache = LogCache::new(1 << 20);
    append(&cache, 1, 0, 10, 100);
    append(&cache, 1, 10, 10, 100);
    let read = cache.read(1, 0, 19, usize::MAX, true).unwrap();
    assert_eq!((read.size_bytes, read.next_offset), (100, 10));
    assert_eq!(cache.read(1, 10, 19, usize::MAX, true), Some(CacheRead::empty(10)));
}

#[test]
fn one_batch_is_given_over_the_limit_only_when_asked_for() {
    let cache = LogCache::new(1 << 20);
    append(&cache, 1, 0, 10, 100);
    append(&cache, 1, 10, 10, 100);
    assert_eq!(cache.read(1, 0, 20, 99, true).unwrap().size_bytes, 100);
    assert_eq!(cache.read(1, 0, 20, 99, false), Some(CacheRead::empty(0)));
    assert_eq!(cache.read(1, 0, 20, 199, true).unwrap().size_bytes, 100);
    assert_eq!(cache.read(1, 0, 20, 200, true).unwrap().size_bytes, 200);
}

#[test]
fn small_batches_side_by_side_are_one_piece() {
    let cache = LogCache::new(1 << 20);
    for base in 0..5 {
        append(&cache, 1, base, 1, 100);
    }
    assert_eq!(cache.read(1, 0, 5, usize::MAX, false).unwrap().bufs.len(), 1);
}

#[test]
fn a_small_batch_is_copied_and_a_large_one_is_shared() {
    let cache = LogCache::new(1 << 20);
    let (small, large) = (batch(0, 1, 0, 100), batch(1, 1, 0, 5000));
    let kept = cache.append(1, 0, 0, 0, small.clone()).unwrap();
    assert!(kept == small && kept.as_ptr() != small.as_ptr());
    let kept = cache.append(1, 1, 1, 0, large.clone()).unwrap();
    assert!(kept == large && kept.as_ptr() == large.as_ptr());
}

#[test]
fn an_unknown_stream_and_an_evicted_start_are_not_here() {
    let cache = LogCache::new(0);
    assert_eq!(cache.read(1, 0, 1, 1, true), None);
    append(&cache, 1, 0, 1, 100);
    let sealed = cache.seal().unwrap();
    append(&cache, 1, 1, 1, 100);
    cache.release(sealed).unwrap();
    assert_eq!(cache.read(1, 0, 2, 1000, true), None);
    assert_eq!(cache.read(1, 1, 2, 1000, true).unwrap().size_bytes, 100);
    assert_eq!(cache.offsets(1), Some((1, 2)));
}

#[test]
fn a_gap_or_an_overlap_is_refused() {
    let cache = LogCache::new(1 << 20);
    append(&cache, 1, 5, 5, 100);
    for base in [9, 11] {
        let refused = cache.append(1, base, base, 0, batch(base, 1, 0, 100));
        assert_eq!(
            refused,
            Err(CacheError::NotContiguous { stream: 1, end: 10, base_offset: base })
        );
    }
    assert_eq!(cache.offsets(1), Some((5, 10)));
}

#[test]
fn a_batch_that_does_not_say_what_the_call_says_is_refused() {
    let cache = LogCache::new(1 << 20);
    assert!(cache.append(1, 5, 5, 0, batch(0, 1, 0, 100)).is_err());
    assert!(cache.append(1, 0, 1, 0, batch(0, 1, 0, 100)).is_err());
    assert!(cache.append(1, 0, 0, 9, batch(0, 1, 0, 100)).is_err());
    assert!(cache.append(1, 0, 0, 0, batch(0, 1, 0, 100).slice(..99)).is_err());
    assert!(cache.append(1, 0, 0, 0, Bytes::new()).is_err());
    assert_eq!((cache.offsets(1), cache.stats().memory_bytes), (None, 0));
}

#[test]
fn several_batches_may_come_in_one_append() {
    let cache = LogCache::new(1 << 20);
    let bytes: Bytes = (0..100).map(|at| batch(at, 1, at, 100)).collect::<Vec<_>>().concat().into();
    cache.append(1, 0, 99, 99, bytes.clone()).unwrap();
    assert_eq!(all(&cache, 1, 0), bytes);
    assert_eq!(all(&cache, 1, 73), bytes[7300..]);
    assert_eq!(cache.find_timestamp(1, 42, 0, 100).unwrap().base_offset, 42);
}

#[test]
fn a_search_by_time_finds_the_first_batch_that_may_hold_it() {
    let cache = LogCache::new(1 << 20);
    for (base, timestamp) in [(0, 10), (1, 30), (2, 20), (3, 40)] {
        cache.append(1, base, base, timestamp, batch(base, 1, timestamp, 100)).unwrap();
    }
    let found = |timestamp, start, end| {
        cache.find_timestamp(1, timestamp, start, end).map(|found| found.base_offset)
    };
    assert_eq!(found(20, 0, 4), Some(1));
    assert_eq!(found(20, 2, 4), Some(2));
    assert_eq!(found(31, 0, 4), Some(3));
    assert_eq!(found(31, 0, 3), None);
    assert_eq!(found(41, 0, 4), None);
}

#[test]
fn reads_span_generations() {
    let cache = LogCache::new(1 << 20);
    append(&cache, 1, 0, 1, 100);
    assert_eq!(cache.seal(), Some(0));
    assert_eq!(cache.seal(), None);
    append(&cache, 1, 1, 1, 100);
    assert_eq!(cache.read(1, 0, 2, 1000, false).unwrap().size_bytes, 200);
    let run = cache.run_of(0, 1).unwrap();
    assert_eq!((run.start, run.end, run.pieces[0].bytes.len()), (0, 1, 100));
    assert_eq!(cache.run_of(7, 1), None);
}

#[test]
fn a_dropped_stream_gives_its_memory_back_and_may_start_anew() {
    let cache = LogCache::new(1 << 20);
    append(&cache, 1, 0, 1, 100);
    let sealed = cache.seal().unwrap();
    append(&cache, 1, 1, 1, 5000);
    cache.drop_stream(1);
    let stats = cache.stats();
    assert_eq!((stats.memory_bytes, stats.unreleased_bytes, stats.streams), (0, 0, 0));
    assert_eq!(cache.seal(), None);
    append(&cache, 1, 500, 1, 100);
    assert_eq!(cache.run_of(sealed, 1), None);
    assert_eq!(cache.offsets(1), Some((500, 501)));
}

#[test]
fn only_a_sealed_generation_can_be_released_and_once() {
    let cache = LogCache::new(1 << 20);
    append(&cache, 1, 0, 1, 100);
    assert!(cache.release(0).is_err());
    cache.seal().unwrap();
    assert!(cache.release(3).is_err());
    cache.release(0).unwrap();
    assert!(cache.release(0).is_err());
    assert!(cache.streams_of(0).is_err());
}

#[test]
fn small_batches_between_large_ones_share_an_arena() {
    let cache = LogCache::new(1 << 20);
    let mut end = 0;
    for _ in 0..50 {
        append(&cache, 1, end, 1, 70);
        append(&cache, 1, end + 1, 1, 4096);
        end += 2;
    }
    let held = &cache.generations()[0];
    assert!(held.memory_bytes < held.payload_bytes + 100 * 200 + 8192, "{held:?}");
}

/// The cache beside a plain list of batches, over random histories.
#[test]
fn any_history_reads_like_a_list_of_batches() {
    for seed in 0..60 {
        run_history(seed);
    }
}

fn run_history(seed: u64) {
    let mut chance = Chance(seed);
    let bytes_max = [0, 20_000, 1 << 20][chance.below(3) as usize];
    let cache = LogCache::new(bytes_max);
    let mut model: HashMap<i64, Vec<Bytes>> = HashMap::new();
    let mut ends: HashMap<i64, i64> = HashMap::new();
    let mut sealed: Vec<(u64, HashMap<i64, i64>)> = Vec::new();
    let mut released: HashMap<i64, i64> = HashMap::new();
    for _ in 0..400 {
        let stream = chance.below(4) as i64;
        match chance.below(20) {
            0 => {
                if let Some(id) = cache.seal() {
                    sealed.push((id, ends.clone()));
                }
            }
            1 if !sealed.is_empty() => {
                let (id, upto) = sealed.remove(0);
                cache.release(id).unwrap();
                released = upto;
            }
            2 if chance.below(4) == 0 => {
                cache.drop_stream(stream);
                model.remove(&stream);
                ends.remove(&stream);
                for (_, upto) in &mut sealed {
                    upto.remove(&stream);
                }
                released.remove(&stream);
            }
            3..=12 => {
                let base = ends.get(&stream).copied().unwrap_or(100 * chance.below(3) as i64);
                let records = 1 + chance.below(5) as u32;
                let size = [61, 100, 900, 4095, 4096, 9000][chance.below(6) as usize];
                let kept = append(&cache, stream, base, records, size);
                model.entry(stream).or_default().push(kept);
                ends.insert(stream, base + i64::from(records));
            }
            _ => check_read(seed, &mut chance, &cache, stream, &model),
        }
        check_accounts(seed, &cache, bytes_max, &released, &model);
    }
    for stream in 0..4 {
        cache.drop_stream(stream);
    }
    let stats = cache.stats();
    assert_eq!((stats.memory_bytes, stats.unreleased_bytes), (0, 0), "seed {seed}");
}

fn check_read(
    seed: u64,
    chance: &mut Chance,
    cache: &LogCache,
    stream: i64,
    model: &HashMap<i64, Vec<Bytes>>,
) {
    let Some((start, end)) = cache.offsets(stream) else {
        assert!(!model.contains_key(&stream));
        return;
    };
    let from = start - 1 + chance.below((end - start + 3) as u64) as i64;
    let to = start + chance.below((end - start + 3) as u64) as i64;
    let bytes_max = [0, 61, 1000, 5000, 1 << 20][chance.below(5) as usize];
    let one = chance.below(2) == 0;
    let read = cache.read(stream, from, to, bytes_max, one);
    let expected = (from >= start).then(|| plain_read(&model[&stream], from, to, bytes_max, one));
    let seen = read.map(|read| (read.bufs.concat(), read.next_offset));
    assert_eq!(seen, expected, "seed {seed}, stream {stream}, [{from}, {to}), {bytes_max}, {one}");
}

fn plain_read(
    batches: &[Bytes],
    from: i64,
    to: i64,
    bytes_max: usize,
    one: bool,
) -> (Vec<u8>, i64) {
    let (mut bytes, mut next) = (Vec::new(), from);
    for batch in batches {
        let at = crate::batches::batch_at(batch, 0).unwrap();
        if at.next_offset() <= from {
            continue;
        }
        let fits = bytes.len() + batch.len() <= bytes_max || (one && bytes.is_empty());
        if at.next_offset() > to || !fits {
            break;
        }
        bytes.extend_from_slice(batch);
        next = at.next_offset();
    }
    (bytes, next)
}

fn check_accounts(
    seed: u64,
    cache: &LogCache,
    bytes_max: usize,
    released: &HashMap<i64, i64>,
    model: &HashMap<i64, Vec<Bytes>>,
) {
    let (stats, generations) = (cache.stats(), cache.generations());
    let held: usize = generations.iter().map(|generation| generation.memory_bytes).sum();
    assert_eq!(held + stats.streams * STREAM_BYTES, stats.memory_bytes, "seed {seed}");
    let unreleased = generations.iter().filter(|generation| generation.phase != Phase::Released);
    let unreleased: usize = unreleased.map(|generation| generation.memory_bytes).sum();
    assert_eq!(unreleased, stats.unreleased_bytes, "seed {seed}");
    let over = stats.memory_bytes > bytes_max;
    let evictable = generations.iter().any(|g| g.phase == Phase::Released && g.memory_bytes > 0);
    assert!(!(over && evictable), "seed {seed}: {stats:?} {generations:?}");
    for (stream, batches) in model {
        let (start, _) = cache.offsets(*stream).unwrap();
        let first = crate::batches::batch_at(&batches[0], 0).unwrap().header.base_offset;
        let safe = released.get(stream).copied().unwrap_or(first);
        assert!(start <= safe, "seed {seed}: unreleased batches of stream {stream} are gone");
    }
}
