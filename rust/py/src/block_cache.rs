//! Binding of `automq-log`: the block cache, and reading out of blocks.

use std::sync::Arc;

use automq_log::blockcache::{BlockCache, Cached};
use automq_log::wish::Wish;
use bytes::Bytes;
use pyo3::prelude::*;

use crate::buf::{Buf, Octets};
use crate::log::PyCacheRead;
use crate::object::{PyBlockRef, PyObjectIndex, corrupt};

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyBlockCache>()?;
    m.add_class::<PyWish>()
}

#[pyclass(frozen, name = "Wish", module = "automq._native")]
struct PyWish {
    wish: Wish,
}

#[pymethods]
impl PyWish {
    #[new]
    #[pyo3(signature = (
        stream_id, start_offset, end_offset, bytes_max, *, at_least_one = true, blocks_max = 16
    ))]
    fn new(
        stream_id: i64,
        start_offset: i64,
        end_offset: i64,
        bytes_max: i64,
        at_least_one: bool,
        blocks_max: usize,
    ) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(0);
        let (stream, start, end) = (stream_id, start_offset, end_offset);
        Self { wish: Wish { stream, start, end, bytes_max, at_least_one, blocks_max } }
    }

    #[getter]
    fn stream_id(&self) -> i64 {
        self.wish.stream
    }

    #[getter]
    fn start_offset(&self) -> i64 {
        self.wish.start
    }

    fn below(&self, end_offset: i64) -> Self {
        Self { wish: Wish { end: self.wish.end.min(end_offset), ..self.wish } }
    }

    fn blocks(&self, index: &PyObjectIndex) -> Vec<PyBlockRef> {
        self.wish.blocks(&index.index).into_iter().map(|block| PyBlockRef { block }).collect()
    }

    fn gather(
        &self,
        refs: Vec<PyRef<'_, PyBlockRef>>,
        blocks: Vec<Octets>,
    ) -> PyResult<PyCacheRead> {
        let blocks = refs.iter().map(|of| of.block).zip(blocks.into_iter().map(|data| data.0));
        Ok(PyCacheRead { read: self.wish.gather(blocks).map_err(corrupt)? })
    }

    fn kept(
        &self,
        index: &PyObjectIndex,
        cache: &PyBlockCache,
    ) -> PyResult<Option<(PyCacheRead, u64)>> {
        let kept = self.wish.kept(&index.index, &cache.cache).map_err(corrupt)?;
        Ok(kept.map(|(read, blocks_bytes)| (PyCacheRead { read }, blocks_bytes)))
    }
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
