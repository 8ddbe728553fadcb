//! `Buf`: bytes shared between the native core and Python without a copy.

use std::ffi::{CString, c_int};
use std::ptr;

use automq_blob::Part;
use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyIndexError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// An immutable, reference-counted run of bytes. Supports the buffer protocol, `len`, `==`, `bytes()`.
#[pyclass(frozen, module = "automq._native")]
pub struct Buf {
    pub bytes: Bytes,
    /// The CRC-32C of all of them, where it was made when they were read.
    pub crc32c: Option<u32>,
}

impl Buf {
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, crc32c: None }
    }

    pub fn read(part: Part) -> Self {
        Self { bytes: part.bytes, crc32c: part.crc32c }
    }
}

#[pymethods]
impl Buf {
    #[new]
    fn from_python(data: Octets) -> Self {
        Self::new(data.0)
    }

    /// The bytes of `[start, end)`, sharing memory with this one.
    fn slice(&self, start: usize, end: usize) -> PyResult<Self> {
        if start > end || end > self.bytes.len() {
            let length = self.bytes.len();
            return Err(PyIndexError::new_err(format!("[{start}, {end}) of {length} bytes")));
        }
        Ok(Self::new(self.bytes.slice(start..end)))
    }

    fn __len__(&self) -> usize {
        self.bytes.len()
    }

    fn __eq__(&self, other: Octets) -> bool {
        self.bytes == other.0
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }

    fn __repr__(&self) -> String {
        format!("Buf({} bytes)", self.bytes.len())
    }

    /// # Safety
    /// `view` is the struct that CPython handed us to fill.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("view is null"));
        }
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("a Buf is read-only"));
        }
        let (data, length) = (slf.get().bytes.as_ptr(), slf.get().bytes.len());
        // SAFETY: `view` is valid for writes; the memory lives as long as `obj`, which the view owns.
        unsafe {
            (*view).obj = slf.into_any().into_ptr();
            (*view).buf = data as *mut _;
            (*view).len = length as isize;
            (*view).readonly = 1;
            (*view).itemsize = 1;
            (*view).format = if flags & ffi::PyBUF_FORMAT == ffi::PyBUF_FORMAT {
                CString::from(c"B").into_raw()
            } else {
                ptr::null_mut()
            };
            (*view).ndim = 1;
            (*view).shape = if flags & ffi::PyBUF_ND == ffi::PyBUF_ND {
                &mut (*view).len
            } else {
                ptr::null_mut()
            };
            (*view).strides = if flags & ffi::PyBUF_STRIDES == ffi::PyBUF_STRIDES {
                &mut (*view).itemsize
            } else {
                ptr::null_mut()
            };
            (*view).suboffsets = ptr::null_mut();
            (*view).internal = ptr::null_mut();
        }
        Ok(())
    }

    /// # Safety
    /// `view` was filled by `__getbuffer__`.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: `format` is null or came from `CString::into_raw` above.
        unsafe {
            if !(*view).format.is_null() {
                drop(CString::from_raw((*view).format));
            }
        }
    }
}

/// Bytes taken from Python: a `Buf` is shared, anything else with a contiguous buffer is copied.
pub struct Octets(pub Bytes);

impl<'a, 'py> FromPyObject<'a, 'py> for Octets {
    type Error = PyErr;

    fn extract(obj: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(buf) = obj.cast::<Buf>() {
            return Ok(Self(buf.get().bytes.clone()));
        }
        if let Ok(bytes) = obj.cast::<PyBytes>() {
            return Ok(Self(Bytes::copy_from_slice(bytes.as_bytes())));
        }
        let view = PyBuffer::<u8>::get(&obj)?;
        Ok(Self(view.to_vec(obj.py())?.into()))
    }
}
