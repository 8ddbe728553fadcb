//! `Frames`, whose own buffer is the room for the next read.

use std::ffi::{CString, c_int};
use std::ptr;

use automq_codec::{self as codec, Room};
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::FrameTooLarge;
use crate::buf::Buf;

/// A view of the room, kept while Python may write into it.
struct View {
    room: Room,
    shape: ffi::Py_ssize_t,
    stride: ffi::Py_ssize_t,
    format: Option<CString>,
}

#[pyclass(module = "automq._native")]
pub struct Frames {
    frames: codec::Frames,
}

#[pymethods]
impl Frames {
    #[new]
    fn new(max_frame_bytes: usize) -> Self {
        Self { frames: codec::Frames::new(max_frame_bytes) }
    }

    /// This object, whose buffer is where the next bytes go.
    #[pyo3(signature = (size_hint, /))]
    fn get_buffer(slf: Bound<'_, Self>, size_hint: isize) -> Bound<'_, Self> {
        let _ = size_hint;
        slf
    }

    /// The frames that `count` bytes written to the buffer complete.
    fn received(&mut self, py: Python<'_>, count: usize) -> PyResult<Vec<Py<Buf>>> {
        if count > self.frames.room().len() {
            let room = self.frames.room().len();
            return Err(PyValueError::new_err(format!("{count} bytes cannot be in {room}")));
        }
        // SAFETY: by the contract in the stub: the caller has written them, and is done with it.
        let frames = unsafe { self.frames.received(count) };
        let frames =
            frames.map_err(|error| FrameTooLarge::new_err((error.size_bytes, error.max_bytes)))?;
        frames.into_iter().map(|frame| Py::new(py, Buf::new(frame))).collect()
    }

    fn __len__(&mut self) -> usize {
        self.frames.room().len()
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
        let room = slf.borrow_mut().frames.room();
        let length = room.len() as ffi::Py_ssize_t;
        let format = (flags & ffi::PyBUF_FORMAT == ffi::PyBUF_FORMAT).then(|| c"B".to_owned());
        let held = Box::into_raw(Box::new(View { room, shape: length, stride: 1, format }));
        // SAFETY: `view` is valid for writes; `held` lives until `__releasebuffer__`, and keeps
        // the memory alive even when `Frames` has moved on.
        unsafe {
            (*view).obj = slf.into_any().into_ptr();
            (*view).buf = (*held).room.as_mut_ptr().cast();
            (*view).len = length;
            (*view).readonly = 0;
            (*view).itemsize = 1;
            (*view).format = match &(*held).format {
                Some(format) => format.as_ptr().cast_mut(),
                None => ptr::null_mut(),
            };
            (*view).ndim = 1;
            (*view).shape = if flags & ffi::PyBUF_ND == ffi::PyBUF_ND {
                &mut (*held).shape
            } else {
                ptr::null_mut()
            };
            (*view).strides = if flags & ffi::PyBUF_STRIDES == ffi::PyBUF_STRIDES {
                &mut (*held).stride
            } else {
                ptr::null_mut()
            };
            (*view).suboffsets = ptr::null_mut();
            (*view).internal = held.cast();
        }
        Ok(())
    }

    /// # Safety
    /// `view` was filled by `__getbuffer__`.
    unsafe fn __releasebuffer__(_slf: Bound<'_, Self>, view: *mut ffi::Py_buffer) {
        // SAFETY: `internal` came from `Box::into_raw` above.
        unsafe { drop(Box::from_raw((*view).internal.cast::<View>())) }
    }
}
