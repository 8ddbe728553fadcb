//! What merging keeps bounded, whatever is written: a node's lifetime against the planner.

#![allow(clippy::unwrap_used)]

mod support;

use automq_tables::{
    Columns, Commit, LARGE_BYTES, LeftOut, Merge, MergeReason, MergeRules, Object, ObjectState,
    Prepared, ReplaceVerdict, Replacement, Storage, Stream,
};
use support::Dice;

const BY: Prepared = Prepared { node_id: 1, node_epoch: 7, purpose: 0, deadline_ms: 0 };
const MIB: i64 = 1 << 20;
const RULES: MergeRules = MergeRules {
    node_id: 1,
    objects_max: 32,
    fan_in: 8,
    bytes_max: 64 * MIB,
    rows_max: 5_000,
    dead_bytes_min: 256 * MIB,
};

fn columns(rows: &[Vec<i64>], width: usize) -> Columns {
    Columns::new((0..width).map(|at| rows.iter().map(|row| row[at]).collect()).collect()).unwrap()
}

/// One node: what it uploads, what it merges, and how much it has written.
struct Node {
    storage: Storage,
    rules: MergeRules,
    uploaded_bytes: i64,
    merged_bytes: [i64; 3],
    puts: i64,
    merges: i64,
}

impl Node {
    fn new(streams: i64, rules: MergeRules) -> Self {
        let mut storage = Storage::default();
        for stream in 0..streams {
            storage.create_stream(stream, Stream::new([0; 16], stream as i32, 0)).unwrap();
            storage.streams.open(stream, 0, 0, (1, 7)).unwrap();
        }
        Self { storage, rules, uploaded_bytes: 0, merged_bytes: [0; 3], puts: 0, merges: 0 }
    }

    fn prepared(&mut self, bytes: i64, ranges: i64, level: u8) -> Object {
        let id = self.storage.next_object;
        self.storage.prepare(id, 1, BY).unwrap();
        let object = Object::new(id, ObjectState::Committed, BY);
        Object { bytes: bytes + 90 * ranges, level, ..object }
    }

    /// An object that gives some streams so many bytes more, one offset a byte.
    fn upload(&mut self, lengths: &[(i64, i64)]) {
        let bytes = lengths.iter().map(|(_, bytes)| bytes).sum();
        let object = self.prepared(bytes, lengths.len() as i64, 0);
        let rows: Vec<Vec<i64>> = lengths
            .iter()
            .map(|(stream, bytes)| {
                let end = self.storage.streams.get(*stream).unwrap().end;
                vec![*stream, 0, end, end + bytes, *bytes, end]
            })
            .collect();
        let ranges = columns(&rows, 6);
        let judged = self.storage.judge_commits(&[Commit { owner: (1, 7), ranges: &ranges }]);
        self.storage.commit(&object, &judged.unwrap()[0].taken).unwrap();
        self.uploaded_bytes += bytes;
        self.puts += 1;
    }

    fn merge_all(&mut self) {
        while let Some(merge) = self.storage.plan_merge(&self.rules, &LeftOut::default()) {
            self.apply(&merge);
        }
    }

    fn apply(&mut self, merge: &Merge) {
        let mut added: Vec<Vec<i64>> = Vec::new();
        let mut bytes = 0;
        for (_, range) in &merge.parts {
            bytes += range.bytes;
            match added.last_mut().filter(|row| row[0] == range.stream) {
                Some(row) => {
                    assert_eq!(row[3], range.start, "runs are contiguous");
                    (row[3], row[4]) = (range.end, row[4] + range.bytes);
                }
                None => {
                    added.push(vec![range.stream, 0, range.start, range.end, range.bytes, 0]);
                }
            }
        }
        assert!(bytes <= self.rules.bytes_max || merge.parts.len() == 1);
        assert!(merge.parts.len() <= self.rules.rows_max);
        let object = self.prepared(bytes, added.len() as i64, merge.level);
        added.iter_mut().for_each(|row| row[1] = object.id);
        let removed: Vec<Vec<i64>> =
            merge.parts.iter().map(|(id, r)| vec![r.stream, *id, r.start, r.end]).collect();
        let (removed, added) = (columns(&removed, 4), columns(&added, 6));
        let replacement = Replacement { removed: &removed, added: &added };
        let verdicts = self.storage.judge_replace(&replacement).unwrap();
        assert!(verdicts.iter().all(|(_, verdict)| *verdict == ReplaceVerdict::Taken));
        self.storage.replace(&replacement, &[object]).unwrap();
        self.merged_bytes[merge.reason as usize] += bytes;
        self.puts += 1;
        self.merges += 1;
    }

    fn sweep(&mut self) {
        let unread: Vec<i64> = self.storage.objects.in_state(ObjectState::Committed).collect();
        for id in unread {
            self.storage.objects.doom(id).unwrap();
            self.storage.objects.forget(id).unwrap();
        }
    }

    fn uploads(&self) -> usize {
        self.storage.uploads_by_node().values().sum()
    }

    /// Objects from which small ranges are read.
    fn shared(&self) -> usize {
        self.storage.objects.shared(0..=u8::MAX).count()
    }

    /// Small and large ranges of a stream.
    fn extents(&self, stream: i64) -> (usize, usize) {
        let found = self.storage.locate(stream, 0, usize::MAX);
        let large = found.iter().filter(|it| it.range.bytes >= LARGE_BYTES).count();
        (found.len() - large, large)
    }

    /// Bytes of objects that are not deleted, over the bytes that streams hold.
    fn space(&self) -> (i64, i64) {
        let objects = self.storage.objects.iter().map(|object| object.bytes).sum();
        let ids = self.storage.streams.ids(|_| true);
        let live = ids.iter().map(|id| self.storage.streams.get(*id).unwrap().bytes).sum();
        (objects, live)
    }
}

fn month_of_a_kilobyte_a_second(streams: i64) -> Node {
    let mut node = Node::new(streams, RULES);
    let minute: Vec<(i64, i64)> = (0..streams).map(|stream| (stream, 60_000)).collect();
    for _ in 0..30 * 24 * 60 {
        node.upload(&minute);
        node.merge_all();
        assert!(node.uploads() < RULES.objects_max);
        node.sweep();
    }
    node
}

fn check_month(node: &Node, streams: i64) {
    let uploads = 30 * 24 * 60;
    for stream in 0..streams {
        let (small, large) = node.extents(stream);
        assert!(large <= (uploads * 60_000 / LARGE_BYTES) as usize, "{large}");
        assert!(small < RULES.objects_max + 2 * RULES.fan_in, "{small}");
    }
    let merged: i64 = node.merged_bytes.iter().sum();
    assert!(merged <= 2 * node.uploaded_bytes, "each byte is written three times, no more");
    assert_eq!(node.merged_bytes[MergeReason::Sparse as usize], 0);
    let (objects, live) = node.space();
    assert!(objects <= live + live / 10 + RULES.dead_bytes_min, "{objects} of {live}");
}

#[test]
fn a_month_of_a_kilobyte_a_second_ends_in_few_large_extents() {
    check_month(&month_of_a_kilobyte_a_second(6), 6);
}

/// What reading a stream from its start takes: each object's index, and its blocks in reads of 2 MiB.
fn requests_to_read(node: &Node, stream: i64) -> i64 {
    let found = node.storage.locate(stream, 0, usize::MAX);
    found.iter().map(|it| 1 + (it.range.bytes + 2 * MIB - 1) / (2 * MIB)).sum()
}

#[test]
#[ignore = "minutes in a release build"]
fn a_month_of_a_thousand_partitions_ends_in_few_large_extents() {
    let node = month_of_a_kilobyte_a_second(1_000);
    check_month(&node, 1_000);
    let merged: i64 = node.merged_bytes.iter().sum();
    println!("ranges of a stream, small and large: {:?}", node.extents(500));
    println!("requests to read a month of it: {}", requests_to_read(&node, 500));
    println!("merged over uploaded: {:.2}", merged as f64 / node.uploaded_bytes as f64);
    println!("PUTs {}, merges {}, uploads 43200", node.puts, node.merges);
    println!("objects that hold small ranges: {}", node.shared());
    println!("objects: {}", node.storage.objects.len());
}

#[test]
fn every_history_stays_within_the_bounds() {
    for seed in 0..8 {
        let mut dice = Dice(seed);
        let rules = MergeRules {
            objects_max: 2 + dice.below(7) as usize,
            fan_in: 2 + dice.below(6) as usize,
            bytes_max: (24 * MIB) << dice.below(3),
            dead_bytes_min: 32 * MIB,
            ..RULES
        };
        let mut node = Node::new(6, rules);
        let scale = [100, 50_000, 3 * MIB, 12 * MIB][dice.below(4) as usize] as u64;
        for _ in 0..300 {
            let mut lengths = Vec::new();
            for stream in 0..6 {
                if dice.below(3) > 0 {
                    lengths.push((stream, 1 + dice.below(scale << (stream % 3)) as i64 / 2));
                }
            }
            if dice.below(3) == 0 {
                let stream = dice.below(6) as i64;
                let row = node.storage.streams.get(stream).unwrap();
                let to = row.start + dice.below((row.end - row.start + 1) as u64) as i64;
                node.storage.trim(stream, to).unwrap();
            }
            node.upload(&lengths);
            node.merge_all();
            node.sweep();
            check_bounds(&node, seed);
        }
        let levels = (LARGE_BYTES as f64 / 1.0).log(rules.fan_in as f64).ceil() as i64 + 1;
        let by_size: i64 = node.merged_bytes[..2].iter().sum();
        assert!(by_size <= levels * node.uploaded_bytes, "seed {seed}");
        assert!(node.merged_bytes[2] <= node.uploaded_bytes + by_size, "seed {seed}");
    }
}

fn check_bounds(node: &Node, seed: u64) {
    let rules = node.rules;
    assert!(node.uploads() < rules.objects_max, "seed {seed}");
    for stream in 0..6 {
        let found = node.storage.locate(stream, 0, usize::MAX);
        // In a row of small ranges none of 15 levels has much more than the patience for it.
        let small = |it: &automq_tables::Located| it.range.bytes < LARGE_BYTES;
        let longest = found.split(|it| !small(it)).map(<[_]>::len).max().unwrap_or(0);
        let bound = rules.objects_max + 15 * 4 * rules.fan_in;
        assert!(longest <= bound, "seed {seed}: {longest}");
        let row = node.storage.streams.get(stream).unwrap();
        assert!(found.is_empty() == (row.start == row.end));
        assert!(found.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
    }
    let (objects, live) = node.space();
    let ranges = node.storage.objects.iter().map(|object| i64::from(object.live)).sum::<i64>();
    assert!(objects <= 2 * (live + 96 * ranges) + rules.dead_bytes_min + 3 * rules.bytes_max);
}

#[test]
fn a_plan_leaves_out_what_it_must_not_touch() {
    let mut node = Node::new(3, MergeRules { objects_max: 2, ..RULES });
    node.upload(&[(0, 100), (1, 100), (2, 100)]);
    node.upload(&[(0, 100), (1, 100), (2, 100)]);
    let mut left_out = LeftOut::default();
    left_out.streams.insert(0);
    let merge = node.storage.plan_merge(&node.rules, &left_out).unwrap();
    let streams: Vec<i64> = merge.parts.iter().map(|(_, range)| range.stream).collect();
    assert_eq!((merge.level, streams), (1, vec![1, 1, 2, 2]));
    left_out.objects.insert(0);
    assert_eq!(node.storage.plan_merge(&node.rules, &left_out), None);
}

#[test]
fn objects_of_a_node_that_does_not_merge_are_merged_by_another() {
    let mut node = Node::new(1, MergeRules { objects_max: 2, node_id: 2, ..RULES });
    (0..3).for_each(|_| node.upload(&[(0, 100)]));
    assert_eq!(node.storage.plan_merge(&node.rules, &LeftOut::default()), None);
    node.upload(&[(0, 100)]);
    assert!(node.storage.plan_merge(&node.rules, &LeftOut::default()).is_some());
}

#[test]
fn an_object_that_is_mostly_dead_is_written_again() {
    let rules = MergeRules { dead_bytes_min: 10 * MIB, ..RULES };
    let mut node = Node::new(3, rules);
    node.upload(&[(0, 10 * MIB), (1, 10 * MIB), (2, 10 * MIB)]);
    node.storage.trim(0, 10 * MIB).unwrap();
    assert_eq!(node.storage.plan_merge(&rules, &LeftOut::default()), None, "half is read");
    node.storage.trim(2, 10 * MIB).unwrap();
    let merge = node.storage.plan_merge(&rules, &LeftOut::default()).unwrap();
    assert_eq!((merge.reason, merge.parts.len()), (MergeReason::Sparse, 1));
    node.merge_all();
    node.sweep();
    assert_eq!(node.storage.objects.len(), 1);
    assert_eq!(node.merged_bytes, [0, 0, 10 * MIB]);
}
