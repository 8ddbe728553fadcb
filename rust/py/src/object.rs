//! Binding of `automq-log`: objects and the block cache.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use automq_log::object::{self, BlockRef, BuiltObject, DamagedObject as Damage, DigestRef};
use automq_log::object::{Footer, ObjectIndex, ObjectWriter, Part};
use bytes::Bytes;
use pyo3::create_exception;
use pyo3::exceptions::{PyAssertionError, PyException, PyValueError};
use pyo3::prelude::*;

use crate::buf::{Buf, Octets};
use crate::log::{PyCacheRead, PyLogCache};

create_exception!(automq._native, DamagedObject, PyException);

/// (stream, start, end, bytes, max timestamp, record count).
type RangeRow = (i64, i64, i64, u64, i64, u64);
/// The same by column.
type RangeColumns = (Vec<i64>, Vec<i64>, Vec<i64>, Vec<u64>, Vec<i64>, Vec<u64>);

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let damaged = m.py().get_type::<DamagedObject>();
    damaged.setattr("why", m.py().eval(c"property(lambda self: self.args[0])", None, None)?)?;
    damaged
        .setattr("position", m.py().eval(c"property(lambda self: self.args[1])", None, None)?)?;
    m.add("DamagedObject", damaged)?;
    m.add_class::<PyBuiltObject>()?;
    m.add_class::<PyObjectWriter>()?;
    m.add_class::<PyFooter>()?;
    m.add_class::<PyObjectIndex>()?;
    m.add_class::<PyBlockRef>()?;
    m.add_class::<PyDigestRef>()?;
    m.add_class::<PyObjectPart>()?;
    m.add_function(wrap_pyfunction!(build_object, m)?)?;
    m.add_function(wrap_pyfunction!(parse_footer, m)?)?;
    m.add_function(wrap_pyfunction!(open_block, m)?)?;
    m.add_function(wrap_pyfunction!(open_digest, m)?)?;
    m.add_function(wrap_pyfunction!(cut, m)?)?;
    m.add_function(wrap_pyfunction!(inspect_object, m)?)
}

pub fn damaged(damage: Damage) -> PyErr {
    DamagedObject::new_err((damage.why, damage.position))
}

/// What a writer refuses is a mistake of ours.
pub fn mistake(error: impl std::fmt::Display) -> PyErr {
    PyAssertionError::new_err(error.to_string())
}

fn rows(ranges: &[object::Range]) -> Vec<RangeRow> {
    let row =
        |r: &object::Range| (r.stream, r.start, r.end, r.bytes, r.max_timestamp, r.record_count);
    ranges.iter().map(row).collect()
}

pub fn cluster(id: Vec<u8>) -> PyResult<object::ClusterId> {
    let refused = |id: Vec<u8>| {
        PyValueError::new_err(format!("a cluster id of {} bytes, it has 16", id.len()))
    };
    id.try_into().map_err(refused)
}

#[pyfunction]
#[pyo3(signature = (cache, generation, *, object_id, cluster_id, streams = None))]
fn build_object(
    py: Python<'_>,
    cache: &PyLogCache,
    generation: u64,
    object_id: i64,
    cluster_id: Vec<u8>,
    streams: Option<Vec<i64>>,
) -> PyResult<Option<PyBuiltObject>> {
    let (cache, cluster_id) = (Arc::clone(&cache.cache), cluster(cluster_id)?);
    let built =
        py.detach(|| object::build_object(&cache, generation, object_id, cluster_id, streams));
    Ok(built.map_err(mistake)?.map(|built| PyBuiltObject { built }))
}

#[pyclass(frozen, name = "BuiltObject", module = "automq._native")]
pub struct PyBuiltObject {
    pub built: BuiltObject,
}

#[pymethods]
impl PyBuiltObject {
    #[getter]
    fn object_id(&self) -> i64 {
        self.built.object_id
    }

    #[getter]
    fn parts(&self) -> Vec<Buf> {
        self.built.parts.iter().cloned().map(Buf::new).collect()
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.built.size_bytes
    }

    #[getter]
    fn index_position(&self) -> u64 {
        self.built.index_position
    }

    #[getter]
    fn index_bytes(&self) -> u64 {
        self.built.index_bytes
    }

    #[getter]
    fn ranges(&self) -> Vec<RangeRow> {
        rows(&self.built.ranges)
    }

    fn range_columns(&self) -> RangeColumns {
        let ranges = self.built.ranges.iter();
        (
            ranges.clone().map(|range| range.stream).collect(),
            ranges.clone().map(|range| range.start).collect(),
            ranges.clone().map(|range| range.end).collect(),
            ranges.clone().map(|range| range.bytes).collect(),
            ranges.clone().map(|range| range.max_timestamp).collect(),
            ranges.map(|range| range.record_count).collect(),
        )
    }
}

#[pyclass(frozen, name = "ObjectWriter", module = "automq._native")]
struct PyObjectWriter {
    writer: Mutex<Option<ObjectWriter>>,
}

impl PyObjectWriter {
    fn writer(&self) -> MutexGuard<'_, Option<ObjectWriter>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finished() -> PyErr {
    PyAssertionError::new_err("the writer is finished")
}

#[pymethods]
impl PyObjectWriter {
    #[new]
    #[pyo3(signature = (*, object_id, cluster_id, block_bytes = object::BLOCK_BYTES))]
    fn new(object_id: i64, cluster_id: Vec<u8>, block_bytes: usize) -> PyResult<Self> {
        let cluster_id = cluster(cluster_id)?;
        let writer = ObjectWriter::with_block_bytes(object_id, cluster_id, block_bytes);
        Ok(Self { writer: Mutex::new(Some(writer)) })
    }

    #[pyo3(signature = (stream, start, end, batches, *, digest = None))]
    fn add(
        &self,
        py: Python<'_>,
        stream: i64,
        start: i64,
        end: i64,
        batches: Vec<Octets>,
        digest: Option<Octets>,
    ) -> PyResult<()> {
        let pieces: Vec<Bytes> = batches.into_iter().map(|batch| batch.0).collect();
        let digest = digest.map(|digest| digest.0);
        py.detach(|| {
            let mut writer = self.writer();
            let writer = writer.as_mut().ok_or_else(finished)?;
            writer.add(stream, (start, end), pieces, digest.as_deref()).map_err(mistake)
        })
    }

    #[getter]
    fn size_bytes(&self) -> PyResult<u64> {
        self.writer().as_ref().map(ObjectWriter::size_bytes).ok_or_else(finished)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<Option<PyBuiltObject>> {
        let writer = self.writer().take().ok_or_else(finished)?;
        let built = py.detach(|| writer.finish()).map_err(mistake)?;
        Ok(built.map(|built| PyBuiltObject { built }))
    }
}

#[pyfunction]
#[pyo3(signature = (tail, object_bytes, *, object_id = None, cluster_id = None))]
fn parse_footer(
    tail: Octets,
    object_bytes: u64,
    object_id: Option<i64>,
    cluster_id: Option<Vec<u8>>,
) -> PyResult<PyFooter> {
    let cluster_id = cluster_id.map(cluster).transpose()?;
    let footer = object::parse_footer(&tail.0, object_bytes, object_id, cluster_id);
    Ok(PyFooter { footer: footer.map_err(damaged)? })
}

#[pyclass(frozen, name = "ObjectFooter", module = "automq._native")]
struct PyFooter {
    footer: Footer,
}

#[pymethods]
impl PyFooter {
    #[getter]
    fn object_id(&self) -> i64 {
        self.footer.object_id
    }

    #[getter]
    fn cluster_id(&self) -> &[u8] {
        &self.footer.cluster_id
    }

    #[getter]
    fn object_bytes(&self) -> u64 {
        self.footer.object_bytes
    }

    #[getter]
    fn digest_position(&self) -> u64 {
        self.footer.digest_position
    }

    #[getter]
    fn index_position(&self) -> u64 {
        self.footer.index_position
    }

    #[getter]
    fn index_bytes(&self) -> u64 {
        self.footer.index_bytes
    }

    #[getter]
    fn version(&self) -> u16 {
        self.footer.version
    }
}

#[pyclass(frozen, name = "ObjectIndex", module = "automq._native")]
pub struct PyObjectIndex {
    pub index: Arc<ObjectIndex>,
}

#[pymethods]
impl PyObjectIndex {
    #[new]
    #[pyo3(signature = (data, *, position, object_id = None, cluster_id = None))]
    fn new(
        py: Python<'_>,
        data: Octets,
        position: u64,
        object_id: Option<i64>,
        cluster_id: Option<Vec<u8>>,
    ) -> PyResult<Self> {
        let cluster_id = cluster_id.map(cluster).transpose()?;
        let index = py.detach(|| ObjectIndex::parse(&data.0, position, object_id, cluster_id));
        Ok(Self { index: Arc::new(index.map_err(damaged)?) })
    }

    #[pyo3(signature = (stream, offset, *, limit = 64))]
    fn find(&self, stream: i64, offset: i64, limit: usize) -> Vec<PyBlockRef> {
        let found = self.index.find(stream, offset, limit);
        found.into_iter().map(|block| PyBlockRef { block }).collect()
    }

    #[pyo3(signature = (stream, timestamp, *, start_offset = 0))]
    fn find_timestamp(&self, stream: i64, timestamp: i64, start_offset: i64) -> Option<PyBlockRef> {
        let block = self.index.find_timestamp(stream, timestamp, start_offset)?;
        Some(PyBlockRef { block })
    }

    fn digest_ref(&self, stream: i64) -> Option<PyDigestRef> {
        self.index.digest_ref(stream).map(|digest| PyDigestRef { digest })
    }

    fn streams(&self) -> Vec<i64> {
        self.index.streams().collect()
    }

    fn ranges(&self) -> Vec<RangeRow> {
        rows(&self.index.ranges())
    }

    fn blocks(&self) -> Vec<PyBlockRef> {
        self.index.blocks().into_iter().map(|block| PyBlockRef { block }).collect()
    }

    #[getter]
    fn object_id(&self) -> i64 {
        self.index.object_id()
    }

    #[getter]
    fn digest_position(&self) -> u64 {
        self.index.digest_position()
    }

    #[getter]
    fn index_position(&self) -> u64 {
        self.index.index_position()
    }

    #[getter]
    fn block_count(&self) -> usize {
        self.index.block_count()
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
    }
}

#[pyclass(frozen, name = "BlockRef", module = "automq._native")]
pub struct PyBlockRef {
    pub block: BlockRef,
}

#[pymethods]
impl PyBlockRef {
    #[getter]
    fn object_id(&self) -> i64 {
        self.block.object_id
    }

    #[getter]
    fn stream(&self) -> i64 {
        self.block.stream
    }

    #[getter]
    fn start(&self) -> i64 {
        self.block.start
    }

    #[getter]
    fn end(&self) -> i64 {
        self.block.end
    }

    #[getter]
    fn record_count(&self) -> u64 {
        self.block.record_count
    }

    #[getter]
    fn position(&self) -> u64 {
        self.block.position
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.block.size_bytes
    }

    #[getter]
    fn max_timestamp(&self) -> i64 {
        self.block.max_timestamp
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.block)
    }
}

#[pyclass(frozen, name = "DigestRef", module = "automq._native")]
struct PyDigestRef {
    digest: DigestRef,
}

#[pymethods]
impl PyDigestRef {
    #[getter]
    fn object_id(&self) -> i64 {
        self.digest.object_id
    }

    #[getter]
    fn stream(&self) -> i64 {
        self.digest.stream
    }

    #[getter]
    fn position(&self) -> u64 {
        self.digest.position
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.digest.size_bytes
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.digest)
    }
}

#[pyfunction]
fn open_block(py: Python<'_>, data: &Bound<'_, PyAny>, block: &PyBlockRef) -> PyResult<Buf> {
    let block = block.block;
    let crc32c = data.cast::<Buf>().ok().and_then(|buf| buf.get().crc32c);
    let data: Octets = data.extract()?;
    let opened = match crc32c {
        Some(crc32c) => object::open_summed_block(&data.0, crc32c, &block),
        None => py.detach(|| object::open_block(&data.0, &block)),
    };
    opened.map(Buf::new).map_err(damaged)
}

#[pyfunction]
fn open_digest(data: Octets, digest: &PyDigestRef) -> PyResult<Buf> {
    object::open_digest(&data.0, &digest.digest).map(Buf::new).map_err(damaged)
}

#[pyfunction]
fn cut(
    batches: Octets,
    start_offset: i64,
    end_offset: i64,
    bytes_max: usize,
    at_least_one: bool,
) -> PyResult<PyCacheRead> {
    let read = object::cut(&batches.0, start_offset, end_offset, bytes_max, at_least_one);
    Ok(PyCacheRead { read: read.map_err(corrupt)? })
}

pub fn corrupt(bad: automq_batch::Corrupt) -> PyErr {
    damaged(Damage { position: bad.position as u64, why: bad.why })
}

#[pyfunction]
fn inspect_object(py: Python<'_>, data: Octets) -> PyResult<Vec<PyObjectPart>> {
    let parts = py.detach(|| object::inspect(&data.0)).map_err(damaged)?;
    Ok(parts.into_iter().map(|part| PyObjectPart { part }).collect())
}

#[pyclass(frozen, name = "ObjectPart", module = "automq._native")]
struct PyObjectPart {
    part: Part,
}

#[pymethods]
impl PyObjectPart {
    #[getter]
    fn kind(&self) -> &'static str {
        self.part.kind
    }

    #[getter]
    fn position(&self) -> u64 {
        self.part.position
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.part.size_bytes
    }

    #[getter]
    fn stream(&self) -> Option<i64> {
        self.part.stream
    }

    #[getter]
    fn summary(&self) -> &str {
        &self.part.summary
    }

    #[getter]
    fn damage(&self) -> Option<String> {
        self.part.damage.as_ref().map(ToString::to_string)
    }
}
