//! One record: varints, lengths, key, value, headers. Reads from memory it never leaves.

use bytes::Bytes;

use crate::header::Corrupt;

/// Position in `data` and the rules for reading on. Every method checks before it reads.
pub(crate) struct Reader<'a> {
    pub data: &'a [u8],
    pub at: usize,
}

impl Reader<'_> {
    pub fn byte(&mut self) -> Result<u8, Corrupt> {
        let Some(&byte) = self.data.get(self.at) else {
            return Err(Corrupt::new(self.at, "the records end in the middle of one"));
        };
        self.at += 1;
        Ok(byte)
    }

    /// A zigzag varint of up to 10 bytes.
    pub fn varlong(&mut self) -> Result<i64, Corrupt> {
        let start = self.at;
        let (mut raw, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
            shift += 7;
            if shift > 63 {
                return Err(Corrupt::new(start, "a varint of more than 10 bytes"));
            }
        }
    }

    /// A zigzag varint of up to 5 bytes.
    pub fn varint(&mut self) -> Result<i32, Corrupt> {
        let start = self.at;
        let (mut raw, mut shift) = (0u32, 0);
        loop {
            let byte = self.byte()?;
            raw |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1) as i32 ^ -((raw & 1) as i32));
            }
            shift += 7;
            if shift > 28 {
                return Err(Corrupt::new(start, "a varint of more than 5 bytes"));
            }
        }
    }

    /// A length, then as many bytes; a negative length is null.
    pub fn nullable(&mut self, what: &str) -> Result<Option<(usize, usize)>, Corrupt> {
        let start = self.at;
        let length = self.varint()?;
        if length < 0 {
            return Ok(None);
        }
        let left = self.data.len() - self.at;
        if length as usize > left {
            let why = format!("a {what} of {length} bytes where only {left} are left");
            return Err(Corrupt::new(start, why));
        }
        let range = (self.at, self.at + length as usize);
        self.at = range.1;
        Ok(Some(range))
    }
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

/// The record at `at`, headers walked but not kept.
pub(crate) fn read_raw(data: &[u8], at: usize) -> Result<RawRecord, Corrupt> {
    let mut outer = Reader { data, at };
    let length = outer.varint()?;
    let left = data.len() - outer.at;
    if length < 0 || length as usize > left {
        let why = format!("a record of {length} bytes where only {left} are left");
        return Err(Corrupt::new(at, why));
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
        return Err(Corrupt::new(count_at, format!("{count} record headers")));
    }
    let headers_at = body.at;
    for _ in 0..count {
        read_header(&mut body)?;
    }
    if body.at != end {
        let why = format!("a record that is {} bytes longer than its parts", end - body.at);
        return Err(Corrupt::new(at, why));
    }
    let header_count = count as usize;
    Ok(RawRecord { timestamp_delta, offset_delta, key, value, header_count, headers_at, end })
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
