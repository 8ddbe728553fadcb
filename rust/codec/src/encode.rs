//! Encoding: one walk over the caller's values, read through its [`Source`].

use bytes::Bytes;

use crate::error::Unencodable;
use crate::plan::{Plan, Presence, Step, StructPlan};
use crate::schema::{Default, Kind, Message, Shape};
use crate::wire::put_unsigned_varint;

/// Reads the caller's values. Each method says in words why a value is not what it should be.
pub trait Source {
    type Value;

    /// The value of a field: an index into [`Message::structs`], and one into its fields.
    fn field(
        &self,
        of: &Self::Value,
        structure: usize,
        field: usize,
    ) -> Result<Self::Value, String>;
    /// The tagged fields that the schema does not know.
    fn unknown_tagged_fields(
        &self,
        of: &Self::Value,
        structure: usize,
    ) -> Result<Vec<(u32, Bytes)>, String>;
    fn is_null(&self, value: &Self::Value) -> bool;
    fn boolean(&self, value: &Self::Value) -> Result<bool, String>;
    fn integer(&self, value: &Self::Value) -> Result<i64, String>;
    fn float(&self, value: &Self::Value) -> Result<f64, String>;
    fn text<'a>(&self, value: &'a Self::Value) -> Result<&'a str, String>;
    /// A value of type `bytes` or `uuid`.
    fn bytes<'a>(&self, value: &'a Self::Value) -> Result<&'a [u8], String>;
    /// Records, in pieces to be joined.
    fn records(&self, value: &Self::Value) -> Result<Vec<Bytes>, String>;
    fn count(&self, array: &Self::Value) -> Result<usize, String>;
    fn element(&self, array: &Self::Value, index: usize) -> Result<Self::Value, String>;
}

/// A piece of an encoded message: written here, or records of the caller that are not copied.
#[derive(Debug, PartialEq, Eq)]
pub enum Segment {
    Written(Vec<u8>),
    Shared(Bytes),
}

/// Appends `value` in `version` to `head`. Records of `share_from_bytes` and more stay segments
/// of their own. The segments, joined, are `head` and the message.
pub fn encode<S: Source>(
    message: &'static Message,
    version: i16,
    value: &S::Value,
    source: &S,
    head: Vec<u8>,
    share_from_bytes: usize,
) -> Result<Vec<Segment>, Unencodable> {
    let plan = message.plan(version).ok_or_else(|| {
        let (first, last) = (message.versions.first, message.versions.last);
        Unencodable::new(format!("version {version} is not in [{first}, {last}]"))
            .within(message.name)
    })?;
    let mut encoder = Encoder {
        message,
        plan,
        source,
        out: head,
        segments: Vec::new(),
        share_from_bytes,
        tags_open: 0,
    };
    encoder.structure(value, 0).map_err(|error| error.within(message.name))?;
    let Encoder { mut segments, out, .. } = encoder;
    if !out.is_empty() || segments.is_empty() {
        segments.push(Segment::Written(out));
    }
    Ok(segments)
}

struct Encoder<'a, S: Source> {
    message: &'static Message,
    plan: &'a Plan,
    source: &'a S,
    out: Vec<u8>,
    segments: Vec<Segment>,
    share_from_bytes: usize,
    /// Inside a tagged field everything is copied, because its size is put before it afterwards.
    tags_open: usize,
}

type Done = Result<(), Unencodable>;

impl<S: Source> Encoder<'_, S> {
    fn structure(&mut self, value: &S::Value, index: usize) -> Done {
        let plan = &self.plan.structs[index];
        let mut tagged = Vec::new();
        for (position, step) in plan.fields.iter().enumerate() {
            let name = self.message.structs[index].fields[position].name;
            let error = |error: Unencodable| error.within(name);
            if step.presence == Presence::Dropped {
                continue;
            }
            let field = self.source.field(value, index, position);
            let field = field.map_err(|why| error(Unencodable::new(why)))?;
            match step.presence {
                Presence::Inline => self.value(&field, step).map_err(error)?,
                Presence::Tagged => {
                    if !self.is_default(&field, index, position).map_err(error)? {
                        tagged.push((position, field));
                    }
                }
                Presence::Refused => {
                    if !self.is_default(&field, index, position).map_err(error)? {
                        let version = self.plan.version;
                        let why = format!("is not in version {version}, so it must be left unset");
                        return Err(error(Unencodable::new(why)));
                    }
                }
                Presence::Dropped => {}
            }
        }
        self.tagged_fields(value, index, plan, tagged)
    }

    /// Known and unknown tags, ascending. Kafka refuses to write any in an inflexible version.
    fn tagged_fields(
        &mut self,
        value: &S::Value,
        index: usize,
        plan: &StructPlan,
        mut known: Vec<(usize, S::Value)>,
    ) -> Done {
        if !self.message.can_be_flexible() {
            return Ok(());
        }
        let unknown = self.source.unknown_tagged_fields(value, index).map_err(Unencodable::new)?;
        if !plan.flexible {
            if unknown.is_empty() {
                return Ok(());
            }
            let version = self.plan.version;
            return Err(Unencodable::new(format!("version {version} has no tagged fields")));
        }
        self.check_unknown(&unknown, plan)?;
        put_unsigned_varint(&mut self.out, (known.len() + unknown.len()) as u32);
        let mut unknown = unknown.iter().peekable();
        for tag in plan.tags.iter().filter(|tag| tag.valid) {
            let Some(at) = known.iter().position(|(field, _)| *field == tag.field) else {
                continue;
            };
            while let Some((number, data)) = unknown.next_if(|(number, _)| *number < tag.tag) {
                self.raw_tag(*number, data)?;
            }
            let (_, field) = known.swap_remove(at);
            let name = self.message.structs[index].fields[tag.field].name;
            self.tagged_field(tag.tag, &field, &plan.fields[tag.field])
                .map_err(|error| error.within(name))?;
        }
        unknown.try_for_each(|(number, data)| self.raw_tag(*number, data))
    }

    fn check_unknown(&self, unknown: &[(u32, Bytes)], plan: &StructPlan) -> Done {
        if let Some(pair) = unknown.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            let (tag, before) = (pair[1].0, pair[0].0);
            return Err(Unencodable::new(format!("unknown tag {tag} comes after {before}")));
        }
        let known = |tag: u32| plan.tags.iter().any(|each| each.tag == tag);
        match unknown.iter().find(|(tag, _)| known(*tag)) {
            Some((tag, _)) => Err(Unencodable::new(format!("tag {tag} has a field of its own"))),
            None => Ok(()),
        }
    }

    fn raw_tag(&mut self, tag: u32, data: &[u8]) -> Done {
        put_unsigned_varint(&mut self.out, tag);
        let size = self.checked_length(data.len())?;
        put_unsigned_varint(&mut self.out, size);
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn tagged_field(&mut self, tag: u32, value: &S::Value, step: &Step) -> Done {
        put_unsigned_varint(&mut self.out, tag);
        let start = self.out.len();
        self.tags_open += 1;
        match step.shape {
            Shape { kind: Kind::Struct(inner), array: false } => {
                match (step.nullable, self.source.is_null(value)) {
                    (true, true) => self.out.push(0),
                    (true, false) => {
                        self.out.push(1);
                        self.structure(value, inner)?;
                    }
                    (false, true) => return Err(Unencodable::new("must not be None")),
                    (false, false) => self.structure(value, inner)?,
                }
            }
            _ => self.value(value, step)?,
        }
        self.tags_open -= 1;
        let mut size = Vec::with_capacity(5);
        put_unsigned_varint(&mut size, self.checked_length(self.out.len() - start)?);
        self.out.splice(start..start, size);
        Ok(())
    }

    fn value(&mut self, value: &S::Value, step: &Step) -> Done {
        let null = self.source.is_null(value);
        if null && !step.nullable {
            return Err(Unencodable::new("must not be None"));
        }
        match step.shape {
            Shape { kind, array: true } if null => self.length(kind, true, step.compact, None),
            Shape { kind, array: true } => self.array(value, kind, step.compact),
            Shape { kind: Kind::Struct(inner), .. } if step.nullable => {
                self.out.push(if null { 0xff } else { 1 });
                if null { Ok(()) } else { self.structure(value, inner) }
            }
            Shape { kind, .. } if null => self.length(kind, false, step.compact, None),
            Shape { kind, .. } => self.single(value, kind, step.compact),
        }
    }

    fn array(&mut self, value: &S::Value, kind: Kind, compact: bool) -> Done {
        let count = self.source.count(value).map_err(Unencodable::new)?;
        self.length(kind, true, compact, Some(count))?;
        for index in 0..count {
            let element = self.source.element(value, index).map_err(Unencodable::new)?;
            if self.source.is_null(&element) {
                return Err(Unencodable::new(format!("element {index} must not be None")));
            }
            self.single(&element, kind, compact)?;
        }
        Ok(())
    }

    fn single(&mut self, value: &S::Value, kind: Kind, compact: bool) -> Done {
        match kind {
            Kind::Bool => {
                let value = self.source.boolean(value).map_err(Unencodable::new)?;
                self.out.push(u8::from(value));
            }
            Kind::Int8 => self.integer(value, |n| i8::try_from(n).map(i8::to_be_bytes))?,
            Kind::Int16 => self.integer(value, |n| i16::try_from(n).map(i16::to_be_bytes))?,
            Kind::Uint16 => self.integer(value, |n| u16::try_from(n).map(u16::to_be_bytes))?,
            Kind::Int32 => self.integer(value, |n| i32::try_from(n).map(i32::to_be_bytes))?,
            Kind::Uint32 => self.integer(value, |n| u32::try_from(n).map(u32::to_be_bytes))?,
            Kind::Int64 => {
                let value = self.source.integer(value).map_err(Unencodable::new)?;
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Kind::Float64 => {
                let value = self.source.float(value).map_err(Unencodable::new)?;
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Kind::Struct(index) => self.structure(value, index)?,
            Kind::Records => self.records(value, compact)?,
            Kind::Uuid | Kind::String | Kind::Bytes => self.octets(value, kind, compact)?,
        }
        Ok(())
    }

    fn octets(&mut self, value: &S::Value, kind: Kind, compact: bool) -> Done {
        let bytes = match kind {
            Kind::String => self.source.text(value).map_err(Unencodable::new)?.as_bytes(),
            _ => self.source.bytes(value).map_err(Unencodable::new)?,
        };
        if kind != Kind::Uuid {
            self.length(kind, false, compact, Some(bytes.len()))?;
        } else if bytes.len() != 16 {
            let length = bytes.len();
            return Err(Unencodable::new(format!("a uuid is 16 bytes, not {length}")));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn integer<const N: usize>(
        &mut self,
        value: &S::Value,
        to_bytes: impl Fn(i64) -> Result<[u8; N], std::num::TryFromIntError>,
    ) -> Done {
        let value = self.source.integer(value).map_err(Unencodable::new)?;
        let bytes = to_bytes(value)
            .map_err(|_| Unencodable::new(format!("{value} does not fit in {N} bytes")))?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    fn records(&mut self, value: &S::Value, compact: bool) -> Done {
        let pieces = self.source.records(value).map_err(Unencodable::new)?;
        let length = pieces.iter().map(Bytes::len).sum();
        self.length(Kind::Records, false, compact, Some(length))?;
        for piece in pieces {
            if piece.len() < self.share_from_bytes || self.tags_open > 0 {
                self.out.extend_from_slice(&piece);
                continue;
            }
            let written = std::mem::take(&mut self.out);
            if !written.is_empty() {
                self.segments.push(Segment::Written(written));
            }
            self.segments.push(Segment::Shared(piece));
        }
        Ok(())
    }

    /// The length of a string, of bytes, of records or of an array; None is null.
    fn length(&mut self, kind: Kind, array: bool, compact: bool, length: Option<usize>) -> Done {
        let string = kind == Kind::String && !array;
        let length = match length {
            Some(length) if string && length > i16::MAX as usize => {
                let why = format!("a string of {length} bytes is too long");
                return Err(Unencodable::new(why));
            }
            Some(length) => Some(self.checked_length(length)?),
            None => None,
        };
        match (compact, string) {
            (true, _) => put_unsigned_varint(&mut self.out, length.map_or(0, |n| n + 1)),
            (false, true) => {
                let length = length.map_or(-1, |n| n as i16);
                self.out.extend_from_slice(&length.to_be_bytes());
            }
            (false, false) => {
                let length = length.map_or(-1, |n| n as i32);
                self.out.extend_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    fn checked_length(&self, length: usize) -> Result<u32, Unencodable> {
        match i32::try_from(length) {
            Ok(length) if length < i32::MAX => Ok(length as u32),
            _ => Err(Unencodable::new(format!("a length of {length} is over 31 bits"))),
        }
    }

    fn is_default(
        &self,
        value: &S::Value,
        index: usize,
        position: usize,
    ) -> Result<bool, Unencodable> {
        let field = &self.message.structs[index].fields[position];
        let null = self.source.is_null(value);
        if field.default == Default::Null || null {
            return Ok(null && field.default == Default::Null);
        }
        let source = self.source;
        let equal = match (field.shape, field.default) {
            (Shape { array: true, .. }, _) => source.count(value).map(|count| count == 0),
            (Shape { kind: Kind::Struct(inner), .. }, _) => {
                return self.is_default_struct(value, inner);
            }
            (Shape { kind: Kind::Bool, .. }, default) => {
                source.boolean(value).map(|value| value == (default == Default::True))
            }
            (Shape { kind: Kind::Float64, .. }, _) => source.float(value).map(|value| value == 0.0),
            (Shape { kind: Kind::String, .. }, _) => source.text(value).map(str::is_empty),
            (Shape { kind: Kind::Bytes, .. }, _) => source.bytes(value).map(<[u8]>::is_empty),
            (Shape { kind: Kind::Uuid, .. }, _) => source.bytes(value).map(|uuid| uuid == [0; 16]),
            (_, Default::Integer(number)) => source.integer(value).map(|value| value == number),
            (_, _) => source.integer(value).map(|value| value == 0),
        };
        equal.map_err(Unencodable::new)
    }

    fn is_default_struct(&self, value: &S::Value, index: usize) -> Result<bool, Unencodable> {
        for position in 0..self.message.structs[index].fields.len() {
            let field = self.source.field(value, index, position).map_err(Unencodable::new)?;
            if !self.is_default(&field, index, position)? {
                return Ok(false);
            }
        }
        if !self.message.can_be_flexible() {
            return Ok(true);
        }
        let unknown = self.source.unknown_tagged_fields(value, index).map_err(Unencodable::new)?;
        Ok(unknown.is_empty())
    }
}
