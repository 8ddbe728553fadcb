//! The Kafka wire protocol: frames, and a codec that runs message schemas. No I/O.
//!
//! [`message`] finds a message by name; [`decode`] and [`encode`] run its table for one version,
//! building and reading values through the [`Builder`] and [`Source`] of the caller, so that no
//! tree stands between the bytes and the caller's own objects.

mod decode;
mod encode;
mod error;
mod frames;
mod header;
mod plan;
mod produce;
mod schema;
mod wire;

pub use decode::{Builder, Fault, decode};
pub use encode::{Segment, Source, encode};
pub use error::{FrameTooLarge, Malformed, Unencodable};
pub use frames::{Frames, Room};
pub use header::{RequestHead, read_request_header, response_header_version};
pub use produce::{PlainPart, PlainProduce, PlainTopic, ProduceRow};
pub use schema::{Default, Field, Kind, Message, Shape, Struct, message, names};
