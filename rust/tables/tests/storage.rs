//! Random histories of streams and objects, against a model that knows every offset by itself.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use automq_tables::{
    Columns, Commit, LARGE_BYTES, Object, ObjectState, Prepared, ReplaceVerdict, Replacement,
    Storage, Stream, Verdict,
};
use support::Dice;

const BY: Prepared = Prepared { node_id: 1, node_epoch: 7, purpose: 0, deadline_ms: 0 };

/// start, end, object, bytes
type Held = (i64, i64, i64, i64);

#[derive(Default)]
struct Model {
    /// Of each stream: its start and its ranges.
    streams: BTreeMap<i64, (i64, Vec<Held>)>,
    objects: BTreeSet<i64>,
}

impl Model {
    fn live(&self, object: i64) -> usize {
        self.streams.values().flat_map(|(_, ranges)| ranges).filter(|r| r.2 == object).count()
    }
}

fn object(id: i64) -> Object {
    Object::new(id, ObjectState::Committed, BY)
}

fn columns<const N: usize>(rows: &[[i64; N]]) -> Columns {
    Columns::new((0..N).map(|at| rows.iter().map(|row| row[at]).collect()).collect()).unwrap()
}

fn opened(streams: i64) -> (Storage, Model) {
    let (mut storage, mut model) = (Storage::default(), Model::default());
    for stream in 0..streams {
        storage.create_stream(stream, Stream::new([stream as u8; 16], 0, 0)).unwrap();
        storage.streams.open(stream, 3, 0, (1, 7)).unwrap();
        model.streams.insert(stream, (0, Vec::new()));
    }
    (storage, model)
}

fn prepared(storage: &mut Storage) -> i64 {
    let id = storage.next_object;
    storage.prepare(id, 1, BY).unwrap();
    id
}

fn commit(storage: &mut Storage, model: &mut Model, dice: &mut Dice) {
    let id = prepared(storage);
    let mut rows = Vec::new();
    for (stream, (start, ranges)) in &mut model.streams {
        if dice.below(3) == 0 {
            continue;
        }
        let end = ranges.last().map_or(*start, |range| range.1);
        let length = 1 + dice.below(50) as i64;
        let bytes = if dice.below(4) == 0 { LARGE_BYTES + 5 } else { length * 100 };
        rows.push([*stream, 3, end, end + length, bytes, 1_000 + end]);
        ranges.push((end, end + length, id, bytes));
    }
    let ranges = columns(&rows);
    let judged = storage.judge_commits(&[Commit { owner: (1, 7), ranges: &ranges }]).unwrap();
    assert!(judged[0].verdicts.iter().all(|verdict| *verdict == Verdict::Taken));
    storage.commit(&object(id), &judged[0].taken).unwrap();
    model.objects.insert(id);
    let again = storage.judge_commits(&[Commit { owner: (1, 7), ranges: &ranges }]).unwrap();
    assert!(again[0].verdicts.iter().all(|verdict| *verdict == Verdict::Already));
}

fn trim(storage: &mut Storage, model: &mut Model, dice: &mut Dice) {
    for (stream, (start, ranges)) in &mut model.streams {
        let end = ranges.last().map_or(*start, |range| range.1);
        let to = *start + dice.below((end - *start + 1) as u64) as i64;
        if dice.below(4) == 0 {
            storage.trim(*stream, to).unwrap();
            *start = to;
            ranges.retain(|range| range.1 > to);
        }
    }
}

fn replace(storage: &mut Storage, model: &mut Model, dice: &mut Dice) {
    let id = prepared(storage);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for (stream, (_, ranges)) in &mut model.streams {
        if ranges.len() < 2 || dice.below(2) == 0 {
            continue;
        }
        let from = dice.below(ranges.len() as u64 - 1) as usize;
        let count = 2 + dice.below((ranges.len() - from - 1) as u64) as usize;
        let old: Vec<_> = ranges[from..from + count].to_vec();
        removed.extend(old.iter().map(|range| [*stream, range.2, range.0, range.1]));
        let (start, end) = (old[0].0, old[count - 1].1);
        let bytes = if dice.below(2) == 0 { LARGE_BYTES } else { 777 };
        added.push([*stream, id, start, end, bytes, 1_000 + end]);
        ranges.splice(from..from + count, [(start, end, id, bytes)]);
    }
    let (removed, added) = (columns(&removed), columns(&added));
    let replacement = Replacement { removed: &removed, added: &added };
    let verdicts = storage.judge_replace(&replacement).unwrap();
    assert!(verdicts.iter().all(|(_, verdict)| *verdict == ReplaceVerdict::Taken));
    let level = 1 + dice.below(2) as u8;
    storage.replace(&replacement, &[Object { level, ..object(id) }]).unwrap();
    model.objects.insert(id);
    let again = storage.judge_replace(&replacement).unwrap();
    assert!(again.iter().all(|(_, verdict)| *verdict == ReplaceVerdict::Refused));
}

fn check(storage: &Storage, model: &Model) {
    for (stream, (start, ranges)) in &model.streams {
        let row = storage.streams.get(*stream).unwrap();
        assert_eq!(row.start, *start);
        assert_eq!(row.bytes, ranges.iter().map(|range| range.3).sum::<i64>(), "stream {stream}");
        let found: Vec<_> = storage
            .locate(*stream, *start, usize::MAX)
            .iter()
            .map(|it| (it.range.start, it.range.end, it.object, it.range.bytes))
            .collect();
        assert_eq!(&found, ranges, "stream {stream}");
        for range in ranges {
            let offset = range.1 - 1;
            let first = storage.locate(*stream, offset, 1)[0];
            assert_eq!((first.range.start, first.object), (range.0, range.2));
            let by_time = storage.locate_timestamp(*stream, first.range.max_timestamp).unwrap();
            assert!(by_time.range.start <= range.0);
        }
    }
    for ranges_min in 1..4 {
        assert_eq!(storage.objects.crowded(ranges_min), crowded(storage, model, ranges_min));
    }
    let unread: BTreeSet<i64> = storage.objects.in_state(ObjectState::Committed).collect();
    for id in &model.objects {
        assert_eq!(storage.objects.get(*id).unwrap().live as usize, model.live(*id), "object {id}");
        assert_eq!(unread.contains(id), model.live(*id) == 0, "object {id}");
    }
}

/// Streams that read so many small ranges from objects of level 1 and above.
fn crowded(storage: &Storage, model: &Model, ranges_min: usize) -> Vec<i64> {
    let is_merged =
        |range: &&Held| range.3 < LARGE_BYTES && storage.objects.get(range.2).unwrap().level > 0;
    let count = |ranges: &[Held]| ranges.iter().filter(is_merged).count();
    let streams = model.streams.iter().filter(|(_, (_, ranges))| count(ranges) >= ranges_min);
    streams.map(|(stream, _)| *stream).collect()
}

fn reloaded(storage: &Storage) -> Storage {
    let mut copy = Storage::default();
    let mut ranges = Vec::new();
    let mut after = -1;
    while let Some(slice) = storage.dump_streams(after, 2) {
        copy.load_streams(&slice.topics, &slice.streams, &slice.opens).unwrap();
        ranges.push(slice.ranges);
        after = slice.last;
    }
    after = -1;
    while let Some(slice) = storage.dump_objects(after, 3) {
        copy.load_objects(&slice.objects).unwrap();
        ranges.push(slice.ranges);
        after = slice.last;
    }
    ranges.iter().for_each(|rows| copy.load_ranges(rows).unwrap());
    (copy.next_stream, copy.next_object) = (storage.next_stream, storage.next_object);
    copy
}

#[test]
fn every_history_agrees_with_the_model_and_with_its_own_dump() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let (mut storage, mut model) = opened(5);
        for _ in 0..60 {
            match dice.below(10) {
                0..5 => commit(&mut storage, &mut model, &mut dice),
                5..7 => trim(&mut storage, &mut model, &mut dice),
                7..9 => replace(&mut storage, &mut model, &mut dice),
                _ if model.streams.len() > 2 && dice.below(3) == 0 => {
                    let gone = *model.streams.keys().next().unwrap();
                    storage.remove(gone).unwrap();
                    model.streams.remove(&gone);
                }
                _ => storage = reloaded(&storage),
            }
            check(&storage, &model);
        }
    }
}

#[test]
fn a_commit_of_twenty_thousand_ranges_takes_ten_bytes_a_range() {
    let mut storage = Storage::default();
    for stream in 0..20_000 {
        storage.create_stream(stream, Stream::new([0; 16], stream as i32, 0)).unwrap();
        storage.streams.open(stream, 0, 0, (1, 7)).unwrap();
    }
    let id = prepared(&mut storage);
    let rows: Vec<[i64; 6]> = (0..20_000)
        .map(|stream| [stream, 0, 0, 50 + stream % 7, 5_000 + stream % 100, 1_700_000_000_000])
        .collect();
    let ranges = columns(&rows);
    let judged = storage.judge_commits(&[Commit { owner: (1, 7), ranges: &ranges }]).unwrap();
    storage.commit(&object(id), &judged[0].taken).unwrap();
    let bytes = storage.objects.get(id).unwrap().ranges.memory_bytes();
    assert!(bytes < 11 * 20_000, "{bytes}");
}
