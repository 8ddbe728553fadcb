//! Decoding: one pass over the bytes, values built by the caller's [`Builder`] as they are met.

use crate::error::Malformed;
use crate::plan::{Plan, Presence, Step, StructPlan};
use crate::schema::{Kind, Message, Shape};
use crate::wire::Reader;

/// Makes the caller's values. Positions count from the start of the bytes given to [`decode`].
///
/// Structs and arrays take what they are made of from the top of the decoder's stack.
pub trait Builder {
    type Value;
    type Error;

    fn null(&mut self) -> Self::Value;
    fn boolean(&mut self, value: bool) -> Self::Value;
    fn integer(&mut self, value: i64) -> Result<Self::Value, Self::Error>;
    fn float(&mut self, value: f64) -> Result<Self::Value, Self::Error>;
    fn text(&mut self, value: &str) -> Result<Self::Value, Self::Error>;
    /// A value of type `bytes` or `uuid`.
    fn bytes(&mut self, value: &[u8]) -> Result<Self::Value, Self::Error>;
    /// The records at `[start, end)` of the bytes being decoded.
    fn records(&mut self, start: usize, end: usize) -> Result<Self::Value, Self::Error>;
    /// The default of a field: an index into [`Message::structs`], and one into its fields.
    fn default(&mut self, structure: usize, field: usize) -> Result<Self::Value, Self::Error>;
    /// An array of the values from `base` up, which it removes.
    fn array(
        &mut self,
        stack: &mut Vec<Self::Value>,
        base: usize,
    ) -> Result<Self::Value, Self::Error>;
    /// A struct whose fields, all of them and in order, are the values from `base` up, which it
    /// removes. `unknown` holds the tagged fields that the schema does not know.
    fn structure(
        &mut self,
        structure: usize,
        stack: &mut Vec<Self::Value>,
        base: usize,
        unknown: &[(u32, &[u8])],
    ) -> Result<Self::Value, Self::Error>;
}

/// Why there is no value: the bytes are wrong, or the builder could not build.
#[derive(Debug)]
pub enum Fault<E> {
    Malformed(Malformed),
    Builder(E),
}

impl<E> From<Malformed> for Fault<E> {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl<E> Fault<E> {
    fn within(self, name: &'static str) -> Self {
        match self {
            Self::Malformed(error) => Self::Malformed(error.within(name)),
            Self::Builder(error) => Self::Builder(error),
        }
    }
}

/// The message that begins at `at`, in `version`. Bytes behind it are ignored, as Kafka does.
pub fn decode<B: Builder>(
    message: &'static Message,
    version: i16,
    bytes: &[u8],
    at: usize,
    builder: &mut B,
) -> Result<B::Value, Fault<B::Error>> {
    let outermost = |fault: Fault<B::Error>| fault.within(message.name);
    let plan = message.plan(version).ok_or_else(|| {
        let (first, last) = (message.versions.first, message.versions.last);
        outermost(Malformed::new(format!("version {version} is not in [{first}, {last}]")).into())
    })?;
    let reader = Reader::new(bytes, at).map_err(|error| outermost(error.into()))?;
    let mut decoder = Decoder { message, plan, reader, builder, stack: Vec::with_capacity(32) };
    decoder.structure(0).map_err(outermost)
}

struct Decoder<'a, B: Builder> {
    message: &'static Message,
    plan: &'a Plan,
    reader: Reader<'a>,
    builder: &'a mut B,
    stack: Vec<B::Value>,
}

type Decoded<B> = Result<<B as Builder>::Value, Fault<<B as Builder>::Error>>;

impl<'a, B: Builder> Decoder<'a, B> {
    fn structure(&mut self, index: usize) -> Decoded<B> {
        let plan = &self.plan.structs[index];
        let base = self.stack.len();
        for (position, step) in plan.fields.iter().enumerate() {
            let value = match step.presence {
                Presence::Inline => self.value(step).map_err(|fault| {
                    fault.within(self.message.structs[index].fields[position].name)
                })?,
                // Its value is known once the tags are read.
                Presence::Tagged => self.builder.null(),
                Presence::Dropped | Presence::Refused => {
                    self.builder.default(index, position).map_err(Fault::Builder)?
                }
            };
            self.stack.push(value);
        }
        let mut unknown = Vec::new();
        if plan.flexible {
            self.tagged_fields(index, plan, base, &mut unknown)?;
        }
        self.builder.structure(index, &mut self.stack, base, &unknown).map_err(Fault::Builder)
    }

    fn tagged_fields(
        &mut self,
        index: usize,
        plan: &StructPlan,
        base: usize,
        unknown: &mut Vec<(u32, &'a [u8])>,
    ) -> Result<(), Fault<B::Error>> {
        let mut seen = 0_u64;
        for _ in 0..self.reader.unsigned_varint()? {
            let number = self.reader.unsigned_varint()?;
            let size = self.reader.unsigned_varint()? as usize;
            let Some(tag) = plan.tags.iter().find(|tag| tag.tag == number) else {
                unknown.push((number, self.reader.take(size)?));
                continue;
            };
            let name = self.message.structs[index].fields[tag.field].name;
            let value = self.tagged_field(&plan.fields[tag.field], tag.valid, size);
            self.stack[base + tag.field] = value.map_err(|fault| fault.within(name))?;
            seen |= 1 << number;
        }
        for tag in plan.tags.iter().filter(|tag| tag.valid && seen & (1 << tag.tag) == 0) {
            let value = self.builder.default(index, tag.field).map_err(Fault::Builder)?;
            self.stack[base + tag.field] = value;
        }
        Ok(())
    }

    fn tagged_field(&mut self, step: &Step, valid: bool, size: usize) -> Decoded<B> {
        if !valid {
            let version = self.plan.version;
            return Err(Malformed::new(format!("has no tag in version {version}")).into());
        }
        let start = self.reader.at();
        let null = step.nullable
            && matches!(step.shape, Shape { kind: Kind::Struct(_), array: false })
            && self.reader.unsigned_varint()? == 0;
        let value = match (null, step.shape) {
            (true, _) => self.builder.null(),
            (false, Shape { kind: Kind::Struct(inner), array: false }) => self.structure(inner)?,
            (false, _) => self.value(step)?,
        };
        let used = self.reader.at() - start;
        if used != size {
            return Err(Malformed::new(format!("is {used} bytes, its tag said {size}")).into());
        }
        Ok(value)
    }

    fn value(&mut self, step: &Step) -> Decoded<B> {
        match step.shape {
            Shape { kind, array: true } => self.array(kind, step.compact, step.nullable),
            Shape { kind: Kind::Struct(_), .. } if step.nullable && self.reader.i8()? < 0 => {
                Ok(self.builder.null())
            }
            Shape { kind, .. } => self.single(kind, step.compact, step.nullable),
        }
    }

    #[inline]
    fn single(&mut self, kind: Kind, compact: bool, nullable: bool) -> Decoded<B> {
        let integer = match kind {
            Kind::Int8 => i64::from(self.reader.i8()?),
            Kind::Int16 => i64::from(self.reader.i16()?),
            Kind::Uint16 => i64::from(u16::from_be_bytes(self.reader.array()?)),
            Kind::Int32 => i64::from(self.reader.i32()?),
            Kind::Uint32 => i64::from(u32::from_be_bytes(self.reader.array()?)),
            Kind::Int64 => i64::from_be_bytes(self.reader.array()?),
            Kind::Bool => {
                let value = self.reader.i8()? != 0;
                return Ok(self.builder.boolean(value));
            }
            Kind::Struct(index) => return self.structure(index),
            _ => return self.octets(kind, compact, nullable),
        };
        self.builder.integer(integer).map_err(Fault::Builder)
    }

    fn octets(&mut self, kind: Kind, compact: bool, nullable: bool) -> Decoded<B> {
        match kind {
            Kind::Float64 => {
                let value = f64::from_be_bytes(self.reader.array()?);
                return self.builder.float(value).map_err(Fault::Builder);
            }
            Kind::Uuid => {
                let value = self.reader.array::<16>()?;
                return self.builder.bytes(&value).map_err(Fault::Builder);
            }
            _ => {}
        }
        let Some(length) = self.reader.length(compact, kind != Kind::String)? else {
            return self.null(nullable);
        };
        if kind == Kind::String && length > i16::MAX as usize {
            return Err(Malformed::new(format!("a string of {length} bytes is too long")).into());
        }
        let start = self.reader.at();
        let bytes = self.reader.take(length)?;
        let value = match kind {
            Kind::String => self.builder.text(std::str::from_utf8(bytes).map_err(|error| {
                let at = start + error.valid_up_to();
                Malformed::new(format!("the string is not UTF-8 at byte {at}"))
            })?),
            Kind::Records => self.builder.records(start, start + length),
            _ => self.builder.bytes(bytes),
        };
        value.map_err(Fault::Builder)
    }

    fn array(&mut self, kind: Kind, compact: bool, nullable: bool) -> Decoded<B> {
        let Some(count) = self.reader.length(compact, true)? else {
            return self.null(nullable);
        };
        let left = self.reader.remaining();
        if count > left / self.plan.min_bytes(kind, compact) {
            return Err(Malformed::new(format!("{count} elements in {left} bytes")).into());
        }
        let base = self.stack.len();
        for _ in 0..count {
            let value = self.single(kind, compact, false)?;
            self.stack.push(value);
        }
        self.builder.array(&mut self.stack, base).map_err(Fault::Builder)
    }

    fn null(&mut self, nullable: bool) -> Decoded<B> {
        if !nullable {
            return Err(Malformed::new("must not be null").into());
        }
        Ok(self.builder.null())
    }
}
