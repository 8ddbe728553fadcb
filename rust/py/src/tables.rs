//! Binding of `automq-tables`.

pub mod columns;
mod partitions;

use std::collections::BTreeMap;

use automq_tables::{
    Broken, Commit, LeftOut, Located, MergeRules, Object, ObjectState, OpenJudgement, Prepared,
    Range, Replacement, Storage, Stream, StreamState,
};
use pyo3::exceptions::{PyAssertionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use columns::{Columns, split};
use partitions::PartitionTables;

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Columns>()?;
    m.add_class::<StorageTables>()?;
    m.add_class::<PartitionTables>()
}

fn broken(what: Broken) -> PyErr {
    PyAssertionError::new_err(what.0)
}

type TopicId = [u8; 16];
type StreamRow = (Py<PyBytes>, i32, u8, bool, i64, i64, i32, i32, i64, i64, i64, i64);
type ObjectRow = (u8, i64, u8, i64, i64, i32, i64, u8, i64, u32);
type LocatedRow = (i64, i64, i64, i64, i64, i64, i64, i64);
/// Reason, level, and the parts: stream, object, start, end, bytes, max timestamp.
type MergeRow = (u8, u8, Columns);
type DumpedStreams = (Vec<Py<PyBytes>>, Columns, Columns, Columns, i64);

/// Streams, objects and ranges.
#[pyclass(module = "automq._native")]
#[derive(Default)]
pub struct StorageTables {
    tables: Storage,
}

#[pymethods]
impl StorageTables {
    #[new]
    fn empty() -> Self {
        Self::default()
    }

    #[getter]
    fn next_stream(&self) -> i64 {
        self.tables.next_stream
    }

    #[getter]
    fn next_object(&self) -> i64 {
        self.tables.next_object
    }

    fn set_bounds(&mut self, next_stream: i64, next_object: i64) {
        self.tables.next_stream = next_stream;
        self.tables.next_object = next_object;
    }

    #[getter]
    fn stream_count(&self) -> usize {
        self.tables.streams.len()
    }

    #[getter]
    fn object_count(&self) -> usize {
        self.tables.objects.len()
    }

    fn create_streams(&mut self, first: i64, streams: Vec<(TopicId, i32, u8)>) -> PyResult<()> {
        for (stream, (topic, partition, kind)) in (first..).zip(streams) {
            let row = Stream::new(topic, partition, kind);
            self.tables.create_stream(stream, row).map_err(broken)?;
        }
        Ok(())
    }

    fn judge_opens(
        &self,
        node_id: i32,
        node_epoch: i64,
        streams: Vec<i64>,
        epochs: Vec<i32>,
    ) -> Vec<(u8, i64, i32, i64)> {
        let judge = |(stream, epoch): (&i64, &i32)| match self
            .tables
            .streams
            .judge_open(*stream, *epoch, node_id, node_epoch)
        {
            OpenJudgement::Free { start } => (0, start, -1, -1),
            OpenJudgement::Held { start, node_id, node_epoch } => (1, start, node_id, node_epoch),
            OpenJudgement::Already { start } => (2, start, -1, -1),
            OpenJudgement::Stale { epoch } => (3, i64::from(epoch), -1, -1),
            OpenJudgement::Unknown => (4, -1, -1, -1),
        };
        streams.iter().zip(&epochs).map(judge).collect()
    }

    fn open_streams(&mut self, node_id: i32, node_epoch: i64, streams: &Columns) -> PyResult<()> {
        let [ids, epochs, starts] = split::<3>(streams)?;
        for row in 0..ids.len() {
            self.tables
                .streams
                .open(ids[row], epochs[row] as i32, starts[row], (node_id, node_epoch))
                .map_err(broken)?;
        }
        Ok(())
    }

    fn close_streams(&mut self, streams: &Columns) -> PyResult<()> {
        let [ids, epochs, ends] = split::<3>(streams)?;
        for row in 0..ids.len() {
            let (epoch, end) = (epochs[row] as i32, ends[row]);
            self.tables.streams.close(ids[row], epoch, end).map_err(broken)?;
        }
        Ok(())
    }

    fn judge_trims(&self, streams: Vec<i64>, starts: Vec<i64>) -> PyResult<Columns> {
        let (streams, starts) = self.tables.judge_trims(&streams, &starts);
        Columns::from_kept(vec![streams, starts])
    }

    fn trim_streams(&mut self, streams: &Columns) -> PyResult<()> {
        let [ids, starts] = split::<2>(streams)?;
        for row in 0..ids.len() {
            self.tables.trim(ids[row], starts[row]).map_err(broken)?;
        }
        Ok(())
    }

    fn remove_streams(&mut self, streams: &Columns) -> PyResult<()> {
        let [ids] = split::<1>(streams)?;
        ids.iter().try_for_each(|stream| self.tables.remove(*stream)).map_err(broken)
    }

    fn stream(&self, py: Python, stream: i64) -> Option<StreamRow> {
        self.tables.streams.get(stream).map(|row| {
            (
                PyBytes::new(py, &row.topic).unbind(),
                row.partition,
                row.kind,
                row.state == StreamState::Open,
                row.start,
                row.end,
                row.epoch,
                row.node_id,
                row.node_epoch,
                row.bytes,
                row.cleaned_to,
                row.delete_horizon_ms,
            )
        })
    }

    fn opens(&self, stream: i64) -> Vec<(i32, i64)> {
        self.tables.streams.get(stream).map_or_else(Vec::new, |row| row.opens.clone())
    }

    fn streams_of_topic(&self, py: Python, topic: TopicId) -> Vec<i64> {
        py.detach(|| self.tables.streams.ids(|row| row.topic == topic))
    }

    fn streams_of_node(&self, py: Python, node_id: i32) -> Vec<i64> {
        let open = |row: &Stream| row.state == StreamState::Open && row.node_id == node_id;
        py.detach(|| self.tables.streams.ids(open))
    }

    fn prepare_objects(
        &mut self,
        first: i64,
        count: i64,
        node_id: i32,
        node_epoch: i64,
        purpose: u8,
        deadline_ms: i64,
    ) -> PyResult<()> {
        let by = Prepared { node_id, node_epoch, purpose, deadline_ms };
        self.tables.prepare(first, count, by).map_err(broken)
    }

    fn judge_commits(
        &self,
        py: Python,
        commits: Vec<(i32, i64, Py<Columns>)>,
    ) -> PyResult<Vec<(Py<PyBytes>, Columns)>> {
        let judged = py.detach(|| {
            let mut named = Vec::with_capacity(commits.len());
            for (node_id, node_epoch, ranges) in &commits {
                named.push(Commit { owner: (*node_id, *node_epoch), ranges: &ranges.get().rows });
            }
            self.tables.judge_commits(&named)
        });
        let answer = |judged: automq_tables::Judged| {
            let verdicts: Vec<u8> = judged.verdicts.iter().map(|verdict| *verdict as u8).collect();
            (PyBytes::new(py, &verdicts).unbind(), Columns::of(judged.taken))
        };
        Ok(judged.map_err(PyValueError::new_err)?.into_iter().map(answer).collect())
    }

    #[allow(clippy::too_many_arguments)]
    fn commit(
        &mut self,
        py: Python,
        object: i64,
        bytes: i64,
        level: u8,
        index_position: i64,
        index_bytes: i64,
        ranges: &Columns,
    ) -> PyResult<()> {
        let object = described(object, bytes, level, index_position, index_bytes);
        py.detach(|| self.tables.commit(&object, &ranges.rows)).map_err(broken)
    }

    fn judge_replace(
        &self,
        py: Python,
        removed: &Columns,
        added: &Columns,
    ) -> PyResult<Vec<(i64, u8)>> {
        let replacement = Replacement { removed: &removed.rows, added: &added.rows };
        let verdicts = py.detach(|| self.tables.judge_replace(&replacement));
        let verdicts = verdicts.map_err(PyValueError::new_err)?;
        Ok(verdicts.into_iter().map(|(stream, verdict)| (stream, verdict as u8)).collect())
    }

    fn replace(
        &mut self,
        py: Python,
        removed: &Columns,
        added: &Columns,
        objects: &Columns,
        cleaned: &Columns,
    ) -> PyResult<()> {
        let [ids, bytes, levels, positions, sizes] = split::<5>(objects)?;
        let object = |row: usize| {
            described(ids[row], bytes[row], levels[row] as u8, positions[row], sizes[row])
        };
        let objects: Vec<Object> = (0..ids.len()).map(object).collect();
        let replacement = Replacement { removed: &removed.rows, added: &added.rows };
        py.detach(|| self.tables.replace(&replacement, &objects)).map_err(broken)?;
        let [streams, cleaned_to, horizons] = split::<3>(cleaned)?;
        for row in 0..streams.len() {
            self.tables.cleaned(streams[row], cleaned_to[row], horizons[row]).map_err(broken)?;
        }
        Ok(())
    }

    /// `limits`: objects max, fan-in, bytes max, rows max, dead bytes min.
    fn plan_merge(
        &self,
        py: Python,
        node_id: i32,
        limits: (usize, usize, i64, usize, i64),
        left_out: (Vec<i64>, Vec<i64>),
    ) -> Option<MergeRow> {
        let (objects_max, fan_in, bytes_max, rows_max, dead_bytes_min) = limits;
        let rules =
            MergeRules { node_id, objects_max, fan_in, bytes_max, rows_max, dead_bytes_min };
        let left_out = LeftOut {
            objects: left_out.0.into_iter().collect(),
            streams: left_out.1.into_iter().collect(),
        };
        let merge = py.detach(|| self.tables.plan_merge(&rules, &left_out))?;
        let mut columns: [Vec<i64>; 6] = Default::default();
        for (object, range) in &merge.parts {
            let Range { stream, start, end, bytes, max_timestamp } = *range;
            let row = [stream, *object, start, end, bytes, max_timestamp];
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        let columns = Columns::from_kept(columns.into()).ok()?;
        Some((merge.reason as u8, merge.level, columns))
    }

    fn uploads_by_node(&self) -> BTreeMap<i32, usize> {
        self.tables.uploads_by_node()
    }

    fn space(&self) -> (i64, i64) {
        self.tables.objects.space()
    }

    fn doom(&mut self, objects: &Columns) -> PyResult<()> {
        let [ids] = split::<1>(objects)?;
        ids.iter().try_for_each(|id| self.tables.objects.doom(*id)).map_err(broken)
    }

    fn forget(&mut self, objects: &Columns) -> PyResult<()> {
        let [ids] = split::<1>(objects)?;
        ids.iter().try_for_each(|id| self.tables.objects.forget(*id)).map_err(broken)
    }

    fn prepared(&self, limit: usize) -> Vec<i64> {
        self.tables.objects.in_state(ObjectState::Prepared).take(limit).collect()
    }

    fn unreferenced(&self, limit: usize) -> Vec<i64> {
        self.tables.objects.in_state(ObjectState::Committed).take(limit).collect()
    }

    fn doomed(&self, limit: usize) -> Vec<i64> {
        self.tables.objects.in_state(ObjectState::Doomed).take(limit).collect()
    }

    fn object(&self, object: i64) -> Option<ObjectRow> {
        self.tables.objects.get(object).map(|row| {
            (
                row.state as u8,
                row.bytes,
                row.level,
                row.index_position,
                row.index_bytes,
                row.prepared.node_id,
                row.prepared.node_epoch,
                row.prepared.purpose,
                row.prepared.deadline_ms,
                row.live,
            )
        })
    }

    fn locate(&self, stream: i64, offset: i64, limit: usize) -> Vec<LocatedRow> {
        self.tables.locate(stream, offset, limit).into_iter().map(located).collect()
    }

    fn locate_timestamp(&self, stream: i64, timestamp: i64) -> Option<LocatedRow> {
        self.tables.locate_timestamp(stream, timestamp).map(located)
    }

    fn dump_streams(&self, py: Python, after: i64, limit: usize) -> Option<DumpedStreams> {
        let dumped = py.detach(|| self.tables.dump_streams(after, limit))?;
        Some((
            topics_out(py, &dumped.topics),
            Columns::of(dumped.streams),
            Columns::of(dumped.opens),
            Columns::of(dumped.ranges),
            dumped.last,
        ))
    }

    fn dump_objects(
        &self,
        py: Python,
        after: i64,
        limit: usize,
    ) -> Option<(Columns, Columns, i64)> {
        let dumped = py.detach(|| self.tables.dump_objects(after, limit))?;
        Some((Columns::of(dumped.objects), Columns::of(dumped.ranges), dumped.last))
    }

    fn load_streams(
        &mut self,
        py: Python,
        topics: Vec<TopicId>,
        streams: &Columns,
        opens: &Columns,
    ) -> PyResult<()> {
        py.detach(|| self.tables.load_streams(&topics, &streams.rows, &opens.rows)).map_err(broken)
    }

    fn load_objects(&mut self, py: Python, objects: &Columns) -> PyResult<()> {
        py.detach(|| self.tables.load_objects(&objects.rows)).map_err(broken)
    }

    fn load_ranges(&mut self, py: Python, ranges: &Columns) -> PyResult<()> {
        py.detach(|| self.tables.load_ranges(&ranges.rows)).map_err(broken)
    }
}

fn described(id: i64, bytes: i64, level: u8, index_position: i64, index_bytes: i64) -> Object {
    let nobody = Prepared { node_id: -1, node_epoch: -1, purpose: 0, deadline_ms: 0 };
    let object = Object::new(id, ObjectState::Committed, nobody);
    Object { bytes, level, index_position, index_bytes, ..object }
}

fn located(found: Located) -> LocatedRow {
    let Located { object, range, object_bytes, index_position, index_bytes } = found;
    let (start, end) = (range.start, range.end);
    let sizes = (range.bytes, range.max_timestamp, object_bytes);
    (object, start, end, sizes.0, sizes.1, sizes.2, index_position, index_bytes)
}

fn topics_out(py: Python, topics: &[TopicId]) -> Vec<Py<PyBytes>> {
    topics.iter().map(|topic| PyBytes::new(py, topic).unbind()).collect()
}
