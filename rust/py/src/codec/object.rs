//! `Object`: an owned reference to a Python object, for rows of them that C functions take.

use std::ptr::NonNull;

use pyo3::ffi;
use pyo3::prelude::*;

/// Owned, and only ever used, and dropped, while the GIL is held: by one call into this module.
#[repr(transparent)]
pub struct Object(NonNull<ffi::PyObject>);

impl Object {
    pub fn from_bound<T>(object: Bound<'_, T>) -> Self {
        // SAFETY: an owned pointer of pyo3 is not null, and `into_ptr` passes the ownership on.
        Self(unsafe { NonNull::new_unchecked(object.into_ptr()) })
    }

    /// Takes over the reference that a C function returned; its error, if that is null.
    ///
    /// # Safety
    /// `pointer` is null with a Python error set, or a reference that the caller owns.
    pub unsafe fn from_owned(py: Python<'_>, pointer: *mut ffi::PyObject) -> PyResult<Self> {
        NonNull::new(pointer).map(Self).ok_or_else(|| PyErr::fetch(py))
    }

    /// A further reference.
    ///
    /// # Safety
    /// `pointer` is a live object.
    pub unsafe fn from_borrowed(pointer: *mut ffi::PyObject) -> Self {
        // SAFETY: by the contract above.
        unsafe {
            ffi::Py_INCREF(pointer);
            Self(NonNull::new_unchecked(pointer))
        }
    }

    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives up the reference.
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    pub fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: the reference is owned and passed on.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }

    pub fn bound<'a, 'py>(&'a self, py: Python<'py>) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: the object lives as long as `self`.
        unsafe { Borrowed::from_ptr(py, self.as_ptr()) }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the reference is owned, and the GIL is held (see the type).
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}
