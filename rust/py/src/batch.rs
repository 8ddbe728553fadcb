//! Binding of `automq-batch`.

mod build;
mod digest;
mod records;

use std::sync::Arc;

use automq_batch::{
    self as core, BatchHeader, Codec, Corrupt, DigestEntry, ReadError, Refused, TimestampType,
};
use bytes::Bytes;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;

use self::digest::Entry;
use crate::buf::{Buf, Octets};

create_exception!(automq._native, CorruptBatch, PyValueError);
create_exception!(automq._native, BatchTooLarge, PyValueError);
create_exception!(automq._native, BatchRefused, PyException);

/// Below this, releasing the GIL costs more than it gives.
const SMALL_BYTES: usize = 4096;

fn maybe_detached<T: Send>(py: Python<'_>, bytes: usize, work: impl Send + FnOnce() -> T) -> T {
    if bytes < SMALL_BYTES { work() } else { py.detach(work) }
}

fn corrupt(py: Python<'_>, error: Corrupt) -> PyErr {
    let raised = CorruptBatch::new_err((error.position, error.why.clone()));
    let value = raised.value(py);
    let set = value.setattr("position", error.position).and(value.setattr("why", error.why));
    set.err().unwrap_or(raised)
}

fn unreadable(py: Python<'_>, error: ReadError) -> PyErr {
    match error {
        ReadError::Corrupt(error) => corrupt(py, error),
        too_large => BatchTooLarge::new_err(too_large.to_string()),
    }
}

fn refused(py: Python<'_>, error: Refused) -> PyErr {
    let raised = BatchRefused::new_err(error.message.clone());
    let value = raised.value(py);
    let set = value
        .setattr("error", error.code.name())
        .and(value.setattr("message", error.message))
        .and(value.setattr("record_errors", error.record_errors));
    set.err().unwrap_or(raised)
}

fn codec_of(name: &str) -> PyResult<Codec> {
    Codec::from_name(name).ok_or_else(|| {
        let known = "none, gzip, snappy, lz4 or zstd";
        PyValueError::new_err(format!("codec {name:?} is not one of {known}"))
    })
}

/// One batch: its header, and its bytes, shared.
#[pyclass(frozen, module = "automq._native")]
struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

#[pymethods]
impl Batch {
    #[getter]
    fn records(&self) -> Buf {
        Buf::new(self.bytes.clone())
    }

    #[getter]
    fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    #[getter]
    fn last_offset(&self) -> i64 {
        self.header.last_offset()
    }

    #[getter]
    fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    #[getter]
    fn last_offset_delta(&self) -> i32 {
        self.header.last_offset_delta
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.header.size_bytes
    }

    #[getter]
    fn leader_epoch(&self) -> i32 {
        self.header.leader_epoch
    }

    #[getter]
    fn attributes(&self) -> i16 {
        self.header.attributes
    }

    #[getter]
    fn codec(&self) -> &'static str {
        self.header.codec().map_or("unknown", Codec::name)
    }

    #[getter]
    fn timestamp_type(&self) -> &'static str {
        match self.header.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        }
    }

    #[getter]
    fn is_transactional(&self) -> bool {
        self.header.is_transactional()
    }

    #[getter]
    fn is_control(&self) -> bool {
        self.header.is_control()
    }

    #[getter]
    fn base_timestamp(&self) -> i64 {
        self.header.base_timestamp
    }

    #[getter]
    fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    #[getter]
    fn producer_id(&self) -> i64 {
        self.header.producer_id
    }

    #[getter]
    fn producer_epoch(&self) -> i16 {
        self.header.producer_epoch
    }

    #[getter]
    fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    #[getter]
    fn last_sequence(&self) -> i32 {
        self.header.last_sequence()
    }

    #[getter]
    fn record_count(&self) -> i32 {
        self.header.record_count
    }

    fn check_crc(&self, py: Python<'_>) -> PyResult<()> {
        maybe_detached(py, self.bytes.len(), || self.header.check_crc(&self.bytes))
            .map_err(|error| corrupt(py, error))
    }

    /// What this batch, once stored at `base_offset`, does to producer state.
    #[pyo3(signature = (base_offset=None))]
    fn producer_entry(&self, py: Python<'_>, base_offset: Option<i64>) -> PyResult<Option<Entry>> {
        let entry = DigestEntry::of(&self.header, &self.bytes).map_err(|e| corrupt(py, e))?;
        Ok(entry.map(|mut entry| {
            entry.base_offset = base_offset.unwrap_or(entry.base_offset);
            Entry(entry)
        }))
    }

    fn __repr__(&self) -> String {
        let (base, last) = (self.header.base_offset, self.header.last_offset());
        format!("Batch([{base}, {last}], {} bytes)", self.header.size_bytes)
    }
}

#[pyfunction]
fn batches(py: Python<'_>, data: Octets) -> PyResult<Vec<Batch>> {
    core::batches(&data.0)
        .map(|item| item.map(|(header, bytes)| Batch { header, bytes }))
        .collect::<Result<_, _>>()
        .map_err(|error| corrupt(py, error))
}

/// What a topic asks of the batches that are sent to it.
#[pyclass(frozen, module = "automq._native")]
pub struct ProduceRules(pub Arc<core::ProduceRules>);

#[pymethods]
impl ProduceRules {
    #[new]
    #[pyo3(signature = (*, batch_bytes_max, segment_bytes=1 << 30, compacted=false,
        timestamp_before_max_ms=i64::MAX, timestamp_after_max_ms=3_600_000, log_append_time=false,
        codec=None, level=None, unpacked_bytes_max=256 << 20))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a Python constructor")]
    fn new(
        batch_bytes_max: usize,
        segment_bytes: usize,
        compacted: bool,
        timestamp_before_max_ms: i64,
        timestamp_after_max_ms: i64,
        log_append_time: bool,
        codec: Option<&str>,
        level: Option<i32>,
        unpacked_bytes_max: usize,
    ) -> PyResult<Self> {
        let codec = codec.filter(|name| *name != "producer").map(codec_of).transpose()?;
        Ok(Self(Arc::new(core::ProduceRules {
            batch_bytes_max,
            segment_bytes,
            compacted,
            timestamp_before_max_ms,
            timestamp_after_max_ms,
            log_append_time,
            codec,
            level,
            unpacked_bytes_max,
        })))
    }
}

#[pyfunction]
fn check_produce(
    py: Python<'_>,
    records: Octets,
    rules: &ProduceRules,
    now_ms: i64,
    version: i16,
) -> PyResult<Batch> {
    let rules = &rules.0;
    maybe_detached(py, records.0.len(), || core::check_produce(&records.0, rules, now_ms, version))
        .map(|(header, bytes)| Batch { header, bytes })
        .map_err(|error| refused(py, error))
}

/// The batch at the start of `records`, which must be the only one.
fn only(py: Python<'_>, records: &Bytes) -> PyResult<BatchHeader> {
    let header = BatchHeader::parse(records).map_err(|error| corrupt(py, error))?;
    if header.size_bytes < records.len() {
        let why = format!("{} bytes behind the batch", records.len() - header.size_bytes);
        return Err(corrupt(py, Corrupt { position: header.size_bytes, why }));
    }
    Ok(header)
}

#[pyfunction]
fn stamp(py: Python<'_>, records: &Buf, base_offset: i64, leader_epoch: i32) -> PyResult<()> {
    only(py, &records.bytes)?;
    // SAFETY: a `Buf` lies in memory from the allocator (frames, copies and built batches expose
    // their provenance by handing out addresses), and the caller promises (`_native.pyi`) that the
    // batch is its own and not yet given away. The GIL is held, so no other Python code reads it.
    unsafe { core::stamp_in_place(&records.bytes, base_offset, leader_epoch) };
    Ok(())
}

#[pyfunction]
fn stamp_copy(
    py: Python<'_>,
    records: Octets,
    base_offset: i64,
    leader_epoch: i32,
) -> PyResult<Buf> {
    only(py, &records.0)?;
    let copy = || core::stamp_copy(&records.0, base_offset, leader_epoch);
    Ok(Buf::new(maybe_detached(py, records.0.len(), copy)))
}

#[pyfunction]
fn restamp(py: Python<'_>, records: Octets, append_time_ms: i64) -> PyResult<Buf> {
    let header = only(py, &records.0)?;
    let work = || core::restamp(&header, &records.0, append_time_ms, true);
    Ok(Buf::new(maybe_detached(py, records.0.len(), work)))
}

#[pyfunction]
#[pyo3(signature = (records, codec, level=None, *, bytes_max=256 << 20))]
fn recompress(
    py: Python<'_>,
    records: Octets,
    codec: &str,
    level: Option<i32>,
    bytes_max: usize,
) -> PyResult<Buf> {
    let (header, codec) = (only(py, &records.0)?, codec_of(codec)?);
    py.detach(|| core::recompress(&header, &records.0, codec, level, bytes_max))
        .map(Buf::new)
        .map_err(|error| unreadable(py, error))
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("CorruptBatch", m.py().get_type::<CorruptBatch>())?;
    m.add("BatchTooLarge", m.py().get_type::<BatchTooLarge>())?;
    m.add("BatchRefused", m.py().get_type::<BatchRefused>())?;
    m.add_class::<Batch>()?;
    m.add_class::<ProduceRules>()?;
    m.add_function(wrap_pyfunction!(batches, m)?)?;
    m.add_function(wrap_pyfunction!(check_produce, m)?)?;
    m.add_function(wrap_pyfunction!(stamp, m)?)?;
    m.add_function(wrap_pyfunction!(stamp_copy, m)?)?;
    m.add_function(wrap_pyfunction!(restamp, m)?)?;
    m.add_function(wrap_pyfunction!(recompress, m)?)?;
    build::add_to(m)?;
    digest::add_to(m)?;
    records::add_to(m)
}
