//! Binding of `automq-blob`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use automq_blob::cloud::{Cloud, Config, MULTIPART_BYTES, PART_BYTES, Provider};
use automq_blob::local::LocalDir;
use automq_blob::{Backend, Error, Info, Kind, Op, Reply, Store};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::buf::{Buf, Octets};

create_exception!(_native, BlobError, PyException);

fn raise(error: Error) -> PyErr {
    BlobError::new_err((error.kind.name(), error.message))
}

/// An object store. Every operation takes a token and completes by `drain`.
#[pyclass(frozen, module = "automq._native")]
struct BlobStore {
    store: Store,
}

#[pymethods]
impl BlobStore {
    #[staticmethod]
    fn local(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let open = || Store::new(Backend::Local(Arc::new(LocalDir::open(&path)?)));
        Ok(Self { store: py.detach(open).map_err(raise)? })
    }

    #[staticmethod]
    #[pyo3(signature = (
        scheme, bucket, prefix, *, timeout_ms, options, ca_pem=None, proxy=None, address=None,
        multipart_bytes=MULTIPART_BYTES
    ))]
    #[allow(clippy::too_many_arguments)] // It is one call, with names.
    fn cloud(
        py: Python<'_>,
        scheme: &str,
        bucket: String,
        prefix: String,
        timeout_ms: u64,
        options: HashMap<String, String>,
        ca_pem: Option<Vec<u8>>,
        proxy: Option<String>,
        address: Option<IpAddr>,
        multipart_bytes: u64,
    ) -> PyResult<Self> {
        let unknown = || raise(Error::new(Kind::Invalid, format!("no provider {scheme:?}")));
        let provider = Provider::of(scheme).ok_or_else(unknown)?;
        let timeout = Duration::from_millis(timeout_ms);
        let config = Config {
            provider,
            bucket,
            prefix,
            timeout,
            options,
            ca_pem,
            proxy,
            address,
            multipart_bytes,
        };
        let open = || Store::new(Backend::Cloud(Arc::new(Cloud::new(config)?)));
        Ok(Self { store: py.detach(open).map_err(raise)? })
    }

    fn fileno(&self) -> i32 {
        self.store.fd().as_raw_fd()
    }

    #[getter]
    fn authority(&self) -> Option<String> {
        self.store.authority()
    }

    fn put(&self, token: u64, key: String, data: Vec<Octets>) -> PyResult<()> {
        let data = data.into_iter().map(|octets| octets.0).collect();
        self.store.submit(token, Op::Put { key, data }).map_err(raise)
    }

    fn create(&self, token: u64, key: String, data: Vec<Octets>) -> PyResult<()> {
        let data = data.into_iter().map(|octets| octets.0).collect();
        self.store.submit(token, Op::Create { key, data }).map_err(raise)
    }

    fn get(&self, token: u64, key: String) -> PyResult<()> {
        self.store.submit(token, Op::Get { key }).map_err(raise)
    }

    fn get_ranges(&self, token: u64, key: String, ranges: Vec<(u64, u64)>) -> PyResult<()> {
        self.store.submit(token, Op::GetRanges { key, ranges }).map_err(raise)
    }

    fn head(&self, token: u64, key: String) -> PyResult<()> {
        self.store.submit(token, Op::Head { key }).map_err(raise)
    }

    #[pyo3(signature = (token, prefix, after, page))]
    fn list(
        &self,
        token: u64,
        prefix: String,
        after: Option<String>,
        page: Option<String>,
    ) -> PyResult<()> {
        self.store.submit(token, Op::List { prefix, after, page }).map_err(raise)
    }

    fn delete(&self, token: u64, keys: Vec<String>) -> PyResult<()> {
        self.store.submit(token, Op::Delete { keys }).map_err(raise)
    }

    fn copy(&self, token: u64, source: String, target: String) -> PyResult<()> {
        self.store.submit(token, Op::Copy { source, target }).map_err(raise)
    }

    fn settings(&self, token: u64) -> PyResult<()> {
        self.store.submit(token, Op::Settings).map_err(raise)
    }

    fn cancel(&self, token: u64) {
        self.store.cancel(token);
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Vec<Drained<'py>>> {
        let completions = py.detach(|| self.store.drain());
        completions
            .into_iter()
            .map(|completion| match completion.result {
                Ok(reply) => Ok((completion.token, None, answer(py, reply)?)),
                Err(e) => {
                    let message = e.message.into_pyobject(py)?.into_any();
                    Ok((completion.token, Some(e.kind.name()), message))
                }
            })
            .collect()
    }
}

type Drained<'py> = (u64, Option<&'static str>, Bound<'py, PyAny>);

fn answer(py: Python<'_>, reply: Reply) -> PyResult<Bound<'_, PyAny>> {
    match reply {
        Reply::Done => Ok(py.None().into_bound(py)),
        Reply::Data(bytes) => Ok(Buf::new(bytes).into_pyobject(py)?.into_any()),
        Reply::Ranges(ranges) => {
            let bufs: Vec<Buf> = ranges.into_iter().map(Buf::read).collect();
            bufs.into_pyobject(py)
        }
        Reply::Info(info) => known(info).into_pyobject(py).map(Bound::into_any),
        Reply::Deleted { failed } => {
            let failed: Vec<_> = failed
                .into_iter()
                .map(|(key, error)| (key, error.kind.name(), error.message))
                .collect();
            failed.into_pyobject(py).map(Bound::into_any)
        }
        Reply::Page { objects, next } => {
            let objects: Vec<_> = objects.into_iter().map(known).collect();
            (objects, next).into_pyobject(py).map(Bound::into_any)
        }
        Reply::Settings(settings) => {
            let answers: Vec<_> = settings
                .answers
                .into_iter()
                .map(|(question, answer)| match answer {
                    Ok(text) => (question, None, text),
                    Err(error) => (question, Some(error.kind.name()), error.message),
                })
                .collect();
            (settings.prefix, answers).into_pyobject(py).map(Bound::into_any)
        }
    }
}

fn known(info: Info) -> (String, u64, i64) {
    (info.key, info.size_bytes, info.modified_ms)
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("BLOB_MULTIPART_BYTES", MULTIPART_BYTES)?;
    m.add("BLOB_PART_BYTES", PART_BYTES)?;
    m.add("BlobError", m.py().get_type::<BlobError>())?;
    m.add_class::<BlobStore>()
}
