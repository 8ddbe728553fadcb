//! Builds messages while they are decoded.

use automq_codec::Builder;
use bytes::Bytes;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::class::{FieldDefault, MessageClass};
use super::object::Object;
use crate::buf::Buf;

// In the stable ABI since 3.12, and exported with the same signature by 3.11, our oldest; the
// alternatives that 3.11 promises build a tuple for every struct.
unsafe extern "C" {
    fn PyObject_Vectorcall(
        callable: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

pub struct StructBuilder<'a, 'py> {
    pub py: Python<'py>,
    pub class: &'static MessageClass,
    /// What is decoded, and the same as shared memory where it is.
    pub bytes: &'a [u8],
    pub shared: Option<&'a Bytes>,
}

impl StructBuilder<'_, '_> {
    fn call(&self, structure: usize, arguments: &[Object]) -> PyResult<Object> {
        let class = self.class.structs[structure].class.as_ptr();
        let first = arguments.as_ptr().cast::<*mut ffi::PyObject>();
        // SAFETY: `Object` is a transparent pointer to a live object; a call borrows its arguments.
        unsafe {
            let made = PyObject_Vectorcall(class, first, arguments.len(), std::ptr::null_mut());
            Object::from_owned(self.py, made)
        }
    }
}

impl Builder for StructBuilder<'_, '_> {
    type Value = Object;
    type Error = PyErr;

    fn null(&mut self) -> Object {
        // SAFETY: None lives for ever.
        unsafe { Object::from_borrowed(ffi::Py_None()) }
    }

    fn boolean(&mut self, value: bool) -> Object {
        // SAFETY: True and False live for ever.
        unsafe { Object::from_borrowed(if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    fn integer(&mut self, value: i64) -> PyResult<Object> {
        // SAFETY: returns a new reference or null with an error.
        unsafe { Object::from_owned(self.py, ffi::PyLong_FromLongLong(value)) }
    }

    fn float(&mut self, value: f64) -> PyResult<Object> {
        // SAFETY: returns a new reference or null with an error.
        unsafe { Object::from_owned(self.py, ffi::PyFloat_FromDouble(value)) }
    }

    fn text(&mut self, value: &str) -> PyResult<Object> {
        let (start, length) = (value.as_ptr().cast(), value.len() as ffi::Py_ssize_t);
        // SAFETY: copies `length` bytes from `start`; a new reference or null with an error.
        unsafe { Object::from_owned(self.py, ffi::PyUnicode_FromStringAndSize(start, length)) }
    }

    fn bytes(&mut self, value: &[u8]) -> PyResult<Object> {
        Ok(Object::from_bound(PyBytes::new(self.py, value)))
    }

    fn records(&mut self, start: usize, end: usize) -> PyResult<Object> {
        let records = match self.shared {
            Some(shared) => shared.slice(start..end),
            None => Bytes::copy_from_slice(&self.bytes[start..end]),
        };
        Ok(Object::from_bound(Bound::new(self.py, Buf::new(records))?))
    }

    fn default(&mut self, structure: usize, field: usize) -> PyResult<Object> {
        match &self.class.structs[structure].defaults[field] {
            // SAFETY: the class keeps the value alive.
            FieldDefault::Value(value) => Ok(unsafe { Object::from_borrowed(value.as_ptr()) }),
            FieldDefault::EmptyList => Ok(Object::from_bound(PyList::empty(self.py))),
            FieldDefault::Struct(inner) => self.call(*inner, &[]),
        }
    }

    fn array(&mut self, stack: &mut Vec<Object>, base: usize) -> PyResult<Object> {
        let count = stack.len() - base;
        // SAFETY: a new list of `count` empty places, each of which takes over one reference.
        unsafe {
            let list = ffi::PyList_New(count as ffi::Py_ssize_t);
            let made = Object::from_owned(self.py, list)?;
            for (index, value) in stack.drain(base..).enumerate() {
                ffi::PyList_SetItem(list, index as ffi::Py_ssize_t, value.into_ptr());
            }
            Ok(made)
        }
    }

    fn structure(
        &mut self,
        structure: usize,
        stack: &mut Vec<Object>,
        base: usize,
        unknown: &[(u32, &[u8])],
    ) -> PyResult<Object> {
        if !unknown.is_empty() {
            let pairs = unknown.iter().map(|(tag, data)| (*tag, PyBytes::new(self.py, data)));
            stack.push(Object::from_bound(PyList::new(self.py, pairs.collect::<Vec<_>>())?));
        }
        let made = self.call(structure, &stack[base..]);
        stack.truncate(base);
        made
    }
}
