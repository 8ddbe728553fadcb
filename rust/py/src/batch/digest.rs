//! Binding: what batches do to producer state.

use automq_batch::{self as core, DigestEntry, MarkerKind};
use pyo3::prelude::*;

use super::{corrupt, maybe_detached};
use crate::buf::{Buf, Octets};

/// What a batch does to producer state.
#[pyclass(frozen, name = "DigestEntry", module = "automq._native")]
pub struct Entry(pub DigestEntry);

#[pymethods]
impl Entry {
    #[getter]
    fn producer_id(&self) -> i64 {
        self.0.producer_id
    }

    #[getter]
    fn producer_epoch(&self) -> i16 {
        self.0.producer_epoch
    }

    #[getter]
    fn base_offset(&self) -> i64 {
        self.0.base_offset
    }

    #[getter]
    fn last_offset(&self) -> i64 {
        self.0.last_offset()
    }

    #[getter]
    fn base_sequence(&self) -> i32 {
        self.0.base_sequence
    }

    #[getter]
    fn last_sequence(&self) -> i32 {
        self.0.last_sequence()
    }

    #[getter]
    fn max_timestamp(&self) -> i64 {
        self.0.max_timestamp
    }

    #[getter]
    fn is_transactional(&self) -> bool {
        self.0.is_transactional
    }

    #[getter]
    fn is_marker(&self) -> bool {
        self.0.marker.is_some()
    }

    #[getter]
    fn is_commit(&self) -> bool {
        self.0.marker == Some(MarkerKind::Commit)
    }

    #[getter]
    fn coordinator_epoch(&self) -> i32 {
        self.0.coordinator_epoch
    }

    fn __repr__(&self) -> String {
        let (id, offset) = (self.0.producer_id, self.0.base_offset);
        format!("DigestEntry(producer_id={id}, base_offset={offset})")
    }
}

#[pyfunction]
fn decode_digest(py: Python<'_>, data: Octets) -> PyResult<Vec<Entry>> {
    core::decode_digest(&data.0)
        .map(|entries| entries.into_iter().map(Entry).collect())
        .map_err(|error| corrupt(py, error))
}

#[pyfunction]
fn digest_of(py: Python<'_>, data: Octets) -> PyResult<Buf> {
    maybe_detached(py, data.0.len(), || core::digest_of(&data.0).map(|digest| digest.encode()))
        .map(Buf::new)
        .map_err(|error| corrupt(py, error))
}

#[pyfunction]
fn join_digests(py: Python<'_>, digests: Vec<Octets>) -> PyResult<Buf> {
    let mut digest = core::Digest::new();
    for one in digests {
        digest.extend(&one.0).map_err(|error| corrupt(py, error))?;
    }
    Ok(Buf::new(digest.encode()))
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Entry>()?;
    m.add_function(wrap_pyfunction!(decode_digest, m)?)?;
    m.add_function(wrap_pyfunction!(digest_of, m)?)?;
    m.add_function(wrap_pyfunction!(join_digests, m)?)
}
