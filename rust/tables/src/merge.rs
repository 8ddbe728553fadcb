//! What to merge next: ranges that one new object is to hold in place of many. Changes nothing.
//!
//! Three reasons, in this order:
//!
//! 1. *Uploads*: a node has `objects_max` objects of level 0 from which small ranges are read. The
//!    oldest give up their small ranges, stream by stream, to objects of level 1.
//! 2. *Runs*: streams have `fan_in` small ranges of one level in a row. Each run becomes one range,
//!    one level up, once the requests that this saves a reader of it all pay for the merge.
//! 3. *Sparse*: objects hold more than twice what is read from them. Those that are at least half
//!    dead are written again without what is dead.
//!
//! What follows, whatever is written: a byte is written at most once for each level of reason 2,
//! and a range of level `n` was made of `fan_in` ranges of level `n - 1`, so levels grow with the
//! logarithm of a range's size; what is large (8 MiB) is not written again for being small.
//! A merge for reason 3 frees at least as many bytes as it writes. Nothing here knows time: where
//! nothing was committed or trimmed, the plan is as empty as it was.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::objects::{Object, ObjectState};
use crate::ranges::Range;
use crate::storage::Storage;
use crate::streams::Stream;

/// The highest level; what is merged there stays there.
const LEVEL_MAX: u8 = 15;
/// What a PUT costs in GETs (S3, OSS: 12.5).
const PUT_IN_GETS: usize = 12;
/// Reading a range takes a request for the index of its object and one for its blocks.
const GETS_A_RANGE: usize = 2;
/// A run of so many times `fan_in` is merged whether that pays or not.
const PATIENCE: usize = 4;

/// When to merge, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeRules {
    /// The node that will do it.
    pub node_id: i32,
    /// So many objects of level 0 of one node are merged.
    pub objects_max: usize,
    /// So many small ranges in a row, of one level above 0, are merged.
    pub fan_in: usize,
    /// Of the batches in one new object.
    pub bytes_max: i64,
    /// How many ranges one merge takes out: they have to fit into one record.
    pub rows_max: usize,
    /// Fewer dead bytes than these are nobody's trouble.
    pub dead_bytes_min: i64,
}

/// What a plan must not touch: objects that are damaged, streams of merges in work.
#[derive(Debug, Default)]
pub struct LeftOut {
    pub objects: HashSet<i64>,
    pub streams: HashSet<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeReason {
    Uploads = 0,
    Runs = 1,
    Sparse = 2,
}

/// Ranges (each with its object) for one new object of `level`: by stream, then by offset, those of
/// a stream without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    pub reason: MergeReason,
    pub level: u8,
    pub parts: Vec<(i64, Range)>,
}

/// A plan that grows until it is full.
#[derive(Debug, Default)]
struct Plan {
    parts: Vec<(i64, Range)>,
    bytes: i64,
    streams: usize,
    is_full: bool,
    is_due: bool,
}

impl Plan {
    /// Adds a stream's run. One that does not fit fills the plan; the first is cut to fit.
    fn add(&mut self, mut run: Vec<(i64, Range)>, rules: &MergeRules) {
        let mut bytes = run.iter().map(|(_, range)| range.bytes).sum::<i64>();
        let fits = |rows: usize, bytes: i64| rows <= rules.rows_max && bytes <= rules.bytes_max;
        if !fits(self.parts.len() + run.len(), self.bytes + bytes) {
            self.is_full = true;
            if !self.parts.is_empty() {
                return;
            }
            while run.len() > 1 && !fits(run.len(), bytes) {
                bytes -= run.pop().map_or(0, |(_, range)| range.bytes);
            }
        }
        self.bytes += bytes;
        self.streams += 1;
        self.parts.append(&mut run);
    }

    /// Whether the first who reads all of it saves more requests than the merge takes.
    fn pays(&self) -> bool {
        let objects = self.parts.iter().map(|(object, _)| object).collect::<HashSet<_>>().len();
        let saved = GETS_A_RANGE * (self.parts.len() - self.streams);
        saved >= PUT_IN_GETS + GETS_A_RANGE * objects + self.parts.len()
    }

    fn merge(self, reason: MergeReason, level: u8) -> Option<Merge> {
        let level = level.min(LEVEL_MAX);
        (!self.parts.is_empty()).then_some(Merge { reason, level, parts: self.parts })
    }
}

impl Storage {
    /// The next merge for a node; `None` while there is none that is worth it.
    pub fn plan_merge(&self, rules: &MergeRules, left_out: &LeftOut) -> Option<Merge> {
        self.plan_uploads(rules, left_out)
            .or_else(|| self.plan_runs(rules, left_out))
            .or_else(|| self.plan_sparse(rules, left_out))
    }

    /// How many objects of level 0 of each node small ranges are read from.
    pub fn uploads_by_node(&self) -> BTreeMap<i32, usize> {
        let mut counts = BTreeMap::new();
        for object in self.objects.shared(0..=0) {
            *counts.entry(object.prepared.node_id).or_default() += 1;
        }
        counts
    }

    fn plan_uploads(&self, rules: &MergeRules, left_out: &LeftOut) -> Option<Merge> {
        let mut owners: BTreeMap<i32, Vec<&Object>> = BTreeMap::new();
        let whole = |object: &&Object| !left_out.objects.contains(&object.id);
        for object in self.objects.shared(0..=0).filter(whole) {
            owners.entry(object.prepared.node_id).or_default().push(object);
        }
        // A node that is gone, or that does not keep up, leaves its objects to the others.
        let own = owners.get(&rules.node_id).filter(|own| own.len() >= rules.objects_max);
        let others = || owners.values().find(|objects| objects.len() >= 2 * rules.objects_max);
        let objects = own.or_else(others)?;
        self.gather(&objects[..rules.objects_max.min(objects.len())], rules, left_out)
            .merge(MergeReason::Uploads, 1)
    }

    /// The small ranges of some objects, stream by stream, until the plan is full.
    fn gather(&self, objects: &[&Object], rules: &MergeRules, left_out: &LeftOut) -> Plan {
        let mut rows: Vec<_> =
            objects.iter().map(|object| (object.id, object.ranges.alive().peekable())).collect();
        let mut plan = Plan::default();
        while !plan.is_full {
            let heads = rows.iter_mut().filter_map(|(_, rows)| rows.peek());
            let Some(stream) = heads.map(|range| range.stream).min() else { break };
            let run = rows
                .iter_mut()
                .filter_map(|(id, rows)| Some((*id, rows.next_if(|row| row.stream == stream)?)))
                .collect();
            if !left_out.streams.contains(&stream) {
                plan.add(first_run(run), rules);
            }
        }
        plan
    }

    fn plan_runs(&self, rules: &MergeRules, left_out: &LeftOut) -> Option<Merge> {
        let mut plans: BTreeMap<u8, Plan> = BTreeMap::new();
        for id in self.objects.crowded(rules.fan_in) {
            let Some(stream) = self.streams.get(id).filter(|_| !left_out.streams.contains(&id))
            else {
                continue;
            };
            if let Some((level, run)) = self.run_of(id, stream, rules, left_out) {
                let plan = plans.entry(level).or_default();
                plan.is_due |= run.len() >= PATIENCE * rules.fan_in;
                plan.add(run, rules);
                if plan.is_full {
                    break;
                }
            }
        }
        let worth = |plan: &Plan| plan.is_full || plan.is_due || plan.pays();
        let (level, plan) = plans.into_iter().find(|(_, plan)| worth(plan))?;
        plan.merge(MergeReason::Runs, level + 1)
    }

    /// The first run of small ranges with `fan_in` of one level, and that level.
    fn run_of(
        &self,
        id: i64,
        stream: &Stream,
        rules: &MergeRules,
        left_out: &LeftOut,
    ) -> Option<(u8, Vec<(i64, Range)>)> {
        let mut counts = [0; LEVEL_MAX as usize + 1];
        for slot in &stream.small {
            counts[usize::from(self.objects.at(*slot).level.min(LEVEL_MAX))] += 1;
        }
        let levels = (1..=LEVEL_MAX).filter(|level| counts[usize::from(*level)] >= rules.fan_in);
        for level in levels {
            let mut run: Vec<(i64, Range)> = Vec::new();
            let mut of_level = 0;
            for slot in &stream.small {
                let object = self.objects.at(*slot);
                let Some((_, range)) = object.ranges.find(id) else { continue };
                let fits =
                    (1..=level).contains(&object.level) && !left_out.objects.contains(&object.id);
                let continues = run.last().is_none_or(|(_, last)| last.end == range.start);
                if !(fits && continues) {
                    if of_level >= rules.fan_in {
                        break;
                    }
                    run.clear();
                    of_level = 0;
                }
                if fits {
                    run.push((object.id, range));
                    of_level += usize::from(object.level == level);
                }
            }
            if of_level >= rules.fan_in {
                return Some((level, run));
            }
        }
        None
    }

    fn plan_sparse(&self, rules: &MergeRules, left_out: &LeftOut) -> Option<Merge> {
        let (read, live) = self.objects.space();
        if read <= 2 * live + rules.dead_bytes_min {
            return None;
        }
        let is_sparse = |object: &&Object| {
            let waits_for_uploads = object.level == 0 && object.ranges.alive_count() > 0;
            object.state == ObjectState::Committed
                && object.live > 0
                && !waits_for_uploads
                && object.live_bytes <= (object.bytes / 2).min(rules.bytes_max)
                && !left_out.objects.contains(&object.id)
        };
        let mut sparse: Vec<&Object> = self.objects.iter().filter(is_sparse).collect();
        sparse.sort_by_key(|object| object.live_bytes * 1_000 / object.bytes.max(1));
        let mut bytes = 0;
        sparse.retain(|object| {
            bytes += object.live_bytes;
            bytes <= rules.bytes_max
        });
        let level = sparse.iter().map(|object| object.level).max()?.max(1);
        let mut plan = Plan::default();
        for (_, run) in self.read_from(&sparse, left_out) {
            if !plan.is_full {
                plan.add(first_run(run), rules);
            }
        }
        plan.merge(MergeReason::Sparse, level)
    }

    /// All that streams read from some objects, by stream. Looks at every large extent there is.
    fn read_from(
        &self,
        objects: &[&Object],
        left_out: &LeftOut,
    ) -> BTreeMap<i64, Vec<(i64, Range)>> {
        let mut found: BTreeMap<i64, Vec<(i64, Range)>> = BTreeMap::new();
        let mut slots: HashMap<u32, i64> = HashMap::new();
        for object in objects {
            for range in object.ranges.alive() {
                found.entry(range.stream).or_default().push((object.id, range));
            }
            slots.extend(self.objects.slot(object.id).map(|slot| (slot, object.id)));
        }
        for (id, stream) in &self.streams.by_id {
            for extent in &stream.large {
                if let Some(object) = slots.get(&extent.slot) {
                    found.entry(*id).or_default().push((*object, extent.range(*id)));
                }
            }
        }
        found.retain(|stream, _| !left_out.streams.contains(stream));
        found
    }
}

/// The ranges from the lowest on, as far as they follow each other.
fn first_run(mut ranges: Vec<(i64, Range)>) -> Vec<(i64, Range)> {
    ranges.sort_unstable_by_key(|(_, range)| range.start);
    let joined = ranges.windows(2).take_while(|pair| pair[0].1.end == pair[1].1.start).count();
    ranges.truncate(joined + 1);
    ranges
}
