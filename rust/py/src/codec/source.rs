//! Reads messages while they are encoded. No Python code runs meanwhile.

use automq_codec::Source;
use bytes::Bytes;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};

use super::class::{MessageClass, Slot};
use super::object::Object;
use crate::buf::Buf;

pub struct StructSource<'py> {
    pub py: Python<'py>,
    pub class: &'static MessageClass,
}

type Answer<T> = Result<T, String>;

impl StructSource<'_> {
    fn slot_of(&self, of: &Object, structure: usize, slot: &Slot) -> Answer<Object> {
        let expected = &self.class.structs[structure];
        // SAFETY: `of` is alive; the slot was found in exactly its class.
        unsafe {
            if ffi::Py_TYPE(of.as_ptr()).cast() != expected.class.as_ptr() {
                return Err(format!("is {}, not {}", self.type_name(of), expected.name));
            }
            Object::from_owned(self.py, slot.get(of.as_ptr())).map_err(|error| error.to_string())
        }
    }

    fn type_name(&self, value: &Object) -> String {
        let kind = value.bound(self.py).get_type();
        kind.name().map_or_else(|_| "something odd".to_owned(), |name| name.to_string())
    }

    fn mismatch<T>(&self, value: &Object, expected: &str) -> Answer<T> {
        Err(format!("is {}, not {expected}", self.type_name(value)))
    }

    fn piece(&self, value: &Borrowed<'_, '_, PyAny>) -> Option<Bytes> {
        if let Ok(buf) = value.cast::<Buf>() {
            return Some(buf.get().bytes.clone());
        }
        let bytes = value.cast::<PyBytes>().ok()?;
        Some(Bytes::copy_from_slice(bytes.as_bytes()))
    }
}

impl Source for StructSource<'_> {
    type Value = Object;

    fn field(&self, of: &Object, structure: usize, field: usize) -> Answer<Object> {
        self.slot_of(of, structure, &self.class.structs[structure].fields[field])
    }

    fn unknown_tagged_fields(&self, of: &Object, structure: usize) -> Answer<Vec<(u32, Bytes)>> {
        let Some(slot) = &self.class.structs[structure].unknown else { return Ok(Vec::new()) };
        let value = self.slot_of(of, structure, slot)?;
        if self.is_null(&value) {
            return Ok(Vec::new());
        }
        let pairs = value.bound(self.py).extract::<Vec<(u32, Vec<u8>)>>();
        let pairs = pairs.map_err(|error| format!("unknown_tagged_fields: {error}"))?;
        Ok(pairs.into_iter().map(|(tag, data)| (tag, data.into())).collect())
    }

    fn is_null(&self, value: &Object) -> bool {
        // SAFETY: compares addresses.
        value.as_ptr() == unsafe { ffi::Py_None() }
    }

    fn boolean(&self, value: &Object) -> Answer<bool> {
        match value.bound(self.py).cast::<PyBool>() {
            Ok(flag) => Ok(flag.is_true()),
            Err(_) => self.mismatch(value, "bool"),
        }
    }

    fn integer(&self, value: &Object) -> Answer<i64> {
        // SAFETY: `value` is alive; only an int is converted, which runs no Python code.
        let number = unsafe {
            if ffi::PyLong_Check(value.as_ptr()) == 0 {
                return self.mismatch(value, "int");
            }
            ffi::PyLong_AsLongLong(value.as_ptr())
        };
        if number == -1 && PyErr::take(self.py).is_some() {
            return Err("does not fit in 8 bytes".to_owned());
        }
        Ok(number)
    }

    fn float(&self, value: &Object) -> Answer<f64> {
        let object = value.bound(self.py);
        if !object.is_instance_of::<PyFloat>() && !object.is_instance_of::<PyInt>() {
            return self.mismatch(value, "float");
        }
        object.extract().map_err(|error: PyErr| error.to_string())
    }

    fn text<'a>(&self, value: &'a Object) -> Answer<&'a str> {
        if !value.bound(self.py).is_instance_of::<PyString>() {
            return self.mismatch(value, "str");
        }
        let mut length = 0;
        // SAFETY: a str; its UTF-8 form lives as long as it does, and is valid.
        unsafe {
            let start = ffi::PyUnicode_AsUTF8AndSize(value.as_ptr(), &mut length);
            if start.is_null() {
                let error = PyErr::fetch(self.py);
                return Err(format!("has no form in UTF-8: {error}"));
            }
            let bytes = std::slice::from_raw_parts(start.cast(), length as usize);
            Ok(std::str::from_utf8_unchecked(bytes))
        }
    }

    fn bytes<'a>(&self, value: &'a Object) -> Answer<&'a [u8]> {
        let object = value.bound(self.py);
        let (start, length) = match (object.cast::<PyBytes>(), object.cast::<Buf>()) {
            (Ok(bytes), _) => (bytes.as_bytes().as_ptr(), bytes.as_bytes().len()),
            (_, Ok(buf)) => (buf.get().bytes.as_ptr(), buf.get().bytes.len()),
            _ => return self.mismatch(value, "bytes"),
        };
        // SAFETY: both are immutable and live as long as `value`.
        Ok(unsafe { std::slice::from_raw_parts(start, length) })
    }

    fn records(&self, value: &Object) -> Answer<Vec<Bytes>> {
        let object = value.bound(self.py);
        if let Some(piece) = self.piece(&object) {
            return Ok(vec![piece]);
        }
        let mut pieces = Vec::new();
        for index in 0..self.count(value)? {
            let element = self.element(value, index)?;
            match self.piece(&element.bound(self.py)) {
                Some(piece) => pieces.push(piece),
                None => return self.mismatch(&element, "Buf"),
            }
        }
        Ok(pieces)
    }

    fn count(&self, array: &Object) -> Answer<usize> {
        // SAFETY: `array` is alive, and of the type each function wants.
        let count = unsafe {
            if ffi::PyList_Check(array.as_ptr()) != 0 {
                ffi::PyList_Size(array.as_ptr())
            } else if ffi::PyTuple_Check(array.as_ptr()) != 0 {
                ffi::PyTuple_Size(array.as_ptr())
            } else {
                return self.mismatch(array, "list");
            }
        };
        Ok(usize::try_from(count).unwrap_or_default())
    }

    fn element(&self, array: &Object, index: usize) -> Answer<Object> {
        // SAFETY: `array` is a list or a tuple; null with an error if it has shrunk meanwhile.
        unsafe {
            let index = index as ffi::Py_ssize_t;
            let element = if ffi::PyList_Check(array.as_ptr()) != 0 {
                ffi::PyList_GetItem(array.as_ptr(), index)
            } else {
                ffi::PyTuple_GetItem(array.as_ptr(), index)
            };
            if element.is_null() {
                return Err(PyErr::fetch(self.py).to_string());
            }
            Ok(Object::from_borrowed(element))
        }
    }
}
