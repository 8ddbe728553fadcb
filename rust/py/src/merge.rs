//! Binding of `automq-log`: merging objects.

use std::sync::{Mutex, MutexGuard, PoisonError};

use automq_log::object::{MergePart, ObjectMerge};
use bytes::Bytes;
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;

use crate::buf::Octets;
use crate::object::{PyBuiltObject, PyObjectIndex, cluster, damaged, mistake};
use crate::tables::columns::{Columns, split};

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyObjectMerge>()
}

#[pyclass(frozen, name = "ObjectMerge", module = "automq._native")]
struct PyObjectMerge {
    merge: Mutex<Option<ObjectMerge>>,
}

impl PyObjectMerge {
    fn merge(&self) -> MutexGuard<'_, Option<ObjectMerge>> {
        self.merge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finished() -> PyErr {
    PyAssertionError::new_err("the merge is finished")
}

#[pymethods]
impl PyObjectMerge {
    #[new]
    #[pyo3(signature = (parts, *, object_id, cluster_id))]
    fn new(parts: &Columns, object_id: i64, cluster_id: Vec<u8>) -> PyResult<Self> {
        let [streams, objects, starts, ends, ..] = split::<6>(parts)?;
        let part = |row: usize| MergePart {
            stream: streams[row],
            object: objects[row],
            start: starts[row],
            end: ends[row],
        };
        let rows = (0..parts.rows.rows()).map(part).collect();
        let merge = ObjectMerge::new(object_id, cluster(cluster_id)?, rows);
        Ok(Self { merge: Mutex::new(Some(merge)) })
    }

    fn spans(&self, py: Python<'_>, index: &PyObjectIndex) -> PyResult<Vec<(u64, u64)>> {
        let spans = py.detach(|| {
            let merge = self.merge();
            Ok::<_, PyErr>(merge.as_ref().ok_or_else(finished)?.spans(&index.index))
        })?;
        let spans = spans.map_err(damaged)?;
        Ok(spans.iter().map(|span| (span.start, span.end)).collect())
    }

    fn take(&self, py: Python<'_>, index: &PyObjectIndex, data: Vec<Octets>) -> PyResult<()> {
        let data: Vec<Bytes> = data.into_iter().map(|read| read.0).collect();
        let taken = py.detach(|| {
            let mut merge = self.merge();
            Ok::<_, PyErr>(merge.as_mut().ok_or_else(finished)?.take(&index.index, &data))
        })?;
        taken.map_err(damaged)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<PyBuiltObject> {
        let merge = self.merge().take().ok_or_else(finished)?;
        let built = py.detach(|| merge.finish()).map_err(mistake)?;
        Ok(PyBuiltObject { built })
    }
}
