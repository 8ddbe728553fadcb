//! Binding: new batches.

use automq_batch::{self as core, BatchSpec, Codec, EndMarker, MarkerKind, NewRecord};
use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{codec_of, corrupt, only};
use crate::buf::{Buf, Octets};

type HeaderArgument = (String, Option<Octets>);
type RecordArgument = (i64, Option<Octets>, Option<Octets>, Vec<HeaderArgument>);

#[pyfunction]
#[pyo3(signature = (records, *, base_offset=0, leader_epoch=-1, codec="none", level=None,
    producer_id=-1, producer_epoch=-1, base_sequence=-1, transactional=false, control=false,
    log_append_time_ms=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of a Python function")]
fn build_batch(
    py: Python<'_>,
    records: Vec<RecordArgument>,
    base_offset: i64,
    leader_epoch: i32,
    codec: &str,
    level: Option<i32>,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    log_append_time_ms: Option<i64>,
) -> PyResult<Buf> {
    let records: Vec<NewRecord> = records.into_iter().map(new_record).collect();
    let spec = BatchSpec {
        base_offset,
        leader_epoch,
        codec: codec_of(codec)?,
        level,
        producer_id,
        producer_epoch,
        base_sequence,
        is_transactional: transactional,
        is_control: control,
        log_append_time: log_append_time_ms,
    };
    let work = || core::build_batch(&records, &spec);
    let built = if spec.codec == Codec::None { work() } else { py.detach(work) };
    built.map(Buf::new).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn new_record((timestamp, key, value, headers): RecordArgument) -> NewRecord {
    let bytes = |octets: Octets| octets.0;
    let header = |(name, content): HeaderArgument| (Bytes::from(name), content.map(bytes));
    NewRecord {
        timestamp,
        key: key.map(bytes),
        value: value.map(bytes),
        headers: headers.into_iter().map(header).collect(),
    }
}

#[pyfunction]
#[pyo3(signature = (*, commit, coordinator_epoch, producer_id, producer_epoch, timestamp,
    base_offset=0, leader_epoch=-1))]
fn build_marker(
    commit: bool,
    coordinator_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    timestamp: i64,
    base_offset: i64,
    leader_epoch: i32,
) -> PyResult<Buf> {
    let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
    let spec = BatchSpec {
        base_offset,
        leader_epoch,
        producer_id,
        producer_epoch,
        ..BatchSpec::default()
    };
    core::build_marker(kind, coordinator_epoch, timestamp, &spec)
        .map(Buf::new)
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

#[pyfunction]
fn parse_marker(py: Python<'_>, records: Octets) -> PyResult<Option<(bool, i32, i64)>> {
    let header = only(py, &records.0)?;
    if !header.is_control() {
        return Ok(None);
    }
    let marker = EndMarker::parse(&header, &records.0).map_err(|error| corrupt(py, error))?;
    Ok(marker.map(|said| (said.kind == MarkerKind::Commit, said.coordinator_epoch, said.timestamp)))
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(build_batch, m)?)?;
    m.add_function(wrap_pyfunction!(build_marker, m)?)?;
    m.add_function(wrap_pyfunction!(parse_marker, m)?)
}
