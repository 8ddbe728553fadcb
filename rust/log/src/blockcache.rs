//! The block cache: what was read out of objects, within a budget of bytes.
//!
//! S3-FIFO (Yang et al., SOSP 2023): newcomers wait in a small queue and reach the main one only
//! when they are asked for again, so a consumer that reads last week does not push out what others
//! read now. What left the small queue unasked is remembered by key, and goes straight to the main
//! queue when it comes back.
//!
//! Invariant: `bytes` never stays above `bytes_max`. An object's bytes never change and its id is
//! never used again, so nothing here can be stale.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::object::ObjectIndex;

/// The part of the budget for what has been asked for once or not yet: it holds twice what is read
/// ahead of readers, so that this is not evicted before they come.
const SMALL_SHARE: usize = 4;
/// How often an entry may be passed over before it must be asked for again.
const FREQUENCY_MAX: u8 = 3;
const GHOSTS_MIN: usize = 256;

/// What can be cached: the batches of a verified block, or an index.
#[derive(Clone, Debug)]
pub enum Cached {
    Block(Bytes),
    Index(Arc<ObjectIndex>),
}

/// Object id, and position of the part in it.
pub type Key = (i64, u64);

#[derive(Debug)]
pub struct BlockCache {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCacheStats {
    pub bytes: usize,
    pub entries: usize,
    pub hits: u64,
    pub misses: u64,
    pub evicted_bytes: u64,
    /// Of what was put ahead of readers: evicted before anybody asked for it.
    pub unread_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    value: Cached,
    bytes: usize,
    frequency: u8,
    is_main: bool,
    /// Put ahead of a reader who has not come yet.
    is_unread: bool,
    /// Tells this entry from earlier ones of its key that are still in a queue.
    number: u64,
}

#[derive(Debug, Default)]
struct State {
    bytes_max: usize,
    small_bytes: usize,
    entries: HashMap<Key, Entry>,
    small: VecDeque<(Key, u64)>,
    main: VecDeque<(Key, u64)>,
    ghosts: VecDeque<Key>,
    ghost_keys: HashSet<Key>,
    next_number: u64,
    stats: BlockCacheStats,
}

impl Cached {
    fn bytes(&self) -> usize {
        let own = size_of::<(Key, Entry)>() + size_of::<(Key, u64)>();
        own + match self {
            Self::Block(bytes) => bytes.len(),
            Self::Index(index) => index.memory_bytes(),
        }
    }
}

impl BlockCache {
    pub fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::new(State { bytes_max, ..State::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of `key`. `is_again`: for a reader that has had it, and goes on within it, which
    /// says nothing about whether others will want it.
    pub fn get(&self, key: Key, is_again: bool) -> Option<Cached> {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(&key) else {
            state.stats.misses += 1;
            return None;
        };
        if entry.is_unread {
            // Whom it was put here for: that is the first asking, not one more.
            entry.is_unread = false;
        } else if !is_again {
            entry.frequency = (entry.frequency + 1).min(FREQUENCY_MAX);
        }
        let value = entry.value.clone();
        state.stats.hits += 1;
        Some(value)
    }

    /// Whether `key` is kept. Nobody has asked for it by that.
    pub fn has(&self, key: Key) -> bool {
        self.state().entries.contains_key(&key)
    }

    /// Keeps `value`; not if it alone is over the budget, or is there already.
    ///
    /// A block's bytes are counted by their length: they should own their memory. `is_ahead`: nobody
    /// has it yet, it waits for a reader.
    pub fn put(&self, key: Key, value: Cached, is_ahead: bool) {
        let mut state = self.state();
        let bytes = value.bytes();
        if bytes > state.bytes_max || state.entries.contains_key(&key) {
            return;
        }
        let is_main = state.ghost_keys.remove(&key);
        let number = state.next_number;
        state.next_number += 1;
        let is_unread = is_ahead;
        state.entries.insert(key, Entry { value, bytes, frequency: 0, is_main, is_unread, number });
        state.stats.bytes += bytes;
        if is_main {
            state.main.push_back((key, number));
        } else {
            state.small_bytes += bytes;
            state.small.push_back((key, number));
        }
        while state.stats.bytes > state.bytes_max {
            state.evict_one();
        }
    }

    /// Forgets all parts of an object that is no longer needed.
    pub fn drop_object(&self, object_id: i64) {
        let mut state = self.state();
        let keys: Vec<Key> =
            state.entries.keys().filter(|key| key.0 == object_id).copied().collect();
        for key in keys {
            state.remove(&key);
        }
        state.forget_stale();
    }

    pub fn stats(&self) -> BlockCacheStats {
        let state = self.state();
        BlockCacheStats { entries: state.entries.len(), ..state.stats }
    }
}

impl State {
    fn evict_one(&mut self) {
        let small_is_over = self.small_bytes > self.bytes_max / SMALL_SHARE;
        if small_is_over || self.main.is_empty() {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        let Some((key, number)) = self.small.pop_front() else { return };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.number == number) else {
            return;
        };
        if entry.frequency > 0 {
            entry.frequency = 0;
            entry.is_main = true;
            self.small_bytes -= entry.bytes;
            self.main.push_back((key, number));
            return;
        }
        self.evict(&key);
        if self.ghost_keys.insert(key) {
            self.ghosts.push_back(key);
        }
        while self.ghosts.len() > GHOSTS_MIN.max(self.entries.len()) {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.ghost_keys.remove(&oldest);
            }
        }
    }

    fn evict_main(&mut self) {
        let Some((key, number)) = self.main.pop_front() else { return };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.number == number) else {
            return;
        };
        if entry.frequency > 0 {
            entry.frequency -= 1;
            self.main.push_back((key, number));
            return;
        }
        self.evict(&key);
    }

    fn evict(&mut self, key: &Key) {
        let is_unread = self.entries.get(key).is_some_and(|entry| entry.is_unread);
        let bytes = self.remove(key) as u64;
        self.stats.evicted_bytes += bytes;
        self.stats.unread_bytes += if is_unread { bytes } else { 0 };
    }

    fn remove(&mut self, key: &Key) -> usize {
        let Some(entry) = self.entries.remove(key) else { return 0 };
        self.stats.bytes -= entry.bytes;
        if !entry.is_main {
            self.small_bytes -= entry.bytes;
        }
        entry.bytes
    }

    /// Places in the queues of entries that were dropped must not add up.
    fn forget_stale(&mut self) {
        if self.small.len() + self.main.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            let live = |(key, number): &(Key, u64)| {
                entries.get(key).is_some_and(|entry| entry.number == *number)
            };
            self.small.retain(live);
            self.main.retain(live);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 1000;

    fn cache(blocks: usize) -> BlockCache {
        BlockCache::new(blocks * Cached::Block(Bytes::from(vec![0; BLOCK])).bytes())
    }

    fn put(cache: &BlockCache, object: i64, position: u64) {
        cache.put((object, position), block(position), false);
    }

    fn block(position: u64) -> Cached {
        Cached::Block(Bytes::from(vec![position as u8; BLOCK]))
    }

    fn has(cache: &BlockCache, object: i64, position: u64) -> bool {
        match cache.get((object, position), false) {
            Some(Cached::Block(bytes)) => {
                assert!(bytes.iter().all(|byte| *byte == position as u8));
                true
            }
            Some(Cached::Index(_)) => panic!("no index was put"),
            None => false,
        }
    }

    #[test]
    fn what_was_put_is_there_until_the_budget_is_used() {
        let cache = cache(10);
        (0..10).for_each(|at| put(&cache, 1, at));
        assert_eq!(cache.stats().entries, 10);
        put(&cache, 1, 10);
        assert_eq!(cache.stats().entries, 10);
        assert!(!has(&cache, 1, 0) && has(&cache, 1, 10));
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (1, 1));
        assert!(stats.evicted_bytes > BLOCK as u64);
    }

    #[test]
    fn a_long_scan_does_not_push_out_what_is_read_again() {
        let cache = cache(20);
        for at in 0..5 {
            put(&cache, 1, at);
            assert!(has(&cache, 1, at));
        }
        (0..500).for_each(|at| put(&cache, 2, at));
        assert!((0..5).all(|at| has(&cache, 1, at)));
    }

    #[test]
    fn a_reader_that_was_read_ahead_for_and_takes_a_block_in_two_parts_has_asked_once() {
        let cache = cache(20);
        (0..5).for_each(|at| put(&cache, 1, at));
        assert!((0..5).all(|at| has(&cache, 1, at)));
        for at in 0..500 {
            cache.put((2, at), block(at), true);
            assert!(cache.get((2, at), false).is_some());
            assert!(cache.get((2, at), true).is_some());
        }
        assert!((0..5).all(|at| has(&cache, 1, at)), "it pushed out what others read again");
        assert!(cache.state().main.len() <= 6);
    }

    #[test]
    fn what_comes_back_soon_is_kept_longer() {
        let cache = cache(10);
        (0..12).for_each(|at| put(&cache, 1, at));
        assert!(!has(&cache, 1, 0));
        put(&cache, 1, 0);
        (20..60).for_each(|at| put(&cache, 1, at));
        assert!(has(&cache, 1, 0));
    }

    #[test]
    fn what_was_put_ahead_and_evicted_unread_is_counted() {
        let cache = cache(10);
        (0..10).for_each(|at| cache.put((1, at), block(at), true));
        assert!((0..4).all(|at| has(&cache, 1, at)));
        (10..30).for_each(|at| put(&cache, 1, at));
        let unread = cache.stats().unread_bytes;
        assert_eq!(unread, 6 * block(0).bytes() as u64);
        (30..60).for_each(|at| put(&cache, 1, at));
        assert_eq!(cache.stats().unread_bytes, unread, "the others were in readers' hands");
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let cache = BlockCache::new(500);
        put(&cache, 1, 0);
        assert_eq!(cache.stats(), BlockCacheStats::default());
    }

    #[test]
    fn a_dropped_object_leaves_nothing_behind() {
        let cache = cache(10);
        for round in 0..100 {
            (0..10).for_each(|at| put(&cache, round, at));
            cache.drop_object(round);
        }
        let stats = cache.stats();
        assert_eq!((stats.bytes, stats.entries), (0, 0));
        let state = cache.state();
        assert!(state.small_bytes == 0 && state.small.len() + state.main.len() <= 64 + 20);
    }

    #[test]
    fn the_budget_holds_over_any_history() {
        let cache = cache(16);
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (what, object, at) = (seed >> 60, (seed >> 50) % 4, (seed >> 40) % 16);
            match what {
                0 => cache.drop_object(object as i64),
                1..=7 => put(&cache, object as i64, at),
                _ => drop(has(&cache, object as i64, at)),
            }
            let state = cache.state();
            let sum: usize = state.entries.values().map(|entry| entry.bytes).sum();
            let small = state.entries.values().filter(|entry| !entry.is_main);
            assert!(state.stats.bytes == sum && sum <= state.bytes_max);
            assert_eq!(small.map(|entry| entry.bytes).sum::<usize>(), state.small_bytes);
            assert!(state.ghosts.len() >= state.ghost_keys.len() && state.ghosts.len() <= 300);
        }
    }
}
