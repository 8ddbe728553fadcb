//! Tables as columns, in slices, and back: what a snapshot holds.

use std::ops::Bound;

use crate::columns::Columns;
use crate::objects::{Object, ObjectState, Prepared};
use crate::partitions::{Nodes, Partition, Partitions, Reassignment};
use crate::ranges::Range;
use crate::storage::Storage;
use crate::streams::{Stream, StreamState};
use crate::{Broken, hold};

/// Topics, and columns that name them by position.
#[derive(Debug)]
pub struct DumpedStreams {
    pub topics: Vec<[u8; 16]>,
    /// stream, topic, partition, kind, state, start, end, epoch, node, node epoch, cleaned to,
    /// delete horizon
    pub streams: Columns,
    /// stream, epoch, start
    pub opens: Columns,
    /// object, stream, start, end, bytes, max timestamp: the large ranges
    pub ranges: Columns,
    pub last: i64,
}

#[derive(Debug)]
pub struct DumpedObjects {
    /// object, state, bytes, level, index position, index bytes, node, node epoch, purpose, deadline
    pub objects: Columns,
    /// object, stream, start, end, bytes, max timestamp: the small ranges
    pub ranges: Columns,
    pub last: i64,
}

#[derive(Debug)]
pub struct DumpedPartitions {
    pub topics: Vec<[u8; 16]>,
    /// topic, partition, leader, leader epoch, partition epoch, state, moving to, reason, data
    /// stream, state stream, and how many replicas, adding, removing
    pub partitions: Columns,
    /// The node ids of all replicas, adding, removing, one after the other.
    pub nodes: Columns,
}

/// Collects rows into columns.
struct Rows<const N: usize>([Vec<i64>; N]);

impl<const N: usize> Rows<N> {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Vec::new()))
    }

    fn push(&mut self, row: [i64; N]) {
        self.0.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }

    fn pack(self) -> Columns {
        match Columns::new(self.0.into()) {
            Some(columns) => columns,
            None => unreachable!("rows have one length"),
        }
    }
}

/// Names topics by the order in which they come up.
#[derive(Default)]
struct Topics {
    ids: Vec<[u8; 16]>,
    index: std::collections::HashMap<[u8; 16], i64>,
}

impl Topics {
    fn index_of(&mut self, id: &[u8; 16]) -> i64 {
        let ids = &mut self.ids;
        *self.index.entry(*id).or_insert_with(|| {
            ids.push(*id);
            ids.len() as i64 - 1
        })
    }
}

impl Storage {
    /// Up to `limit` streams after `after`, by id; `None` when there are no more.
    pub fn dump_streams(&self, after: i64, limit: usize) -> Option<DumpedStreams> {
        let (mut topics, mut last) = (Topics::default(), None);
        let (mut streams, mut opens, mut ranges) =
            (Rows::<12>::new(), Rows::<3>::new(), Rows::new());
        let bounds = (Bound::Excluded(after), Bound::Unbounded);
        for (id, row) in self.streams.by_id.range(bounds).take(limit) {
            last = Some(*id);
            streams.push([
                *id,
                topics.index_of(&row.topic),
                i64::from(row.partition),
                i64::from(row.kind),
                row.state as i64,
                row.start,
                row.end,
                i64::from(row.epoch),
                i64::from(row.node_id),
                row.node_epoch,
                row.cleaned_to,
                row.delete_horizon_ms,
            ]);
            row.opens.iter().for_each(|(epoch, at)| opens.push([*id, i64::from(*epoch), *at]));
            row.large.iter().for_each(|extent| {
                ranges.push(range_row(self.objects.at(extent.slot).id, &extent.range(*id)));
            });
        }
        Some(DumpedStreams {
            topics: topics.ids,
            streams: streams.pack(),
            opens: opens.pack(),
            ranges: ranges.pack(),
            last: last?,
        })
    }

    /// Up to `limit` objects after `after`, by id; `None` when there are no more.
    pub fn dump_objects(&self, after: i64, limit: usize) -> Option<DumpedObjects> {
        let (mut objects, mut ranges, mut last) = (Rows::<10>::new(), Rows::new(), None);
        for object in self.objects.after(after).take(limit) {
            last = Some(object.id);
            objects.push([
                object.id,
                object.state as i64,
                object.bytes,
                i64::from(object.level),
                object.index_position,
                object.index_bytes,
                i64::from(object.prepared.node_id),
                object.prepared.node_epoch,
                i64::from(object.prepared.purpose),
                object.prepared.deadline_ms,
            ]);
            object.ranges.alive().for_each(|range| ranges.push(range_row(object.id, &range)));
        }
        Some(DumpedObjects { objects: objects.pack(), ranges: ranges.pack(), last: last? })
    }

    pub fn load_streams(
        &mut self,
        topics: &[[u8; 16]],
        streams: &Columns,
        opens: &Columns,
    ) -> Result<(), Broken> {
        let columns: [&[i64]; 12] = split(streams)?;
        for row in 0..streams.rows() {
            let [
                id,
                topic,
                partition,
                kind,
                state,
                start,
                end,
                epoch,
                node,
                node_epoch,
                to,
                horizon,
            ] = columns.map(|column| column[row]);
            let Some(topic) = usize::try_from(topic).ok().and_then(|topic| topics.get(topic))
            else {
                return Err(Broken(format!("stream {id} names topic {topic} of {}", topics.len())));
            };
            let mut stream = Stream::new(*topic, partition as i32, kind as u8);
            stream.state = if state == 0 { StreamState::Closed } else { StreamState::Open };
            (stream.start, stream.end, stream.epoch) = (start, end, epoch as i32);
            (stream.node_id, stream.node_epoch) = (node as i32, node_epoch);
            (stream.cleaned_to, stream.delete_horizon_ms) = (to, horizon);
            self.create_stream(id, stream)?;
        }
        let [ids, epochs, starts]: [&[i64]; 3] = split(opens)?;
        for row in 0..opens.rows() {
            self.streams.get_mut(ids[row])?.opens.push((epochs[row] as i32, starts[row]));
        }
        Ok(())
    }

    pub fn load_objects(&mut self, objects: &Columns) -> Result<(), Broken> {
        let columns: [&[i64]; 10] = split(objects)?;
        for row in 0..objects.rows() {
            let [id, state, bytes, level, at, index_bytes, node, node_epoch, purpose, deadline_ms] =
                columns.map(|column| column[row]);
            let Some(state) = ObjectState::from_code(state) else {
                return Err(Broken(format!("object {id} is in state {state}")));
            };
            let (node_id, purpose) = (node as i32, purpose as u8);
            let prepared = Prepared { node_id, node_epoch, purpose, deadline_ms };
            let mut object = Object::new(id, state, prepared);
            (object.bytes, object.level) = (bytes, level as u8);
            (object.index_position, object.index_bytes) = (at, index_bytes);
            hold!(id >= self.next_object, "object {id} is not a new id");
            self.next_object = id + 1;
            self.objects.insert(object)?;
        }
        Ok(())
    }

    /// Large ranges, or all small ranges of some objects.
    pub fn load_ranges(&mut self, ranges: &Columns) -> Result<(), Broken> {
        let columns: [&[i64]; 6] = split(ranges)?;
        let objects = columns[0];
        let mut from = 0;
        while from < objects.len() {
            let same = objects[from..].iter().take_while(|id| **id == objects[from]).count();
            let rows: Vec<Range> = (from..from + same).map(|row| range_of(&columns, row)).collect();
            let Some(slot) = self.objects.slot(objects[from]) else {
                return Err(Broken(format!("ranges of the unknown object {}", objects[from])));
            };
            self.attach(slot, &rows)?;
            from += same;
        }
        Ok(())
    }
}

impl Partitions {
    /// All partitions of the topics after `after` until `limit` rows are reached; `None` at the end.
    pub fn dump(&self, after: Option<[u8; 16]>, limit: usize) -> Option<DumpedPartitions> {
        let mut topics = Topics::default();
        let (mut rows, mut nodes) = (Rows::<13>::new(), Rows::<1>::new());
        for (topic, partitions) in self.topics_after(after) {
            if rows.0[0].len() >= limit {
                break;
            }
            let topic = topics.index_of(topic);
            for (number, row) in partitions.iter().enumerate() {
                let [adding, removing] = match &row.reassignment {
                    Some(moves) => [&moves.adding[..], &moves.removing[..]],
                    None => [&[][..], &[][..]],
                };
                let replicas = row.replicas.as_slice();
                let lists = [replicas, adding, removing];
                lists.iter().flat_map(|ids| ids.iter()).for_each(|id| nodes.push([i64::from(*id)]));
                rows.push([
                    topic,
                    number as i64,
                    i64::from(row.leader),
                    i64::from(row.leader_epoch),
                    i64::from(row.partition_epoch),
                    i64::from(row.state),
                    i64::from(row.moving_to),
                    i64::from(row.reason),
                    row.data_stream,
                    row.state_stream,
                    replicas.len() as i64,
                    adding.len() as i64,
                    removing.len() as i64,
                ]);
            }
        }
        let partitions = rows.pack();
        if topics.ids.is_empty() {
            return None;
        }
        Some(DumpedPartitions { topics: topics.ids, partitions, nodes: nodes.pack() })
    }

    pub fn load(
        &mut self,
        topics: &[[u8; 16]],
        partitions: &Columns,
        nodes: &Columns,
    ) -> Result<(), Broken> {
        let columns: [&[i64]; 13] = split(partitions)?;
        let [nodes]: [&[i64]; 1] = split(nodes)?;
        let mut nodes = nodes.iter().map(|id| *id as i32);
        for row in 0..partitions.rows() {
            let [
                topic,
                number,
                leader,
                leader_epoch,
                partition_epoch,
                state,
                to,
                reason,
                rest @ ..,
            ] = columns.map(|column| column[row]);
            let [data_stream, state_stream, replicas, adding, removing] = rest;
            let Some(topic) = usize::try_from(topic).ok().and_then(|topic| topics.get(topic))
            else {
                return Err(Broken(format!("a partition names topic {topic} of {}", topics.len())));
            };
            let mut take = |count: i64| nodes.by_ref().take(count as usize).collect::<Vec<i32>>();
            let replicas = Nodes::new(&take(replicas));
            let (adding, removing) = (take(adding), take(removing));
            let moves = !adding.is_empty() || !removing.is_empty();
            let partition = Partition {
                data_stream,
                state_stream,
                replicas,
                reassignment: moves.then(|| Box::new(Reassignment { adding, removing })),
                leader: leader as i32,
                leader_epoch: leader_epoch as i32,
                partition_epoch: partition_epoch as i32,
                moving_to: to as i32,
                state: state as u8,
                reason: reason as u8,
            };
            self.create(*topic, number as usize, vec![partition])?;
        }
        Ok(())
    }
}

fn range_row(object: i64, range: &Range) -> [i64; 6] {
    let Range { stream, start, end, bytes, max_timestamp } = *range;
    [object, stream, start, end, bytes, max_timestamp]
}

fn range_of(columns: &[&[i64]; 6], row: usize) -> Range {
    let [_, stream, start, end, bytes, max_timestamp] = columns.map(|column| column[row]);
    Range { stream, start, end, bytes, max_timestamp }
}

fn split<const N: usize>(columns: &Columns) -> Result<[&[i64]; N], Broken> {
    let width = columns.width();
    columns.split::<N>().ok_or_else(|| Broken(format!("{width} columns where {N} belong")))
}
