//! Binding of `automq-produce`.

use std::collections::BTreeMap;
use std::sync::Arc;

use automq_batch::CRC_FROM;
use automq_log::cache::LogCache;
use automq_produce::{Lane, Limits, Log, Producing, Refusal, Seen, Segment};
use automq_wal::Checked;
use bytes::Bytes;
use pyo3::PyTraverseError;
use pyo3::exceptions::PyAssertionError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::ProduceRules;
use crate::buf::Buf;
use crate::log::PyLogCache;
use crate::wal::{WalBusy, WalFailed, WalFiles};

/// Below this, releasing the GIL costs more than it gives.
const SMALL_BYTES: usize = 4096;
/// Kafka's numbers of what a log that takes nothing means for a producer.
const KAFKA_STORAGE_ERROR: i16 = 56;
const UNKNOWN_SERVER_ERROR: i16 = -1;

type SeenRow = (i32, i32, i64, i64, i64);

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyLane>()?;
    m.add_class::<PyProducing>()?;
    m.add_class::<PyRun>()
}

fn row(seen: Seen) -> SeenRow {
    let Seen { base_sequence, last_sequence, base_offset, last_offset, timestamp } = seen;
    (base_sequence, last_sequence, base_offset, last_offset, timestamp)
}

#[pyclass(frozen, subclass, name = "Lane", module = "automq._native")]
pub struct PyLane {
    lane: Arc<Lane>,
}

#[pymethods]
impl PyLane {
    #[new]
    fn new(stream_id: i64, epoch: i32, start_offset: i64, end_offset: i64) -> Self {
        Self { lane: Arc::new(Lane::new(stream_id, epoch, start_offset, end_offset)) }
    }

    #[getter]
    fn stream_id(&self) -> i64 {
        self.lane.stream
    }

    #[getter]
    fn epoch(&self) -> i32 {
        self.lane.epoch
    }

    #[getter]
    fn start_offset(&self) -> i64 {
        self.lane.start_offset()
    }

    #[setter]
    fn set_start_offset(&self, offset: i64) {
        self.lane.set_start_offset(offset);
    }

    #[getter]
    fn end_offset(&self) -> i64 {
        self.lane.end_offset()
    }

    #[setter]
    fn set_end_offset(&self, offset: i64) {
        self.lane.set_end_offset(offset);
    }

    #[getter]
    fn durable_offset(&self) -> i64 {
        self.lane.durable_offset()
    }

    fn advance_durable(&self, offset: i64) {
        self.lane.advance_durable(offset);
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.lane.is_open()
    }

    fn close(&self) {
        self.lane.close();
    }

    #[pyo3(signature = (rules, *, segment_bytes, segment_ms, size_bytes, first_timestamp,
                        max_timestamp))]
    fn lend_segment(
        &self,
        rules: &ProduceRules,
        segment_bytes: i64,
        segment_ms: i64,
        size_bytes: i64,
        first_timestamp: i64,
        max_timestamp: i64,
    ) {
        self.lane.lend_segment(Segment {
            rules: Arc::clone(&rules.0),
            segment_bytes,
            segment_ms,
            size_bytes,
            first_timestamp,
            max_timestamp,
        });
    }

    fn take_segment(&self) -> Option<(i64, i64)> {
        self.lane.take_segment().map(|segment| (segment.size_bytes, segment.max_timestamp))
    }

    fn lend_producer(&self, producer_id: i64, epoch: i16, last_sequence: i32) {
        self.lane.lend_producer(producer_id, epoch, last_sequence);
    }

    fn take_producer(&self, producer_id: i64) -> Vec<SeenRow> {
        self.lane.take_producer(producer_id).into_iter().map(row).collect()
    }

    fn take_producers(&self) -> Vec<(i64, Vec<SeenRow>)> {
        let all = self.lane.take_producers().into_iter();
        all.map(|(id, added)| (id, added.into_iter().map(row).collect())).collect()
    }
}

/// Requests that were appended together.
#[pyclass(frozen, name = "Run", module = "automq._native")]
struct PyRun {
    #[pyo3(get)]
    requests: usize,
    #[pyo3(get)]
    frame_bytes: usize,
    #[pyo3(get)]
    appended_bytes: usize,
    #[pyo3(get)]
    position: u64,
    #[pyo3(get)]
    refused: bool,
    #[pyo3(get)]
    answers: Py<PyBytes>,
    #[pyo3(get)]
    mistake: Option<Py<PyAny>>,
}

/// The write-ahead log: files directly, any other kind by its method.
enum Appending {
    Files(Py<WalFiles>),
    Method(Py<PyAny>),
}

#[pyclass(name = "Producing", module = "automq._native")]
struct PyProducing {
    producing: Producing,
    appending: Appending,
    cache: Arc<LogCache>,
}

#[pymethods]
impl PyProducing {
    #[new]
    fn new(append: Bound<'_, PyAny>, cache: &PyLogCache) -> Self {
        // A bound method of `WalFiles` names it; any other callable is called.
        let files = append.getattr("__self__").ok().and_then(|wal| wal.cast_into().ok());
        let appending = match files {
            Some(files) => Appending::Files(files.unbind()),
            None => Appending::Method(append.unbind()),
        };
        Self { producing: Producing::default(), appending, cache: Arc::clone(&cache.cache) }
    }

    /// The log's method holds whoever holds this: without a word of it no collector finds the circle,
    /// and a process that starts nodes again and again (tests, the simulation) keeps them all.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.appending {
            Appending::Method(method) => visit.call(method),
            Appending::Files(files) => visit.call(files),
        }
    }

    fn add(&mut self, topic: &str, topic_id: [u8; 16], index: i32, lane: &PyLane) {
        self.producing.routes.add(topic.as_bytes(), &topic_id, index, &lane.lane);
    }

    fn remove(&mut self, topic: &str, topic_id: [u8; 16], index: i32, lane: &PyLane) {
        self.producing.routes.remove(topic.as_bytes(), &topic_id, index, &lane.lane);
    }

    #[pyo3(signature = (frames, *, now_ms, room_bytes))]
    fn produce(
        &mut self,
        py: Python<'_>,
        frames: Vec<Bound<'_, Buf>>,
        now_ms: i64,
        room_bytes: usize,
    ) -> PyResult<Option<PyRun>> {
        let frames: Vec<Bytes> = frames.iter().map(|frame| frame.get().bytes.clone()).collect();
        let limits = Limits { now_ms, room_bytes };
        let large = frames.iter().map(Bytes::len).sum::<usize>() >= SMALL_BYTES;
        let producing = &self.producing;
        let check = || producing.check(&frames, limits);
        let checked = if large { py.detach(check) } else { check() };
        let mut log = PyLog { py, appending: &self.appending, mistake: None };
        let run = self
            .producing
            .append(checked, &mut log, &self.cache)
            .map_err(|error| PyAssertionError::new_err(error.to_string()))?;
        if run.requests == 0 {
            return Ok(None);
        }
        Ok(Some(PyRun {
            requests: run.requests,
            frame_bytes: run.frame_bytes,
            appended_bytes: run.appended_bytes,
            position: run.position,
            refused: run.refused,
            answers: PyBytes::new(py, &run.answers).unbind(),
            mistake: log.mistake.map(|error| error.into_value(py).into_any()),
        }))
    }

    fn complete(&mut self, position: u64) -> Vec<(i64, usize)> {
        let moved = self.producing.complete(position).into_iter();
        moved.map(|progress| (progress.lane.stream, progress.size_bytes)).collect()
    }

    fn take_epochs(&mut self) -> BTreeMap<i64, i32> {
        self.producing.take_epochs()
    }
}

struct PyLog<'a, 'py> {
    py: Python<'py>,
    appending: &'a Appending,
    /// The last error that no log should raise.
    mistake: Option<PyErr>,
}

impl Log for PyLog<'_, '_> {
    fn append(
        &mut self,
        stream: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        batch: Bytes,
        crc: Option<u32>,
    ) -> Result<u64, Refusal> {
        let position = match self.appending {
            Appending::Files(files) => {
                let checked = crc.map(|crc| Checked { from: CRC_FROM, crc });
                files.get().append_bytes(stream, epoch, base_offset, last_offset, batch, checked)
            }
            Appending::Method(method) => {
                let arguments = (stream, epoch, base_offset, last_offset, Buf::new(batch));
                let said = method.call1(self.py, arguments);
                said.and_then(|position| position.extract(self.py))
            }
        };
        position.map_err(|error| self.refusal(error))
    }
}

impl PyLog<'_, '_> {
    fn refusal(&mut self, error: PyErr) -> Refusal {
        let message = error.value(self.py).to_string();
        if error.is_instance_of::<WalFailed>(self.py) {
            return Refusal::Failed;
        }
        if error.is_instance_of::<WalBusy>(self.py) {
            return Refusal::Refused { error_code: KAFKA_STORAGE_ERROR, message };
        }
        self.mistake = Some(error);
        Refusal::Refused { error_code: UNKNOWN_SERVER_ERROR, message }
    }
}
