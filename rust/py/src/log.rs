//! Binding of `automq-log`: the log cache.

use std::sync::Arc;

use automq_log::cache::{BatchFound, CacheError, CacheRead, GenerationStats, LogCache, Phase};
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;

use crate::buf::{Buf, Octets};

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyLogCache>()?;
    m.add_class::<PyCacheRead>()?;
    m.add_class::<PyBatchFound>()?;
    m.add_class::<PyGeneration>()
}

/// What the cache refuses is a mistake of ours.
fn mistake(error: CacheError) -> PyErr {
    PyAssertionError::new_err(error.to_string())
}

#[pyclass(frozen, name = "LogCache", module = "automq._native")]
pub struct PyLogCache {
    pub cache: Arc<LogCache>,
}

#[pymethods]
impl PyLogCache {
    #[new]
    #[pyo3(signature = (*, bytes_max))]
    fn new(bytes_max: usize) -> Self {
        Self { cache: Arc::new(LogCache::new(bytes_max)) }
    }

    fn append(
        &self,
        stream: i64,
        base_offset: i64,
        last_offset: i64,
        max_timestamp: i64,
        batch: Octets,
    ) -> PyResult<Buf> {
        let kept = self.cache.append(stream, base_offset, last_offset, max_timestamp, batch.0);
        kept.map(Buf::new).map_err(mistake)
    }

    fn read(
        &self,
        stream: i64,
        start_offset: i64,
        end_offset: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Option<PyCacheRead> {
        let read = self.cache.read(stream, start_offset, end_offset, bytes_max, at_least_one)?;
        Some(PyCacheRead { read })
    }

    #[pyo3(signature = (stream, timestamp, end_offset, *, start_offset = 0))]
    fn find_timestamp(
        &self,
        stream: i64,
        timestamp: i64,
        end_offset: i64,
        start_offset: i64,
    ) -> Option<PyBatchFound> {
        let found = self.cache.find_timestamp(stream, timestamp, start_offset, end_offset)?;
        Some(PyBatchFound { found })
    }

    fn start_offset(&self, stream: i64) -> Option<i64> {
        self.cache.offsets(stream).map(|(start, _)| start)
    }

    fn end_offset(&self, stream: i64) -> Option<i64> {
        self.cache.offsets(stream).map(|(_, end)| end)
    }

    fn seal(&self) -> Option<u64> {
        self.cache.seal()
    }

    fn release(&self, generation: u64) -> PyResult<()> {
        self.cache.release(generation).map_err(mistake)
    }

    fn drop_stream(&self, stream: i64) {
        self.cache.drop_stream(stream);
    }

    fn sealed(&self) -> Vec<PyGeneration> {
        let all = self.cache.generations().into_iter();
        let sealed = all.filter(|stats| stats.phase == Phase::Sealed);
        sealed.map(|stats| PyGeneration { stats }).collect()
    }

    fn generations(&self) -> Vec<PyGeneration> {
        self.cache.generations().into_iter().map(|stats| PyGeneration { stats }).collect()
    }

    #[getter]
    fn bytes_max(&self) -> usize {
        self.cache.bytes_max()
    }

    #[getter]
    fn bytes(&self) -> usize {
        self.cache.stats().memory_bytes
    }

    #[getter]
    fn unreleased_bytes(&self) -> usize {
        self.cache.stats().unreleased_bytes
    }

    #[getter]
    fn active_bytes(&self) -> usize {
        self.cache.stats().active_bytes
    }

    #[getter]
    fn evicted_bytes(&self) -> u64 {
        self.cache.stats().evicted_bytes
    }

    #[getter]
    fn stream_count(&self) -> usize {
        self.cache.stats().streams
    }
}

#[pyclass(frozen, name = "CacheRead", module = "automq._native")]
pub struct PyCacheRead {
    pub read: CacheRead,
}

#[pymethods]
impl PyCacheRead {
    #[getter]
    fn bufs(&self) -> Vec<Buf> {
        self.read.bufs.iter().cloned().map(Buf::new).collect()
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.read.size_bytes
    }

    #[getter]
    fn base_offset(&self) -> i64 {
        self.read.base_offset
    }

    #[getter]
    fn next_offset(&self) -> i64 {
        self.read.next_offset
    }
}

#[pyclass(frozen, name = "BatchFound", module = "automq._native")]
pub struct PyBatchFound {
    pub found: BatchFound,
}

#[pymethods]
impl PyBatchFound {
    #[getter]
    fn buf(&self) -> Buf {
        Buf::new(self.found.bytes.clone())
    }

    #[getter]
    fn base_offset(&self) -> i64 {
        self.found.base_offset
    }

    #[getter]
    fn next_offset(&self) -> i64 {
        self.found.next_offset
    }

    #[getter]
    fn max_timestamp(&self) -> i64 {
        self.found.max_timestamp
    }
}

#[pyclass(frozen, name = "Generation", module = "automq._native")]
pub struct PyGeneration {
    stats: GenerationStats,
}

#[pymethods]
impl PyGeneration {
    #[getter]
    fn id(&self) -> u64 {
        self.stats.id
    }

    #[getter]
    fn phase(&self) -> &'static str {
        match self.stats.phase {
            Phase::Active => "active",
            Phase::Sealed => "sealed",
            Phase::Released => "released",
        }
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.stats.memory_bytes
    }

    #[getter]
    fn payload_bytes(&self) -> usize {
        self.stats.payload_bytes
    }

    #[getter]
    fn record_count(&self) -> u64 {
        self.stats.records
    }

    #[getter]
    fn batch_count(&self) -> u64 {
        self.stats.batches
    }

    #[getter]
    fn stream_count(&self) -> usize {
        self.stats.streams
    }
}
