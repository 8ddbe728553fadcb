//! Objects: prepared, committed, doomed, forgotten, in this order and never back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeInclusive};

use crate::ranges::{PackedRanges, Range};
use crate::{Broken, hold};

/// What a range takes in an object besides its batches: the header of a block, a row of the index.
/// With a digest (40 bytes for a batch of 61 or more) an object of which everything is read is less
/// than twice its `live_bytes`, however small its ranges are.
const RANGE_BYTES: i64 = 96;

/// Only a prepared object can be committed; a doomed one never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    Prepared = 0,
    Committed = 1,
    Doomed = 2,
}

impl ObjectState {
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Prepared, Self::Committed, Self::Doomed]
            .into_iter()
            .find(|state| *state as i64 == code)
    }
}

/// Who an object id was given to, and what for. The deadline only says when to doom it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    pub node_id: i32,
    pub node_epoch: i64,
    pub purpose: u8,
    pub deadline_ms: i64,
}

/// What is known of an object, and the small ranges it holds.
#[derive(Debug)]
pub struct Object {
    pub id: i64,
    pub state: ObjectState,
    pub prepared: Prepared,
    pub bytes: i64,
    pub level: u8,
    pub index_position: i64,
    pub index_bytes: i64,
    /// Ranges, small and large, that a stream still reads from here.
    pub live: u32,
    /// About what they take: their batches, and `RANGE_BYTES` each.
    pub live_bytes: i64,
    pub ranges: PackedRanges,
}

/// Objects by id, and in slots: streams refer to slots, which take half the room of an id.
#[derive(Debug, Default)]
pub struct Objects {
    slots: Vec<Option<Box<Object>>>,
    free: Vec<u32>,
    by_id: BTreeMap<i64, u32>,
    prepared: BTreeSet<i64>,
    doomed: BTreeSet<i64>,
    /// Committed objects from which nothing is read any more: candidates to doom.
    unreferenced: BTreeSet<i64>,
    /// By level and id: objects with a small range that a stream still reads.
    shared: BTreeSet<(u8, i64)>,
    merged: Merged,
    /// Of all objects that are read, and of what streams read from them.
    read_bytes: i64,
    live_bytes: i64,
}

/// How many small ranges each stream reads from objects of level 1 and above, so that those with
/// many are found without a look at the others.
#[derive(Debug, Default)]
struct Merged {
    counts: BTreeMap<i64, u32>,
    by_count: BTreeSet<(u32, i64)>,
}

impl Merged {
    fn add(&mut self, stream: i64) {
        let count = self.counts.entry(stream).or_default();
        self.by_count.remove(&(*count, stream));
        *count += 1;
        self.by_count.insert((*count, stream));
    }

    fn remove(&mut self, stream: i64) {
        let Some(count) = self.counts.get_mut(&stream) else { return };
        self.by_count.remove(&(*count, stream));
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&stream);
        } else {
            self.by_count.insert((*count, stream));
        }
    }
}

impl Objects {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn get(&self, id: i64) -> Option<&Object> {
        self.by_id.get(&id).map(|slot| self.at(*slot))
    }

    pub fn slot(&self, id: i64) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// A slot that a stream names is always taken: an object outlives its last range.
    pub fn at(&self, slot: u32) -> &Object {
        match &self.slots[slot as usize] {
            Some(object) => object,
            None => unreachable!("slot {slot} is free"),
        }
    }

    pub fn at_mut(&mut self, slot: u32) -> &mut Object {
        match &mut self.slots[slot as usize] {
            Some(object) => object,
            None => unreachable!("slot {slot} is free"),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.by_id.values().map(|slot| self.at(*slot))
    }

    /// Objects with ids above `id`, by id.
    pub fn after(&self, id: i64) -> impl Iterator<Item = &Object> {
        let bounds = (Bound::Excluded(id), Bound::Unbounded);
        self.by_id.range(bounds).map(|(_, slot)| self.at(*slot))
    }

    pub fn in_state(&self, state: ObjectState) -> impl Iterator<Item = i64> + '_ {
        let set = match state {
            ObjectState::Prepared => &self.prepared,
            ObjectState::Doomed => &self.doomed,
            ObjectState::Committed => &self.unreferenced,
        };
        set.iter().copied()
    }

    pub fn insert(&mut self, object: Object) -> Result<u32, Broken> {
        hold!(!self.by_id.contains_key(&object.id), "object {} is there already", object.id);
        let (id, state) = (object.id, object.state);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(Box::new(object));
                slot
            }
            None => {
                self.slots.push(Some(Box::new(object)));
                (self.slots.len() - 1) as u32
            }
        };
        self.by_id.insert(id, slot);
        match state {
            ObjectState::Prepared => self.prepared.insert(id),
            ObjectState::Doomed => self.doomed.insert(id),
            ObjectState::Committed => self.unreferenced.insert(id),
        };
        Ok(slot)
    }

    /// From prepared to committed, with nothing read from it yet.
    pub fn commit(&mut self, like: &Object) -> Result<u32, Broken> {
        let id = like.id;
        hold!(self.prepared.remove(&id), "object {id} is not prepared");
        self.unreferenced.insert(id);
        let slot = self.by_id[&id];
        let object = self.at_mut(slot);
        object.state = ObjectState::Committed;
        (object.bytes, object.level) = (like.bytes, like.level);
        (object.index_position, object.index_bytes) = (like.index_position, like.index_bytes);
        Ok(slot)
    }

    /// Gives a committed object the small ranges that streams read from it.
    pub fn share(&mut self, slot: u32, small: &[Range]) -> Result<(), Broken> {
        let object = self.at_mut(slot);
        hold!(object.ranges.alive_count() == 0, "object {} has ranges", object.id);
        object.ranges = PackedRanges::new(small);
        let named = (object.level, object.id);
        if object.level > 0 {
            small.iter().for_each(|range| self.merged.add(range.stream));
        }
        self.shared.insert(named);
        Ok(())
    }

    /// Ends a small range; answers it.
    pub fn end_small(&mut self, slot: u32, stream: i64) -> Result<Range, Broken> {
        let object = self.at_mut(slot);
        let Some((row, range)) = object.ranges.find(stream) else {
            return Err(Broken(format!("object {} holds nothing of stream {stream}", object.id)));
        };
        hold!(object.ranges.kill(row), "object {}: stream {stream} ended twice", object.id);
        if object.level > 0 {
            self.merged.remove(stream);
        }
        let object = self.at_mut(slot);
        if object.ranges.alive_count() == 0 {
            let named = (object.level, object.id);
            self.shared.remove(&named);
        }
        self.lose(slot, range.bytes);
        Ok(range)
    }

    /// Objects of some levels from which a stream reads a small range, by level and id.
    pub fn shared(&self, levels: RangeInclusive<u8>) -> impl Iterator<Item = &Object> {
        let range = (*levels.start(), i64::MIN)..=(*levels.end(), i64::MAX);
        self.shared.range(range).map(|(_, id)| self.at(self.by_id[id]))
    }

    /// Streams that read so many small ranges or more from objects of level 1 and above, by id.
    pub fn crowded(&self, ranges_min: usize) -> Vec<i64> {
        let from = (u32::try_from(ranges_min).unwrap_or(u32::MAX), i64::MIN);
        let mut streams: Vec<i64> = self.merged.by_count.range(from..).map(|(_, id)| *id).collect();
        streams.sort_unstable();
        streams
    }

    /// Bytes of all objects that are read, and of the ranges that streams read from them.
    pub fn space(&self) -> (i64, i64) {
        (self.read_bytes, self.live_bytes)
    }

    /// Invariant: a doomed object has no range, and no commit of it is accepted any more.
    pub fn doom(&mut self, id: i64) -> Result<(), Broken> {
        let Some(slot) = self.slot(id) else {
            return Err(Broken(format!("object {id} is unknown")));
        };
        hold!(self.at(slot).live == 0, "object {id} is still read");
        hold!(self.at(slot).state != ObjectState::Doomed, "object {id} is doomed already");
        self.prepared.remove(&id);
        self.unreferenced.remove(&id);
        self.doomed.insert(id);
        self.at_mut(slot).state = ObjectState::Doomed;
        Ok(())
    }

    /// Only a doomed object can be forgotten.
    pub fn forget(&mut self, id: i64) -> Result<(), Broken> {
        hold!(self.doomed.remove(&id), "object {id} is not doomed");
        if let Some(slot) = self.by_id.remove(&id) {
            self.slots[slot as usize] = None;
            self.free.push(slot);
        }
        Ok(())
    }

    pub fn gain(&mut self, slot: u32, bytes: i64) {
        let bytes = bytes + RANGE_BYTES;
        let object = self.at_mut(slot);
        object.live += 1;
        object.live_bytes += bytes;
        let (id, whole_bytes) = (object.id, object.bytes);
        self.live_bytes += bytes;
        if self.unreferenced.remove(&id) {
            self.read_bytes += whole_bytes;
        }
    }

    pub fn lose(&mut self, slot: u32, bytes: i64) {
        let bytes = bytes + RANGE_BYTES;
        self.live_bytes -= bytes;
        let object = self.at_mut(slot);
        object.live -= 1;
        object.live_bytes -= bytes;
        if object.live == 0 {
            let (id, whole_bytes) = (object.id, object.bytes);
            self.read_bytes -= whole_bytes;
            self.unreferenced.insert(id);
        }
    }
}
