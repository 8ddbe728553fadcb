//! Binding of `automq-codec`: messages as `msgspec.Struct`s, built and read without a tree between.

mod builder;
mod class;
mod frames;
mod object;
mod source;

use automq_codec::{self as codec, Fault, Malformed, Message, Segment, Unencodable};
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyType};

use self::builder::StructBuilder;
use self::class::MessageClass;
use self::object::Object;
use self::source::StructSource;
use crate::buf::{Buf, Octets};

create_exception!(automq._native, MalformedMessage, PyValueError);
create_exception!(automq._native, UnencodableMessage, PyValueError);
create_exception!(automq._native, FrameTooLarge, PyValueError);

/// Records from this size on are not copied into a response.
const SHARE_FROM_BYTES: usize = 4096;

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("MalformedMessage", m.py().get_type::<MalformedMessage>())?;
    m.add("UnencodableMessage", m.py().get_type::<UnencodableMessage>())?;
    m.add("FrameTooLarge", m.py().get_type::<FrameTooLarge>())?;
    m.add_class::<RequestHead>()?;
    m.add_class::<frames::Frames>()?;
    m.add_function(wrap_pyfunction!(read_request_header, m)?)?;
    m.add_function(wrap_pyfunction!(response_header_version, m)?)?;
    m.add_function(wrap_pyfunction!(decode_message, m)?)?;
    m.add_function(wrap_pyfunction!(encode_message, m)?)?;
    m.add_function(wrap_pyfunction!(encode_request, m)?)?;
    m.add_function(wrap_pyfunction!(encode_response, m)?)
}

#[pyclass(frozen, get_all, module = "automq._native")]
struct RequestHead {
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    client_id: Option<Py<PyString>>,
    body_at: usize,
}

#[pymethods]
impl RequestHead {
    fn __repr__(&self, py: Python<'_>) -> String {
        let Self { api_key, api_version, correlation_id, body_at, .. } = self;
        let client = self.client_id.as_ref().map_or("None".to_owned(), |id| {
            id.bind(py).repr().map_or("?".to_owned(), |text| text.to_string())
        });
        format!(
            "RequestHead(api_key={api_key}, api_version={api_version}, \
             correlation_id={correlation_id}, client_id={client}, body_at={body_at})"
        )
    }
}

/// Bytes to decode: those of a `Buf` can be shared, others are copied where they must be kept.
enum Data<'a> {
    Shared(&'a Buf),
    Borrowed(&'a [u8]),
    Copied(Octets),
}

impl<'a> Data<'a> {
    fn of(object: &'a Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(buf) = object.cast::<Buf>() {
            return Ok(Self::Shared(buf.get()));
        }
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Borrowed(bytes.as_bytes()));
        }
        Ok(Self::Copied(object.extract()?))
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(buf) => &buf.bytes,
            Self::Borrowed(bytes) => bytes,
            Self::Copied(octets) => &octets.0,
        }
    }
}

#[pyfunction]
fn read_request_header(py: Python<'_>, frame: &Bound<'_, PyAny>) -> PyResult<RequestHead> {
    let data = Data::of(frame)?;
    let head = codec::read_request_header(data.as_slice()).map_err(malformed)?;
    Ok(RequestHead {
        api_key: head.api_key,
        api_version: head.api_version,
        correlation_id: head.correlation_id,
        client_id: head.client_id.map(|id| PyString::new(py, id).unbind()),
        body_at: head.body_at,
    })
}

#[pyfunction]
#[pyo3(signature = (cls, data, version, at=0))]
fn decode_message<'py>(
    cls: &Bound<'py, PyType>,
    data: &Bound<'py, PyAny>,
    version: i16,
    at: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let class = MessageClass::of(cls)?;
    let data = Data::of(data)?;
    let shared = match &data {
        Data::Shared(buf) => Some(&buf.bytes),
        Data::Copied(octets) => Some(&octets.0),
        Data::Borrowed(_) => None,
    };
    let bytes = data.as_slice();
    let mut builder = StructBuilder { py: cls.py(), class, bytes, shared };
    match codec::decode(class.message, version, bytes, at, &mut builder) {
        Ok(value) => Ok(value.into_bound(cls.py())),
        Err(Fault::Malformed(error)) => Err(malformed(error)),
        Err(Fault::Builder(error)) => Err(error),
    }
}

#[pyfunction]
fn encode_message<'py>(msg: &Bound<'py, PyAny>, version: i16) -> PyResult<Bound<'py, PyBytes>> {
    let segments = encode(msg, version, usize::MAX, |_| Vec::with_capacity(256))?;
    joined(msg.py(), &segments)
}

#[pyfunction]
fn encode_request<'py>(
    msg: &Bound<'py, PyAny>,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> PyResult<Bound<'py, PyBytes>> {
    let client_id = client_id.map(str::as_bytes);
    if client_id.is_some_and(|id| id.len() > i16::MAX as usize) {
        return Err(UnencodableMessage::new_err(("RequestHeader.client_id", "is too long")));
    }
    let mut segments = encode(msg, version, usize::MAX, |message| {
        let mut out = vec![0; 4];
        out.extend_from_slice(&message.api_key.unwrap_or(-1).to_be_bytes());
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&correlation_id.to_be_bytes());
        out.extend_from_slice(&client_id.map_or(-1, |id| id.len() as i16).to_be_bytes());
        out.extend_from_slice(client_id.unwrap_or_default());
        if message.flexible.contain(version) {
            out.push(0);
        }
        out
    })?;
    put_length(&mut segments)?;
    joined(msg.py(), &segments)
}

#[pyfunction]
fn response_header_version(cls: &Bound<'_, PyType>, version: i16) -> PyResult<i16> {
    Ok(codec::response_header_version(MessageClass::of(cls)?.message, version))
}

#[pyfunction]
fn encode_response<'py>(
    msg: &Bound<'py, PyAny>,
    version: i16,
    correlation_id: i32,
) -> PyResult<Bound<'py, PyList>> {
    let mut segments = encode(msg, version, SHARE_FROM_BYTES, |message| {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&correlation_id.to_be_bytes());
        if codec::response_header_version(message, version) > 0 {
            out.push(0);
        }
        out
    })?;
    put_length(&mut segments)?;
    let list = PyList::empty(msg.py());
    for segment in segments {
        match segment {
            Segment::Written(bytes) => list.append(PyBytes::new(msg.py(), &bytes))?,
            Segment::Shared(bytes) => list.append(Bound::new(msg.py(), Buf::new(bytes))?)?,
        }
    }
    Ok(list)
}

fn encode(
    msg: &Bound<'_, PyAny>,
    version: i16,
    share_from_bytes: usize,
    head: impl FnOnce(&Message) -> Vec<u8>,
) -> PyResult<Vec<Segment>> {
    let class = MessageClass::of(&msg.get_type())?;
    let value = Object::from_bound(msg.clone());
    let source = StructSource { py: msg.py(), class };
    let head = head(class.message);
    codec::encode(class.message, version, &value, &source, head, share_from_bytes)
        .map_err(unencodable)
}

/// Writes the length of the frame into the four bytes left for it.
fn put_length(segments: &mut [Segment]) -> PyResult<()> {
    let length = segments.iter().map(|segment| segment_bytes(segment).len()).sum::<usize>() - 4;
    let length = i32::try_from(length)
        .map_err(|_| UnencodableMessage::new_err(("frame", format!("{length} bytes"))))?;
    if let Some(Segment::Written(bytes)) = segments.first_mut() {
        bytes[..4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn joined<'py>(py: Python<'py>, segments: &[Segment]) -> PyResult<Bound<'py, PyBytes>> {
    if let [Segment::Written(bytes)] = segments {
        return Ok(PyBytes::new(py, bytes));
    }
    let length = segments.iter().map(|segment| segment_bytes(segment).len()).sum();
    PyBytes::new_with(py, length, |mut out| {
        for segment in segments {
            let (here, rest) = out.split_at_mut(segment_bytes(segment).len());
            here.copy_from_slice(segment_bytes(segment));
            out = rest;
        }
        Ok(())
    })
}

fn segment_bytes(segment: &Segment) -> &[u8] {
    match segment {
        Segment::Written(bytes) => bytes,
        Segment::Shared(bytes) => bytes,
    }
}

fn malformed(error: Malformed) -> PyErr {
    MalformedMessage::new_err((error.path().to_string(), error.why().to_owned()))
}

fn unencodable(error: Unencodable) -> PyErr {
    UnencodableMessage::new_err((error.path().to_string(), error.why().to_owned()))
}
