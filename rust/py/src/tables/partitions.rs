//! The partition table.

use automq_tables::{Nodes, Partition, Partitions, Reassignment};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::columns::Columns;
use super::{TopicId, broken, topics_out};

type Replicas = (Vec<i32>, Vec<i32>, Vec<i32>);
type PartitionRow = (Vec<i32>, Vec<i32>, Vec<i32>, i32, i32, i32, u8, i32, u8, i64, i64);

/// The partitions of all topics.
#[pyclass(module = "automq._native")]
#[derive(Default)]
pub struct PartitionTables {
    tables: Partitions,
}

#[pymethods]
impl PartitionTables {
    #[new]
    fn empty() -> Self {
        Self::default()
    }

    fn __len__(&self) -> usize {
        self.tables.len()
    }

    fn count(&self, topic: TopicId) -> usize {
        self.tables.topic(&topic).len()
    }

    fn create(
        &mut self,
        topic: TopicId,
        first: usize,
        partitions: Vec<(Vec<i32>, i32, i32, i64)>,
    ) -> PyResult<()> {
        let row =
            |(replicas, leader, leader_epoch, data_stream): (Vec<i32>, i32, i32, i64)| Partition {
                data_stream,
                state_stream: -1,
                replicas: Nodes::new(&replicas),
                reassignment: None,
                leader,
                leader_epoch,
                partition_epoch: 0,
                moving_to: -1,
                state: 0,
                reason: 0,
            };
        let rows = partitions.into_iter().map(row).collect();
        self.tables.create(topic, first, rows).map_err(broken)
    }

    #[allow(clippy::too_many_arguments)]
    fn set(
        &mut self,
        topic: TopicId,
        partition: usize,
        replicas: Replicas,
        leader: i32,
        leader_epoch: i32,
        partition_epoch: i32,
        state: u8,
        moving_to: i32,
        reason: u8,
    ) -> PyResult<()> {
        let row = self.tables.get_mut(&topic, partition).map_err(broken)?;
        let (replicas, adding, removing) = replicas;
        let moves = !adding.is_empty() || !removing.is_empty();
        row.replicas = Nodes::new(&replicas);
        row.reassignment = moves.then(|| Box::new(Reassignment { adding, removing }));
        (row.leader, row.leader_epoch) = (leader, leader_epoch);
        (row.partition_epoch, row.state) = (partition_epoch, state);
        (row.moving_to, row.reason) = (moving_to, reason);
        Ok(())
    }

    fn set_state_stream(&mut self, topic: TopicId, partition: usize, stream: i64) -> PyResult<()> {
        self.tables.get_mut(&topic, partition).map_err(broken)?.state_stream = stream;
        Ok(())
    }

    fn remove(&mut self, topic: TopicId) -> usize {
        self.tables.remove(&topic)
    }

    fn get(&self, topic: TopicId, partition: usize) -> Option<PartitionRow> {
        self.tables.get(&topic, partition).map(partition_row)
    }

    fn topic(&self, topic: TopicId) -> Vec<PartitionRow> {
        self.tables.topic(&topic).iter().map(partition_row).collect()
    }

    fn led_by(&self, py: Python, node_id: i32) -> Vec<(Py<PyBytes>, usize)> {
        let led = self.tables.iter().filter(|(_, _, row)| row.leader == node_id);
        led.map(|(topic, number, _)| (PyBytes::new(py, topic).unbind(), number)).collect()
    }

    fn placed_on(&self, py: Python, node_id: i32) -> Vec<(Py<PyBytes>, usize)> {
        let placed = |row: &Partition| row.replicas.as_slice().contains(&node_id);
        let found = self.tables.iter().filter(|(_, _, row)| placed(row));
        found.map(|(topic, number, _)| (PyBytes::new(py, topic).unbind(), number)).collect()
    }

    fn dump(
        &self,
        py: Python,
        after: Option<TopicId>,
        limit: usize,
    ) -> Option<(Vec<Py<PyBytes>>, Columns, Columns)> {
        let dumped = py.detach(|| self.tables.dump(after, limit))?;
        let topics = topics_out(py, &dumped.topics);
        Some((topics, Columns::of(dumped.partitions), Columns::of(dumped.nodes)))
    }

    fn load(
        &mut self,
        py: Python,
        topics: Vec<TopicId>,
        partitions: &Columns,
        nodes: &Columns,
    ) -> PyResult<()> {
        py.detach(|| self.tables.load(&topics, &partitions.rows, &nodes.rows)).map_err(broken)
    }
}

fn partition_row(row: &Partition) -> PartitionRow {
    let (adding, removing) = match &row.reassignment {
        Some(moves) => (moves.adding.clone(), moves.removing.clone()),
        None => (Vec::new(), Vec::new()),
    };
    (
        row.replicas.as_slice().to_vec(),
        adding,
        removing,
        row.leader,
        row.leader_epoch,
        row.partition_epoch,
        row.state,
        row.moving_to,
        row.reason,
        row.data_stream,
        row.state_stream,
    )
}
