//! Binding of `automq-wal`.

use std::borrow::Cow;
use std::os::fd::RawFd;
use std::path::PathBuf;

use automq_wal::{
    Checked, Error, Failure, Full, Options, OwnerReads, Reader, Record, Refused, SYNC_BOUNDS_US,
    Step, Taker, Wal,
};
use bytes::Bytes;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::buf::{Buf, Octets};

create_exception!(automq._native, WalError, PyException);
create_exception!(automq._native, WalBusy, WalError);
create_exception!(automq._native, WalQueueFull, WalBusy);
create_exception!(automq._native, WalSpaceFull, WalBusy);
create_exception!(automq._native, WalTooLarge, WalError);
create_exception!(automq._native, WalClosed, WalError);
create_exception!(automq._native, WalFailed, WalError);
create_exception!(automq._native, WalLocked, WalError);
create_exception!(automq._native, WalUsed, WalError);
create_exception!(automq._native, WalMissing, WalError);
create_exception!(automq._native, WalForeign, WalError);
create_exception!(automq._native, WalUnsupported, WalError);
create_exception!(automq._native, WalDamaged, WalError);

fn refused(error: Refused) -> PyErr {
    let text = error.to_string();
    match error {
        Refused::QueueFull { .. } => WalQueueFull::new_err(text),
        Refused::SpaceFull { .. } => WalSpaceFull::new_err(text),
        Refused::TooLarge { .. } => WalTooLarge::new_err(text),
        Refused::Closed => WalClosed::new_err(text),
        Refused::Failed(_) => WalFailed::new_err(text),
    }
}

fn raised(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Invalid(_) => PyValueError::new_err(text),
        Error::Locked { .. } => WalLocked::new_err(text),
        Error::Used { .. } => WalUsed::new_err(text),
        Error::Missing { .. } => WalMissing::new_err(text),
        Error::Foreign { .. } => WalForeign::new_err(text),
        Error::Unsupported { .. } => WalUnsupported::new_err(text),
        Error::Damaged { .. } => WalDamaged::new_err(text),
        Error::Failed(_) | Error::TimedOut { .. } => WalFailed::new_err(text),
        Error::Io { source, .. } => match source.raw_os_error() {
            Some(errno) => PyOSError::new_err((errno, text)),
            None => PyOSError::new_err(text),
        },
    }
}

#[pyclass(frozen, get_all, module = "automq._native")]
struct WalFailure {
    operation: String,
    path: PathBuf,
    position: u64,
    errno: Option<i32>,
    message: String,
    text: String,
}

impl From<Failure> for WalFailure {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        let Failure { operation, path, position, errno, message } = failure;
        Self { operation: operation.into_owned(), path, position, errno, message, text }
    }
}

#[pymethods]
impl WalFailure {
    #[new]
    fn from_python(
        operation: String,
        path: PathBuf,
        position: u64,
        errno: Option<i32>,
        message: String,
    ) -> Self {
        Failure { operation: operation.into(), path, position, errno, message }.into()
    }

    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("WalFailure({})", self.text)
    }
}

#[pyclass(frozen, get_all, module = "automq._native")]
struct WalFull {
    path: PathBuf,
    needed_bytes: u64,
    message: String,
}

#[pymethods]
impl WalFull {
    #[new]
    fn from_python(path: PathBuf, needed_bytes: u64, message: String) -> Self {
        Self { path, needed_bytes, message }
    }

    fn __repr__(&self) -> String {
        let (path, needed_bytes) = (self.path.display(), self.needed_bytes);
        format!("WalFull({path} has no room for {needed_bytes} bytes: {})", self.message)
    }
}

impl From<Full> for WalFull {
    fn from(full: Full) -> Self {
        Self { path: full.path, needed_bytes: full.needed_bytes, message: full.message }
    }
}

#[pyclass(frozen, get_all, module = "automq._native")]
pub struct WalRecord {
    position: u64,
    end_position: u64,
    stream_id: i64,
    epoch: i32,
    base_offset: i64,
    last_offset: i64,
    payload: Py<Buf>,
}

#[pymethods]
impl WalRecord {
    #[new]
    fn from_python(
        position: u64,
        end_position: u64,
        stream_id: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        payload: Py<Buf>,
    ) -> Self {
        Self { position, end_position, stream_id, epoch, base_offset, last_offset, payload }
    }

    fn __repr__(&self) -> String {
        format!(
            "WalRecord([{}, {}), stream_id={}, epoch={}, offsets={}..{})",
            self.position,
            self.end_position,
            self.stream_id,
            self.epoch,
            self.base_offset,
            self.last_offset
        )
    }
}

impl WalRecord {
    pub fn new(py: Python<'_>, record: Record) -> PyResult<Self> {
        Ok(Self {
            position: record.position,
            end_position: record.end_position,
            stream_id: record.stream,
            epoch: record.epoch,
            base_offset: record.base_offset,
            last_offset: record.last_offset,
            payload: Py::new(py, Buf::new(record.payload))?,
        })
    }
}

#[pyclass(frozen, get_all, module = "automq._native")]
struct WalEnd {
    position: u64,
    clean: bool,
    torn: bool,
}

#[pymethods]
impl WalEnd {
    #[new]
    fn from_python(position: u64, clean: bool, torn: bool) -> Self {
        Self { position, clean, torn }
    }

    fn __repr__(&self) -> String {
        let (position, clean, torn) = (self.position, self.clean, self.torn);
        format!("WalEnd(position={position}, clean={clean}, torn={torn})")
    }
}

#[pyclass(frozen, module = "automq._native")]
pub struct WalFiles {
    wal: Wal,
}

impl WalFiles {
    /// What Python's `append` does, for the rest of the core; `checked` is what it knows besides.
    pub fn append_bytes(
        &self,
        stream_id: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        payload: Bytes,
        checked: Option<Checked>,
    ) -> PyResult<u64> {
        let wal = &self.wal;
        wal.append_checked(stream_id, epoch, base_offset, last_offset, payload, checked)
            .map_err(refused)
    }
}

#[pymethods]
impl WalFiles {
    #[new]
    #[pyo3(signature = (root, *, wal_id, node_id, cluster_id, segment_bytes, capacity_bytes,
                        inflight_bytes_max, iops_max, spare_segments_max, shared = None))]
    #[expect(clippy::too_many_arguments, reason = "all of them have names in Python")]
    fn create(
        py: Python<'_>,
        root: PathBuf,
        wal_id: i64,
        node_id: i32,
        cluster_id: [u8; 16],
        segment_bytes: u64,
        capacity_bytes: u64,
        inflight_bytes_max: u64,
        iops_max: u32,
        spare_segments_max: usize,
        shared: Option<bool>,
    ) -> PyResult<Self> {
        let options = Options {
            wal_id,
            node_id,
            cluster_id,
            segment_bytes,
            capacity_bytes,
            inflight_bytes_max,
            iops_max,
            spare_segments_max,
            shared,
        };
        let wal = py.detach(|| Wal::create(&root, options)).map_err(raised)?;
        Ok(Self { wal })
    }

    // The lock behind these is held for nanoseconds, and never by a thread that waits for the
    // GIL: releasing it would cost more than it gives.
    fn append(
        &self,
        stream_id: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        payload: Octets,
    ) -> PyResult<u64> {
        self.append_bytes(stream_id, epoch, base_offset, last_offset, payload.0, None)
    }

    fn submit(&self) {
        self.wal.submit();
    }

    fn take_durable(&self) -> u64 {
        self.wal.take_durable()
    }

    #[getter]
    fn durable(&self) -> u64 {
        self.wal.durable()
    }

    #[getter]
    fn end(&self) -> u64 {
        self.wal.end()
    }

    fn fileno(&self) -> RawFd {
        self.wal.fd()
    }

    #[getter]
    fn owner_reads(&self) -> Option<&'static str> {
        self.wal.owner_reads().map(|reads| match reads {
            OwnerReads::Direct => "direct",
            OwnerReads::Cached => "cached",
        })
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.wal.dir()
    }

    fn trim(&self, position: u64) -> PyResult<()> {
        self.wal.trim(position).map_err(raised)
    }

    #[getter]
    fn failure(&self) -> Option<WalFailure> {
        self.wal.failure().map(WalFailure::from)
    }

    #[getter]
    fn full(&self) -> Option<WalFull> {
        self.wal.full().map(WalFull::from)
    }

    #[getter]
    fn ended(&self) -> bool {
        self.wal.ended()
    }

    fn begin_close(&self, clean: bool) {
        self.wal.begin_close(clean);
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.wal.stats();
        let out = PyDict::new(py);
        out.set_item("commits", stats.commits)?;
        out.set_item("records", stats.records)?;
        out.set_item("written_bytes", stats.bytes)?;
        out.set_item("sync_us_sum", stats.sync_us_sum)?;
        out.set_item("sync_counts", stats.sync_counts)?;
        out.set_item("inflight_bytes", stats.inflight_bytes)?;
        out.set_item("inflight_records", stats.inflight_records)?;
        out.set_item("live_bytes", stats.live_bytes)?;
        out.set_item("segments", stats.segments)?;
        out.set_item("spare_segments", stats.spare_segments)?;
        out.set_item("segments_created", stats.segments_created)?;
        out.set_item("segments_recycled", stats.segments_recycled)?;
        Ok(out)
    }
}

#[pyclass(frozen, module = "automq._native")]
struct WalReader {
    reader: Reader,
}

#[pymethods]
impl WalReader {
    #[new]
    #[pyo3(signature = (root, *, wal_id, cluster_id, start, chunk_bytes, taker = None))]
    fn begin(
        root: PathBuf,
        wal_id: i64,
        cluster_id: Option<[u8; 16]>,
        start: u64,
        chunk_bytes: usize,
        taker: Option<(i32, i64)>,
    ) -> PyResult<Self> {
        let taker = taker.map(|(node_id, node_epoch)| Taker { node_id, node_epoch });
        let reader = Reader::start(&root, wal_id, cluster_id, start, chunk_bytes, taker);
        Ok(Self { reader: reader.map_err(raised)? })
    }

    fn fileno(&self) -> RawFd {
        self.reader.fd()
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.reader.take() {
            None => Ok(None),
            Some(Step::Failed(error)) => Err(raised(error)),
            Some(Step::End(end)) => {
                let end = WalEnd { position: end.position, clean: end.clean, torn: end.torn };
                Ok(Some(Bound::new(py, end)?.into_any()))
            }
            Some(Step::Records(records)) => {
                let records = records.into_iter().map(|record| WalRecord::new(py, record));
                let records = records.collect::<PyResult<Vec<_>>>()?;
                Ok(Some(records.into_pyobject(py)?))
            }
        }
    }
}

#[pyfunction]
fn wal_ids(py: Python<'_>, root: PathBuf) -> PyResult<Vec<i64>> {
    py.detach(|| automq_wal::wal_ids(&root)).map_err(raised)
}

#[pyfunction]
fn wal_owner(
    py: Python<'_>,
    root: PathBuf,
    wal_id: i64,
) -> PyResult<Option<(Cow<'static, [u8]>, i32)>> {
    let found = py.detach(|| automq_wal::owner_of(&root, wal_id)).map_err(raised)?;
    Ok(found.map(|(cluster_id, node_id)| (Cow::Owned(cluster_id.to_vec()), node_id)))
}

#[pyfunction]
fn wal_is_shared(py: Python<'_>, root: PathBuf) -> PyResult<bool> {
    py.detach(|| automq_wal::is_shared(&root)).map_err(raised)
}

#[pyfunction]
fn wal_remove(py: Python<'_>, root: PathBuf, wal_id: i64) -> PyResult<bool> {
    py.detach(|| automq_wal::remove(&root, wal_id)).map_err(raised)
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add_class::<WalFiles>()?;
    m.add_class::<WalReader>()?;
    m.add_class::<WalRecord>()?;
    m.add_class::<WalEnd>()?;
    m.add_class::<WalFailure>()?;
    m.add_class::<WalFull>()?;
    m.add("WAL_SYNC_BOUNDS_US", SYNC_BOUNDS_US)?;
    m.add("WalError", py.get_type::<WalError>())?;
    m.add("WalBusy", py.get_type::<WalBusy>())?;
    m.add("WalQueueFull", py.get_type::<WalQueueFull>())?;
    m.add("WalSpaceFull", py.get_type::<WalSpaceFull>())?;
    m.add("WalTooLarge", py.get_type::<WalTooLarge>())?;
    m.add("WalClosed", py.get_type::<WalClosed>())?;
    m.add("WalFailed", py.get_type::<WalFailed>())?;
    m.add("WalLocked", py.get_type::<WalLocked>())?;
    m.add("WalUsed", py.get_type::<WalUsed>())?;
    m.add("WalMissing", py.get_type::<WalMissing>())?;
    m.add("WalForeign", py.get_type::<WalForeign>())?;
    m.add("WalUnsupported", py.get_type::<WalUnsupported>())?;
    m.add("WalDamaged", py.get_type::<WalDamaged>())?;
    m.add_function(wrap_pyfunction!(wal_ids, m)?)?;
    m.add_function(wrap_pyfunction!(wal_owner, m)?)?;
    m.add_function(wrap_pyfunction!(wal_is_shared, m)?)?;
    m.add_function(wrap_pyfunction!(wal_remove, m)?)
}
