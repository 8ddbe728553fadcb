//! Binding of `automq-log`: the block cache.

use std::sync::Arc;

use automq_log::blockcache::{BlockCache, Cached};
use bytes::Bytes;
use pyo3::prelude::*;

use crate::buf::{Buf, Octets};
use crate::object::PyObjectIndex;

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyBlockCache>()
}

/// No block lies here: the place of an object's index in the cache.
const INDEX_KEY: u64 = u64::MAX;

#[pyclass(frozen, name = "BlockCache", module = "automq._native")]
struct PyBlockCache {
    cache: BlockCache,
}

#[pymethods]
impl PyBlockCache {
    #[new]
    #[pyo3(signature = (*, bytes_max))]
    fn new(bytes_max: usize) -> Self {
        Self { cache: BlockCache::new(bytes_max) }
    }

    #[pyo3(signature = (object_id, position, *, is_again = false))]
    fn get(&self, object_id: i64, position: u64, is_again: bool) -> Option<Buf> {
        match self.cache.get((object_id, position), is_again)? {
            Cached::Block(bytes) => Some(Buf::new(bytes)),
            Cached::Index(_) => None,
        }
    }

    fn has(&self, object_id: i64, position: u64) -> bool {
        self.cache.has((object_id, position))
    }

    #[pyo3(signature = (object_id, position, batches, *, copy = false, is_ahead = false))]
    fn put(&self, object_id: i64, position: u64, batches: Octets, copy: bool, is_ahead: bool) {
        let bytes = if copy { Bytes::copy_from_slice(&batches.0) } else { batches.0 };
        self.cache.put((object_id, position), Cached::Block(bytes), is_ahead);
    }

    fn get_index(&self, object_id: i64) -> Option<PyObjectIndex> {
        match self.cache.get((object_id, INDEX_KEY), false)? {
            Cached::Index(index) => Some(PyObjectIndex { index }),
            Cached::Block(_) => None,
        }
    }

    fn put_index(&self, index: &PyObjectIndex) {
        let key = (index.index.object_id(), INDEX_KEY);
        self.cache.put(key, Cached::Index(Arc::clone(&index.index)), false);
    }

    fn drop_object(&self, object_id: i64) {
        self.cache.drop_object(object_id);
    }

    #[getter]
    fn bytes(&self) -> usize {
        self.cache.stats().bytes
    }

    #[getter]
    fn entries(&self) -> usize {
        self.cache.stats().entries
    }

    #[getter]
    fn hits(&self) -> u64 {
        self.cache.stats().hits
    }

    #[getter]
    fn misses(&self) -> u64 {
        self.cache.stats().misses
    }

    #[getter]
    fn evicted_bytes(&self) -> u64 {
        self.cache.stats().evicted_bytes
    }

    #[getter]
    fn unread_bytes(&self) -> u64 {
        self.cache.stats().unread_bytes
    }
}
