//! Partitions by topic: 64 bytes each.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::{Broken, hold};

/// A short list of node ids, without an allocation up to three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    Few {
        count: u8,
        ids: [i32; 3],
    },
    // Boxed twice on purpose: a thin pointer keeps `Nodes` at 16 bytes.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<i32>>),
}

impl Nodes {
    pub fn new(ids: &[i32]) -> Self {
        if ids.len() > 3 {
            return Self::Many(Box::new(ids.to_vec()));
        }
        let mut few = [0; 3];
        few[..ids.len()].copy_from_slice(ids);
        Self::Few { count: ids.len() as u8, ids: few }
    }

    pub fn as_slice(&self) -> &[i32] {
        match self {
            Self::Few { count, ids } => &ids[..*count as usize],
            Self::Many(ids) => ids,
        }
    }
}

/// The replicas that a reassignment adds and removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

/// One partition. What the numbers mean is told by the records that set them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub data_stream: i64,
    pub state_stream: i64,
    pub replicas: Nodes,
    pub reassignment: Option<Box<Reassignment>>,
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub moving_to: i32,
    pub state: u8,
    pub reason: u8,
}

/// Partitions of all topics, by topic id.
#[derive(Debug, Default)]
pub struct Partitions {
    by_topic: BTreeMap<[u8; 16], Vec<Partition>>,
    count: usize,
}

impl Partitions {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn topic(&self, topic: &[u8; 16]) -> &[Partition] {
        self.by_topic.get(topic).map_or(&[], Vec::as_slice)
    }

    pub fn get(&self, topic: &[u8; 16], partition: usize) -> Option<&Partition> {
        self.topic(topic).get(partition)
    }

    pub fn get_mut(
        &mut self,
        topic: &[u8; 16],
        partition: usize,
    ) -> Result<&mut Partition, Broken> {
        let rows = self.by_topic.get_mut(topic);
        rows.and_then(|rows| rows.get_mut(partition))
            .ok_or_else(|| Broken(format!("partition {partition} of the topic is unknown")))
    }

    /// Adds the partitions from `first` on: the next ones of the topic.
    pub fn create(
        &mut self,
        topic: [u8; 16],
        first: usize,
        rows: Vec<Partition>,
    ) -> Result<(), Broken> {
        let there = self.by_topic.entry(topic).or_default();
        hold!(first == there.len(), "partition {first} does not follow {} others", there.len());
        self.count += rows.len();
        there.reserve_exact(if rows.len() > 1 { rows.len() } else { 0 });
        there.extend(rows);
        Ok(())
    }

    /// Drops a topic's partitions; says how many there were.
    pub fn remove(&mut self, topic: &[u8; 16]) -> usize {
        let rows = self.by_topic.remove(topic).map_or(0, |rows| rows.len());
        self.count -= rows;
        rows
    }

    /// Topics with ids above `topic`, by id, with their partitions.
    pub fn topics_after(
        &self,
        topic: Option<[u8; 16]>,
    ) -> impl Iterator<Item = (&[u8; 16], &[Partition])> {
        let from = topic.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.by_topic.range((from, Bound::Unbounded));
        range.map(|(topic, rows)| (topic, rows.as_slice()))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8; 16], usize, &Partition)> {
        self.by_topic.iter().flat_map(|(topic, rows)| {
            rows.iter().enumerate().map(move |(partition, row)| (topic, partition, row))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_takes_64_bytes() {
        assert_eq!(size_of::<Partition>(), 64);
    }

    #[test]
    fn a_list_of_nodes_keeps_its_order_whatever_its_length() {
        for length in 0..6 {
            let ids: Vec<i32> = (0..length).map(|id| 9 - id).collect();
            assert_eq!(Nodes::new(&ids).as_slice(), ids);
        }
    }
}
