//! One record: varints, lengths, key, value, headers. Reads from memory it never leaves.

use bytes::Bytes;

use crate::header::Corrupt;

/// Position in `data` and the rules for reading on. Every method checks before it reads.
pub(crate) struct Reader<'a> {
    pub data: &'a [u8],
    pub at: usize,
}

impl Reader<'_> {
    #[inline(always)]
    pub fn byte(&mut self) -> Result<u8, Corrupt> {
        let Some(&byte) = self.data.get(self.at) else {
            return Err(ended(self.at));
        };
        self.at += 1;
        Ok(byte)
    }

    /// A zigzag varint of up to 10 bytes.
    #[inline(always)]
    pub fn varlong(&mut self) -> Result<i64, Corrupt> {
        let raw = match self.short_varint() {
            Some(raw) => u64::from(raw),
            None => self.long_varint(63)?,
        };
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A zigzag varint of up to 5 bytes; bits beyond 32 are dropped, as Kafka's reader drops them.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<i32, Corrupt> {
        let raw = match self.short_varint() {
            Some(raw) => raw,
            None => self.long_varint(28)? as u32,
        };
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// The usual varint: one or two bytes. Moves only if it is one.
    #[inline(always)]
    fn short_varint(&mut self) -> Option<u32> {
        let first = u32::from(*self.data.get(self.at)?);
        if first < 0x80 {
            self.at += 1;
            return Some(first);
        }
        let second = u32::from(*self.data.get(self.at + 1)?);
        if second < 0x80 {
            self.at += 2;
            return Some((first & 0x7f) | second << 7);
        }
        None
    }

    fn long_varint(&mut self, shift_max: u32) -> Result<u64, Corrupt> {
        let start = self.at;
        let (mut raw, mut shift) = (0u64, 0);
        while shift <= shift_max {
            let byte = self.byte()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(raw);
            }
            shift += 7;
        }
        Err(Corrupt::new(start, "a varint that does not end"))
    }

    /// A length, then as many bytes; a negative length is null.
    #[inline(always)]
    pub fn nullable(&mut self, what: &str) -> Result<Option<(usize, usize)>, Corrupt> {
        let start = self.at;
        let length = self.varint()?;
        if length < 0 {
            return Ok(None);
        }
        let left = self.data.len() - self.at;
        if length as usize > left {
            return Err(too_long(start, what, length, left));
        }
        let range = (self.at, self.at + length as usize);
        self.at = range.1;
        Ok(Some(range))
    }
}

#[cold]
fn ended(at: usize) -> Corrupt {
    Corrupt::new(at, "the records end in the middle of one")
}

#[cold]
fn too_long(at: usize, what: &str, length: i32, left: usize) -> Corrupt {
    Corrupt::new(at, format!("a {what} of {length} bytes where only {left} are left"))
}

/// Where the parts of one record lie in the (uncompressed) records of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<(usize, usize)>,
    pub value: Option<(usize, usize)>,
    pub header_count: usize,
    /// Where the headers start; they end at `end`.
    pub headers_at: usize,
    pub end: usize,
}

/// The record at `at`, headers walked but not kept. All its lengths agree.
#[inline(always)]
pub(crate) fn read_raw(data: &[u8], at: usize) -> Result<RawRecord, Corrupt> {
    let mut outer = Reader { data, at };
    let length = outer.varint()?;
    let left = data.len() - outer.at;
    if length < 0 || length as usize > left {
        return Err(too_long(at, "record", length, left));
    }
    let end = outer.at + length as usize;
    let mut body = Reader { data: &data[..end], at: outer.at };
    body.byte()?; // attributes: no bit of them has a meaning
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let key = body.nullable("key")?;
    let value = body.nullable("value")?;
    let count_at = body.at;
    let count = body.varint()?;
    if count < 0 || count as usize > end - body.at {
        return Err(too_many_headers(count_at, count));
    }
    let headers_at = body.at;
    if count > 0 {
        skip_headers(&mut body, count)?;
    }
    if body.at != end {
        return Err(longer_than_its_parts(at, end - body.at));
    }
    let header_count = count as usize;
    Ok(RawRecord { timestamp_delta, offset_delta, key, value, header_count, headers_at, end })
}

fn skip_headers(body: &mut Reader<'_>, count: i32) -> Result<(), Corrupt> {
    for _ in 0..count {
        read_header(body)?;
    }
    Ok(())
}

#[cold]
fn too_many_headers(at: usize, count: i32) -> Corrupt {
    Corrupt::new(at, format!("{count} record headers"))
}

#[cold]
fn longer_than_its_parts(at: usize, by: usize) -> Corrupt {
    Corrupt::new(at, format!("a record that is {by} bytes longer than its parts"))
}

type Range = (usize, usize);

fn read_header(body: &mut Reader<'_>) -> Result<(Range, Option<Range>), Corrupt> {
    let start = body.at;
    let Some(key) = body.nullable("header key")? else {
        return Err(Corrupt::new(start, "a record header without a key"));
    };
    Ok((key, body.nullable("header value")?))
}

/// The headers of a record that `read_raw` has already accepted.
pub(crate) fn read_headers(
    data: &Bytes,
    raw: &RawRecord,
) -> Result<Vec<(Bytes, Option<Bytes>)>, Corrupt> {
    let mut reader = Reader { data: &data[..raw.end], at: raw.headers_at };
    let mut headers = Vec::with_capacity(raw.header_count);
    for _ in 0..raw.header_count {
        let (key, value) = read_header(&mut reader)?;
        headers.push((data.slice(key.0..key.1), value.map(|(from, to)| data.slice(from..to))));
    }
    Ok(headers)
}

/// Walks the `count` records of one batch, `data` being all of them, uncompressed, until `each`
/// says false. Where `count` records do not end with the data, that is an error.
///
/// Positions in errors count from the start of `data`.
#[inline(always)]
pub(crate) fn walk_records<E: From<Corrupt>>(
    data: &[u8],
    count: i32,
    mut each: impl FnMut(&RawRecord) -> Result<bool, E>,
) -> Result<(), E> {
    let mut at = 0;
    for _ in 0..count {
        let raw = read_raw(data, at)?;
        at = raw.end;
        if !each(&raw)? {
            return Ok(());
        }
    }
    if at < data.len() {
        let rest = data.len() - at;
        let why = format!("{rest} bytes behind the last of the records that were announced");
        return Err(Corrupt::new(at, why).into());
    }
    Ok(())
}

/// Appends a zigzag varint.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

pub(crate) fn varlong_bytes(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        return put_varlong(out, -1);
    };
    put_varlong(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_bytes(bytes.len() as i64) + bytes.len())
}

/// Appends one record with its length.
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
    headers: &[(Bytes, Option<Bytes>)],
) {
    let mut size = 1 + varlong_bytes(timestamp_delta) + varlong_bytes(i64::from(offset_delta));
    size += nullable_bytes(key) + nullable_bytes(value) + varlong_bytes(headers.len() as i64);
    for (name, content) in headers {
        size += nullable_bytes(Some(name)) + nullable_bytes(content.as_deref());
    }
    put_varlong(out, size as i64);
    out.push(0);
    put_varlong(out, timestamp_delta);
    put_varlong(out, i64::from(offset_delta));
    put_nullable(out, key);
    put_nullable(out, value);
    put_varlong(out, headers.len() as i64);
    for (name, content) in headers {
        put_nullable(out, Some(name));
        put_nullable(out, content.as_deref());
    }
}
