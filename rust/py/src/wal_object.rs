//! Binding of the objects of a WAL (`automq_wal::object`).

use std::borrow::Cow;

use automq_wal::object::{
    BadObject, INDEX_BITS, Kind, OBJECT_HEADER_BYTES, OBJECT_RECORD_BYTES, ObjectBatch,
    ObjectHeader, RECORDS_MAX, read_object,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::buf::{Buf, Octets};
use crate::wal::{WalDamaged, WalRecord, WalUnsupported};

const NAMES: [(&str, Kind); 4] =
    [("begin", Kind::Begin), ("batch", Kind::Batch), ("fence", Kind::Fence), ("end", Kind::End)];

fn raised(error: BadObject) -> PyErr {
    match error {
        BadObject::Damaged(_) => WalDamaged::new_err(error.to_string()),
        BadObject::Unsupported(_) => WalUnsupported::new_err(error.to_string()),
    }
}

#[pyclass(frozen, get_all, module = "automq._native")]
struct WalObject {
    kind: &'static str,
    wal_id: i64,
    number: u64,
    cluster_id: Cow<'static, [u8]>,
    nonce: Cow<'static, [u8]>,
    node_id: i32,
    node_epoch: i64,
    records: u32,
    body_bytes: u64,
    acknowledged: Option<u64>,
}

impl From<ObjectHeader> for WalObject {
    fn from(header: ObjectHeader) -> Self {
        let named = NAMES.iter().find(|(_, kind)| *kind == header.kind);
        Self {
            kind: named.map_or("", |(name, _)| name),
            wal_id: header.wal_id,
            number: header.number,
            cluster_id: Cow::Owned(header.cluster_id.to_vec()),
            nonce: Cow::Owned(header.nonce.to_vec()),
            node_id: header.node_id,
            node_epoch: header.node_epoch,
            records: header.records,
            body_bytes: header.body_bytes,
            acknowledged: header.acknowledged,
        }
    }
}

#[pymethods]
impl WalObject {
    fn __repr__(&self) -> String {
        let Self { kind, wal_id, number, node_id, records, .. } = self;
        format!("WalObject({kind} {number} of WAL {wal_id}, node {node_id}, {records} records)")
    }
}

#[pyclass(module = "automq._native")]
#[derive(Default)]
struct WalBatch {
    batch: ObjectBatch,
}

#[pymethods]
impl WalBatch {
    #[new]
    fn empty() -> Self {
        Self::default()
    }

    fn append(
        &mut self,
        stream_id: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        payload: Octets,
    ) {
        self.batch.push(stream_id, epoch, base_offset, last_offset, payload.0);
    }

    fn __len__(&self) -> usize {
        self.batch.len()
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.batch.size_bytes()
    }

    #[pyo3(signature = (
        kind, *, wal_id, number, cluster_id, nonce, node_id, node_epoch, acknowledged=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "all of them have names in Python")]
    fn encode(
        &self,
        py: Python<'_>,
        kind: &str,
        wal_id: i64,
        number: u64,
        cluster_id: [u8; 16],
        nonce: [u8; 16],
        node_id: i32,
        node_epoch: i64,
        acknowledged: Option<u64>,
    ) -> PyResult<Vec<Buf>> {
        let Some((_, kind)) = NAMES.iter().find(|(name, _)| *name == kind) else {
            return Err(PyValueError::new_err(format!("no object of a WAL is a {kind:?}")));
        };
        let header = ObjectHeader {
            kind: *kind,
            wal_id,
            number,
            cluster_id,
            nonce,
            node_id,
            node_epoch,
            records: 0,
            body_bytes: 0,
            body_crc: 0,
            acknowledged,
        };
        let pieces = py.detach(|| self.batch.encode(header));
        Ok(pieces.into_iter().map(Buf::new).collect())
    }
}

#[pyfunction]
fn wal_object_header(data: Octets) -> PyResult<WalObject> {
    ObjectHeader::parse(&data.0).map(WalObject::from).map_err(raised)
}

#[pyfunction]
fn wal_object_read(py: Python<'_>, data: Octets) -> PyResult<(WalObject, Vec<WalRecord>)> {
    let (header, records) = py.detach(|| read_object(&data.0)).map_err(raised)?;
    let records = records.into_iter().map(|record| WalRecord::new(py, record));
    Ok((header.into(), records.collect::<PyResult<_>>()?))
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<WalBatch>()?;
    m.add_class::<WalObject>()?;
    m.add("WAL_OBJECT_HEADER_BYTES", OBJECT_HEADER_BYTES)?;
    m.add("WAL_OBJECT_INDEX_BITS", INDEX_BITS)?;
    m.add("WAL_OBJECT_RECORDS_MAX", RECORDS_MAX)?;
    m.add("WAL_OBJECT_RECORD_BYTES", OBJECT_RECORD_BYTES)?;
    m.add_function(wrap_pyfunction!(wal_object_header, m)?)?;
    m.add_function(wrap_pyfunction!(wal_object_read, m)?)
}
