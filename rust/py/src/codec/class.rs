//! The Python classes of a message, and how to read and default their fields.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use automq_codec::{self as codec, Default, Field, Kind, Message, Shape};
use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};

/// Where the generated classes live; nothing else is a message.
const PACKAGE: &str = "automq.protocol.messages.";
const UNKNOWN_TAGGED_FIELDS: &str = "unknown_tagged_fields";

/// By the address of the class. Classes stay: each is kept alive by its entry.
static CLASSES: LazyLock<Mutex<HashMap<usize, &'static MessageClass>>> =
    LazyLock::new(Mutex::default);

pub struct MessageClass {
    pub message: &'static Message,
    /// By the index of [`Message::structs`].
    pub structs: Vec<StructClass>,
}

pub struct StructClass {
    pub name: &'static str,
    pub class: Py<PyAny>,
    pub fields: Vec<Slot>,
    pub defaults: Vec<FieldDefault>,
    pub unknown: Option<Slot>,
}

/// Reads one field of an instance: the descriptor in the class, asked directly.
pub struct Slot {
    descriptor: Py<PyAny>,
    get: ffi::descrgetfunc,
}

pub enum FieldDefault {
    Value(Py<PyAny>),
    EmptyList,
    Struct(usize),
}

impl MessageClass {
    /// What is known about a class, found out when it is first used.
    pub fn of(class: &Bound<'_, PyType>) -> PyResult<&'static Self> {
        let address = class.as_ptr() as usize;
        // No Python code runs while this is held.
        let known = CLASSES.lock().unwrap_or_else(PoisonError::into_inner).get(&address).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let found: &'static Self = Box::leak(Box::new(Self::inspect(class)?));
        CLASSES.lock().unwrap_or_else(PoisonError::into_inner).insert(address, found);
        Ok(found)
    }

    fn inspect(class: &Bound<'_, PyType>) -> PyResult<Self> {
        let (module, name) = (class.module()?.to_string(), class.name()?.to_string());
        let message = codec::message(&name).filter(|_| module.starts_with(PACKAGE));
        let message = message.ok_or_else(|| {
            PyTypeError::new_err(format!("{module}.{name} is not the class of a message"))
        })?;
        let module = class.py().import(module)?;
        let mut structs = Vec::with_capacity(message.structs.len());
        for structure in &message.structs {
            let class = module.getattr(structure.name)?.cast_into::<PyType>()?;
            structs.push(StructClass::inspect(message, &structure.fields, structure.name, class)?);
        }
        Ok(Self { message, structs })
    }
}

impl StructClass {
    fn inspect(
        message: &Message,
        fields: &[Field],
        name: &'static str,
        class: Bound<'_, PyType>,
    ) -> PyResult<Self> {
        let mut expected: Vec<&str> = fields.iter().map(|field| field.name).collect();
        if message.can_be_flexible() {
            expected.push(UNKNOWN_TAGGED_FIELDS);
        }
        let found: Vec<String> = class.getattr("__struct_fields__")?.extract()?;
        if found != expected {
            let why = format!("{name} has the fields {found:?}, its schema says {expected:?}");
            return Err(PyAssertionError::new_err(why));
        }
        let slot = |name: &str| Slot::find(&class, name);
        Ok(Self {
            name,
            fields: fields.iter().map(|field| slot(field.name)).collect::<PyResult<_>>()?,
            defaults: fields
                .iter()
                .map(|field| FieldDefault::of(class.py(), field))
                .collect::<PyResult<_>>()?,
            unknown: message.can_be_flexible().then(|| slot(UNKNOWN_TAGGED_FIELDS)).transpose()?,
            class: class.into_any().unbind(),
        })
    }
}

impl Slot {
    fn find(class: &Bound<'_, PyType>, name: &str) -> PyResult<Self> {
        let descriptor = class.getattr(name)?;
        let kind = descriptor.get_type();
        // SAFETY: the slot of a type that is alive; `Py_tp_descr_get` holds a `descrgetfunc`.
        let get = unsafe { ffi::PyType_GetSlot(kind.as_type_ptr(), ffi::Py_tp_descr_get) };
        if get.is_null() {
            return Err(PyTypeError::new_err(format!("{name} of {class} is not a field")));
        }
        // SAFETY: as above, and it is not null.
        let get = unsafe { std::mem::transmute::<*mut std::ffi::c_void, ffi::descrgetfunc>(get) };
        Ok(Self { descriptor: descriptor.unbind(), get })
    }

    /// A new reference to the field of `object`, or null with an error set if it is not set.
    ///
    /// # Safety
    /// `object` is an instance of the class that the slot was found in.
    pub unsafe fn get(&self, object: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: what a descriptor's getter asks for.
        unsafe { (self.get)(self.descriptor.as_ptr(), object, ffi::Py_TYPE(object).cast()) }
    }
}

impl FieldDefault {
    fn of(py: Python<'_>, field: &Field) -> PyResult<Self> {
        let value = match (field.shape, field.default) {
            (_, Default::Null) => py.None(),
            (Shape { array: true, .. }, _) => return Ok(Self::EmptyList),
            (Shape { kind: Kind::Struct(index), .. }, _) => return Ok(Self::Struct(index)),
            (_, Default::Integer(number)) => number.into_pyobject(py)?.into_any().unbind(),
            (Shape { kind: Kind::Bool, .. }, default) => {
                (default == Default::True).into_pyobject(py)?.to_owned().into_any().unbind()
            }
            (Shape { kind: Kind::Float64, .. }, _) => 0_f64.into_pyobject(py)?.into_any().unbind(),
            (Shape { kind: Kind::Uuid, .. }, _) => PyBytes::new(py, &[0; 16]).into_any().unbind(),
            (Shape { kind: Kind::Bytes, .. }, _) => PyBytes::new(py, b"").into_any().unbind(),
            (Shape { kind: Kind::String, .. }, _) => PyString::new(py, "").into_any().unbind(),
            (_, _) => 0_i64.into_pyobject(py)?.into_any().unbind(),
        };
        Ok(Self::Value(value))
    }
}
