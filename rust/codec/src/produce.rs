//! Produce (key 0, versions 3 to 13), read and answered by hand: it is the one request whose cost
//! is not its bytes but itself, and the table costs it a microsecond (HOTPATH 8).
//!
//! Only what is *plain* is read here; for the rest, and to say what is wrong with a request, there
//! is the table. Plain: no transaction, acks 1 or all, no tagged fields, records everywhere.

use std::ops::Range;

use crate::error::Malformed;
use crate::header::read_request_header;
use crate::wire::{Reader, put_unsigned_varint};

const PRODUCE: i16 = 0;
const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;
const FIRST_WITH_START_OFFSET: i16 = 5;
const FIRST_WITH_MESSAGES: i16 = 8;
const FIRST_FLEXIBLE: i16 = 9;
const FIRST_WITH_TOPIC_ID: i16 = 13;
const ACKS_LEADER: i16 = 1;
const ACKS_ALL: i16 = -1;
const RESPONSE_ROW_BYTES: usize = 64;

/// One partition of a request; `records` are positions in the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPart {
    pub index: i32,
    pub records: Range<usize>,
}

/// One topic of a request: its name or, from version 13 on, its 16-byte id, as it lies in the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainTopic {
    pub key: Range<usize>,
    /// Which of [`PlainProduce::parts`] are its.
    pub parts: Range<usize>,
}

/// A plain Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainProduce {
    pub version: i16,
    pub correlation_id: i32,
    pub topics: Vec<PlainTopic>,
    pub parts: Vec<PlainPart>,
}

/// What is answered for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRow {
    pub error_code: i16,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub error_message: Option<String>,
}

impl PlainProduce {
    /// The request in `frame`, or None if it is another, or not plain, or malformed.
    pub fn read(frame: &[u8]) -> Option<Self> {
        if frame.get(..2) != Some(&PRODUCE.to_be_bytes()[..]) {
            return None;
        }
        read(frame).ok().flatten()
    }

    /// Whether topics are asked for by id.
    pub fn by_id(&self) -> bool {
        self.version >= FIRST_WITH_TOPIC_ID
    }

    /// Appends the framed response to `out`; `rows` answer `parts`, in their order.
    pub fn put_response(&self, frame: &[u8], rows: &[ProduceRow], out: &mut Vec<u8>) {
        assert_eq!(rows.len(), self.parts.len(), "a row for each partition");
        let start = out.len();
        out.reserve(RESPONSE_ROW_BYTES * (1 + rows.len()));
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.correlation_id.to_be_bytes());
        let mut put = Put { version: self.version, flexible: self.version >= FIRST_FLEXIBLE, out };
        put.tags();
        put.count(self.topics.len());
        for topic in &self.topics {
            put.topic(&frame[topic.key.clone()]);
            put.count(topic.parts.len());
            for at in topic.parts.clone() {
                put.row(self.parts[at].index, &rows[at]);
            }
            put.tags();
        }
        put.out.extend_from_slice(&0_i32.to_be_bytes()); // throttle_time_ms
        put.tags();
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn read(frame: &[u8]) -> Result<Option<PlainProduce>, Malformed> {
    let head = read_request_header(frame)?;
    let (version, correlation_id) = (head.api_version, head.correlation_id);
    if !VERSIONS.contains(&version) {
        return Ok(None);
    }
    let mut get = Get {
        reader: Reader::new(frame, head.body_at)?,
        flexible: version >= FIRST_FLEXIBLE,
        plain: true,
    };
    get.plain &= get.reader.length(get.flexible, false)?.is_none();
    let acks = get.reader.i16()?;
    get.plain &= acks == ACKS_LEADER || acks == ACKS_ALL;
    get.reader.i32()?; // timeout_ms: nothing here waits for anybody else
    let (mut topics, mut parts) = (Vec::new(), Vec::new());
    for _ in 0..get.count()? {
        let key = get.topic(version >= FIRST_WITH_TOPIC_ID)?;
        let first = parts.len();
        for _ in 0..get.count()? {
            let index = get.reader.i32()?;
            let records = get.records()?;
            get.tags()?;
            parts.push(PlainPart { index, records });
        }
        get.tags()?;
        topics.push(PlainTopic { key, parts: first..parts.len() });
        if !get.plain {
            return Ok(None);
        }
    }
    get.tags()?;
    let plain = get.plain && get.reader.remaining() == 0 && !parts.is_empty();
    Ok(plain.then_some(PlainProduce { version, correlation_id, topics, parts }))
}

struct Get<'a> {
    reader: Reader<'a>,
    flexible: bool,
    plain: bool,
}

impl Get<'_> {
    /// Elements of an array; null is not plain.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.reader.length(self.flexible, true)?;
        self.plain &= count.is_some();
        // Each element takes bytes, so a count that lies ends at the first that is missing.
        Ok(count.unwrap_or(0))
    }

    fn topic(&mut self, by_id: bool) -> Result<Range<usize>, Malformed> {
        let length = if by_id { Some(16) } else { self.reader.length(self.flexible, false)? };
        self.range(length)
    }

    fn records(&mut self) -> Result<Range<usize>, Malformed> {
        let length = self.reader.length(self.flexible, true)?;
        self.range(length)
    }

    fn range(&mut self, length: Option<usize>) -> Result<Range<usize>, Malformed> {
        self.plain &= length.is_some();
        let start = self.reader.at();
        self.reader.take(length.unwrap_or(0))?;
        Ok(start..self.reader.at())
    }

    fn tags(&mut self) -> Result<(), Malformed> {
        self.plain &= !self.flexible || self.reader.unsigned_varint()? == 0;
        Ok(())
    }
}

struct Put<'a> {
    version: i16,
    flexible: bool,
    out: &'a mut Vec<u8>,
}

impl Put<'_> {
    fn tags(&mut self) {
        if self.flexible {
            self.out.push(0);
        }
    }

    fn count(&mut self, count: usize) {
        if self.flexible {
            put_unsigned_varint(self.out, count as u32 + 1);
        } else {
            self.out.extend_from_slice(&(count as i32).to_be_bytes());
        }
    }

    fn topic(&mut self, key: &[u8]) {
        if self.version < FIRST_WITH_TOPIC_ID {
            self.string(key);
        } else {
            self.out.extend_from_slice(key);
        }
    }

    fn string(&mut self, text: &[u8]) {
        if self.flexible {
            put_unsigned_varint(self.out, text.len() as u32 + 1);
        } else {
            self.out.extend_from_slice(&(text.len() as i16).to_be_bytes());
        }
        self.out.extend_from_slice(text);
    }

    fn row(&mut self, index: i32, row: &ProduceRow) {
        self.out.extend_from_slice(&index.to_be_bytes());
        self.out.extend_from_slice(&row.error_code.to_be_bytes());
        self.out.extend_from_slice(&row.base_offset.to_be_bytes());
        self.out.extend_from_slice(&row.log_append_time_ms.to_be_bytes());
        if self.version >= FIRST_WITH_START_OFFSET {
            self.out.extend_from_slice(&row.log_start_offset.to_be_bytes());
        }
        if self.version >= FIRST_WITH_MESSAGES {
            self.count(0); // record_errors: a batch with any is not for here
            self.message(row.error_message.as_deref());
        }
        self.tags();
    }

    fn message(&mut self, message: Option<&str>) {
        match message {
            Some(text) => self.string(text.as_bytes()),
            None if self.flexible => self.out.push(0),
            None => self.out.extend_from_slice(&(-1_i16).to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8; 16] = b"0123456789abcdef";

    /// A request of one topic and one partition.
    fn request(version: i16, acks: i16, transactional_id: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        for head in [PRODUCE, version] {
            out.extend(head.to_be_bytes());
        }
        out.extend(7_i32.to_be_bytes());
        out.extend(b"\0\x02me");
        let mut put = Put { version, flexible: version >= FIRST_FLEXIBLE, out: &mut out };
        put.tags();
        put.message(transactional_id);
        put.out.extend(acks.to_be_bytes());
        put.out.extend(1_000_i32.to_be_bytes());
        put.count(1);
        put.topic(if version < FIRST_WITH_TOPIC_ID { b"t" } else { ID });
        put.count(1);
        put.out.extend(3_i32.to_be_bytes());
        put.count(4);
        put.out.extend(b"DATA");
        for _ in 0..3 {
            put.tags();
        }
        out
    }

    #[test]
    fn a_plain_request_is_read_in_every_version() {
        for version in VERSIONS {
            let frame = request(version, ACKS_ALL, None);
            let plain = PlainProduce::read(&frame).expect("plain");
            assert_eq!((plain.version, plain.correlation_id), (version, 7));
            let key: &[u8] = if plain.by_id() { ID } else { b"t" };
            assert_eq!(&frame[plain.topics[0].key.clone()], key);
            assert_eq!(plain.parts[0].index, 3);
            assert_eq!(&frame[plain.parts[0].records.clone()], b"DATA");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_table() {
        for version in VERSIONS {
            assert_eq!(PlainProduce::read(&request(version, 0, None)), None);
            assert_eq!(PlainProduce::read(&request(version, ACKS_ALL, Some("pay"))), None);
        }
        let mut other = request(9, ACKS_ALL, None);
        other[1] = 1;
        assert_eq!(PlainProduce::read(&other), None);
        assert_eq!(PlainProduce::read(&request(2, ACKS_ALL, None)), None);
        assert_eq!(PlainProduce::read(&request(14, ACKS_ALL, None)), None);
    }

    #[test]
    fn a_request_that_is_cut_or_goes_on_is_left_to_the_table() {
        for version in VERSIONS {
            let frame = request(version, ACKS_LEADER, None);
            for cut in 0..frame.len() {
                assert_eq!(PlainProduce::read(&frame[..cut]), None, "v{version}, {cut} bytes");
            }
            let longer = [&frame[..], b"x"].concat();
            assert_eq!(PlainProduce::read(&longer), None);
        }
    }

    #[test]
    fn the_bytes_of_a_response_are_those_of_the_specification() {
        let frame = request(9, ACKS_ALL, None);
        let plain = PlainProduce::read(&frame).expect("plain");
        let row = ProduceRow {
            error_code: 0,
            base_offset: 5,
            log_append_time_ms: -1,
            log_start_offset: 2,
            error_message: None,
        };
        let mut out = Vec::new();
        plain.put_response(&frame, &[row], &mut out);
        let mut expected = b"\0\0\0\x07\0\x02\x02t\x02\0\0\0\x03\0\0".to_vec();
        for number in [5_i64, -1, 2] {
            expected.extend(number.to_be_bytes());
        }
        expected.extend(b"\x01\0\0\0\0\0\0\0\0");
        assert_eq!(out[..4], (expected.len() as i32).to_be_bytes());
        assert_eq!(out[4..], expected);
    }
}
