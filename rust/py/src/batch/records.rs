//! Binding: records out of batches.

use automq_batch as core;
use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{maybe_detached, unreadable};
use crate::buf::Octets;

/// One record, as read.
#[pyclass(frozen, module = "automq._native")]
struct Record(core::Record);

type Headers<'py> = Vec<(String, Option<Bound<'py, PyBytes>>)>;

#[pymethods]
impl Record {
    #[getter]
    fn offset(&self) -> i64 {
        self.0.offset
    }

    #[getter]
    fn timestamp(&self) -> i64 {
        self.0.timestamp
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.key.as_ref().map(|bytes| PyBytes::new(py, bytes))
    }

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.value.as_ref().map(|bytes| PyBytes::new(py, bytes))
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> Headers<'py> {
        let one = |(name, content): &(Bytes, Option<Bytes>)| {
            let content = content.as_ref().map(|bytes| PyBytes::new(py, bytes));
            (String::from_utf8_lossy(name).into_owned(), content)
        };
        self.0.headers.iter().map(one).collect()
    }

    #[getter]
    fn producer_id(&self) -> i64 {
        self.0.producer_id
    }

    #[getter]
    fn producer_epoch(&self) -> i16 {
        self.0.producer_epoch
    }

    #[getter]
    fn is_transactional(&self) -> bool {
        self.0.is_transactional
    }

    #[getter]
    fn is_control(&self) -> bool {
        self.0.is_control
    }

    fn __repr__(&self) -> String {
        format!("Record(offset={}, timestamp={})", self.0.offset, self.0.timestamp)
    }
}

#[pyfunction]
#[pyo3(signature = (data, *, bytes_max=256 << 20))]
fn read_records(py: Python<'_>, data: Octets, bytes_max: usize) -> PyResult<Vec<Record>> {
    maybe_detached(py, data.0.len(), || core::read_records(&data.0, bytes_max))
        .map(|records| records.into_iter().map(Record).collect())
        .map_err(|error| unreadable(py, error))
}

type Found = Option<(i64, i64, i32)>;

#[pyfunction]
#[pyo3(signature = (data, timestamp, *, start_offset=0, bytes_max=256 << 20))]
fn find_timestamp(
    py: Python<'_>,
    data: Octets,
    timestamp: i64,
    start_offset: i64,
    bytes_max: usize,
) -> PyResult<Found> {
    py.detach(|| core::find_timestamp(&data.0, timestamp, start_offset, bytes_max))
        .map(|found| found.map(|at| (at.offset, at.timestamp, at.leader_epoch)))
        .map_err(|error| unreadable(py, error))
}

#[pyfunction]
#[pyo3(signature = (data, *, bytes_max=256 << 20))]
fn max_timestamp(py: Python<'_>, data: Octets, bytes_max: usize) -> PyResult<Found> {
    py.detach(|| core::max_timestamp(&data.0, bytes_max))
        .map(|found| found.map(|at| (at.offset, at.timestamp, at.leader_epoch)))
        .map_err(|error| unreadable(py, error))
}

/// The last record of each key, gathered over batches.
#[pyclass(module = "automq._native")]
struct LastByKey(core::LastByKey);

#[pymethods]
impl LastByKey {
    #[new]
    fn new() -> Self {
        Self(core::LastByKey::new())
    }

    #[pyo3(signature = (data, *, bytes_max=256 << 20))]
    fn add(&mut self, py: Python<'_>, data: Octets, bytes_max: usize) -> PyResult<()> {
        py.detach(|| self.0.add(&data.0, bytes_max)).map_err(|error| unreadable(py, error))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Hands out what was gathered, and starts again.
    fn take(&mut self, py: Python<'_>) -> (Vec<Record>, Vec<Record>) {
        let gathered = std::mem::take(&mut self.0);
        let (last, pending) = py.detach(|| gathered.finish());
        (last.into_iter().map(Record).collect(), pending.into_iter().map(Record).collect())
    }
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Record>()?;
    m.add_class::<LastByKey>()?;
    m.add_function(wrap_pyfunction!(read_records, m)?)?;
    m.add_function(wrap_pyfunction!(find_timestamp, m)?)?;
    m.add_function(wrap_pyfunction!(max_timestamp, m)?)
}
