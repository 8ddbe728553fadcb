//! What a broker asks of a batch that a producer sent (Kafka's `LogValidator`), and the batch that
//! is to be stored in its place.
//!
//! The usual batch costs its header, its CRC and, uncompressed, a walk over the lengths of its
//! records. Compressed records are unpacked only where a rule cannot be decided without: keys of
//! compacted topics, a lower bound for timestamps, a header that claims too new a timestamp, and
//! another codec. Beyond that a header is believed, as the CRC covers it.

use bytes::Bytes;

use crate::build::{restamp, with_records};
use crate::header::{
    BatchHeader, Codec, Corrupt, HEADER_BYTES, LENGTH_END, MAGIC_AT, NO_TIMESTAMP, TimestampType,
};
use crate::read::{ReadError, in_batch, unpack_records};
use crate::record::{RawRecord, walk_records};

/// Kafka names at most a few records in a message; all of them are in the list.
const RECORDS_NAMED: usize = 3;

/// What a topic asks of the batches that are sent to it.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRules {
    /// `max.message.bytes`, of the batch as it is stored.
    pub batch_bytes_max: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// `cleanup.policy` names compact: records need a key.
    pub compacted: bool,
    /// `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    /// `compression.type`; None is `producer`.
    pub codec: Option<Codec>,
    pub level: Option<i32>,
    /// The most that a batch may become when it has to be unpacked.
    pub unpacked_bytes_max: usize,
}

/// Kafka's names of the errors that a producer may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    CorruptMessage,
    InvalidRecord,
    InvalidTimestamp,
    RecordListTooLarge,
    RecordTooLarge,
    UnsupportedCompressionType,
}

impl ErrorCode {
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::CorruptMessage => "CORRUPT_MESSAGE",
            ErrorCode::InvalidRecord => "INVALID_RECORD",
            ErrorCode::InvalidTimestamp => "INVALID_TIMESTAMP",
            ErrorCode::RecordListTooLarge => "RECORD_LIST_TOO_LARGE",
            ErrorCode::RecordTooLarge => "MESSAGE_TOO_LARGE",
            ErrorCode::UnsupportedCompressionType => "UNSUPPORTED_COMPRESSION_TYPE",
        }
    }
}

/// A batch that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: ErrorCode,
    pub message: String,
    /// Number of a record in the batch, and what is wrong with it (KIP-467).
    pub record_errors: Vec<(i32, String)>,
}

impl Refused {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record_errors: Vec::new() }
    }
}

/// Checks what one partition of a Produce request (`version`) carries.
///
/// Answers the header and bytes to store: those that were sent, or new ones where the topic wants
/// another codec or LogAppendTime, or where the header's maximum timestamp was not that of the
/// records. Trailing bytes are refused, though Kafka cuts them off.
pub fn check_produce(
    records: &Bytes,
    rules: &ProduceRules,
    now_ms: i64,
    version: i16,
) -> Result<(BatchHeader, Bytes), Refused> {
    let header = check_envelope(records, version)?;
    check_header(&header, records, rules)?;
    let codec = check_codec(&header)?;
    let target = rules.codec.unwrap_or(codec);
    if codec != Codec::None && target == codec && !needs_records(&header, rules, now_ms) {
        return finish(header, records, rules, now_ms, header.max_timestamp);
    }
    let body = unpack_records(&header, records, rules.unpacked_bytes_max).map_err(unreadable)?;
    let newest = check_records(&header, &body, rules, now_ms)?;
    if target == codec {
        return finish(header, records, rules, now_ms, newest);
    }
    let max_timestamp = if rules.log_append_time { header.max_timestamp } else { newest };
    let header = BatchHeader { max_timestamp, ..header };
    let packed = with_records(&header, target, rules.level, &body)
        .map_err(|error| Refused::new(ErrorCode::InvalidRecord, error.to_string()))?;
    let header = BatchHeader::parse(&packed)
        .map_err(|corrupt| Refused::new(ErrorCode::CorruptMessage, corrupt.to_string()))?;
    finish(header, &packed, rules, now_ms, max_timestamp)
}

/// What must hold before a header can be read: one whole batch of magic 2.
fn check_envelope(records: &[u8], version: i16) -> Result<BatchHeader, Refused> {
    let none = || {
        let why = "must have at least one record batch per partition";
        Refused::new(
            ErrorCode::InvalidRecord,
            format!("Produce requests with version {version} {why}"),
        )
    };
    let corrupt = |message: String| Refused::new(ErrorCode::CorruptMessage, message);
    let Some(length) = records.get(8..LENGTH_END).and_then(|bytes| bytes.first_chunk::<4>()) else {
        return Err(none());
    };
    let length = i32::from_be_bytes(*length);
    if length < 14 {
        return Err(corrupt(format!(
            "Record size {length} is less than the minimum record overhead (14)"
        )));
    }
    let Some(&magic) = records.get(MAGIC_AT) else {
        return Err(none());
    };
    if magic > 2 {
        return Err(corrupt(format!("Invalid magic found in record: {}", magic as i8)));
    }
    let size = length as usize + LENGTH_END;
    if size > records.len() {
        return Err(none());
    }
    if magic < 2 {
        let why = "are only allowed to contain record batches with magic version 2";
        let message = format!("Produce requests with version {version} {why}, not {magic}");
        return Err(Refused::new(ErrorCode::InvalidRecord, message));
    }
    if size < HEADER_BYTES {
        let why = format!("is smaller than the minimum allowed overhead {HEADER_BYTES}");
        return Err(corrupt(format!("Record batch is corrupt (the size {size} {why})")));
    }
    let header = BatchHeader::parse(records).map_err(|error| corrupt(error.to_string()))?;
    if version < 7 && header.codec() == Some(Codec::Zstd) {
        let why = "are not allowed to use ZStandard compression";
        let message = format!("Produce requests with version {version} {why}");
        return Err(Refused::new(ErrorCode::UnsupportedCompressionType, message));
    }
    if size < records.len() {
        let why = "are only allowed to contain exactly one record batch per partition";
        let message = format!("Produce requests with version {version} {why}");
        return Err(Refused::new(ErrorCode::InvalidRecord, message));
    }
    Ok(header)
}

fn check_header(header: &BatchHeader, batch: &[u8], rules: &ProduceRules) -> Result<(), Refused> {
    let invalid = |message: String| Err(Refused::new(ErrorCode::InvalidRecord, message));
    let (first, last) = (header.base_offset, header.last_offset());
    if first != 0 {
        return invalid(format!(
            "The base offset of the record batch should be 0, but it is {first}"
        ));
    }
    check_size(header.size_bytes, rules)?;
    if let Err(corrupt) = header.check_crc(batch) {
        let message = format!("Record is corrupt: {}", corrupt.why);
        return Err(Refused::new(ErrorCode::CorruptMessage, message));
    }
    if last < first {
        return invalid(format!("Batch has an invalid offset range: [{first}, {last}]"));
    }
    if header.record_count <= 0 {
        return invalid(format!(
            "Invalid reported count for record batch: {}",
            header.record_count
        ));
    }
    if last + 1 != i64::from(header.record_count) {
        let count = header.record_count;
        let why = format!("and count of records {count}");
        return invalid(format!("Inconsistent batch offset range [{first}, {last}] {why}"));
    }
    if header.is_control() {
        return invalid("Clients are not allowed to write control records".into());
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let (sequence, id) = (header.base_sequence, header.producer_id);
        let why = format!("in record batch with producerId {id}");
        return invalid(format!("Invalid sequence number {sequence} {why}"));
    }
    Ok(())
}

fn check_size(size: usize, rules: &ProduceRules) -> Result<(), Refused> {
    let max = rules.batch_bytes_max;
    if size > max {
        let why = format!("exceeds the maximum configured value of {max}");
        let message = format!("The record batch size is {size} bytes which {why}");
        return Err(Refused::new(ErrorCode::RecordTooLarge, message));
    }
    if size > rules.segment_bytes {
        let why = format!("exceeds the maximum configured segment size of {}", rules.segment_bytes);
        let message = format!("Message batch size is {size} bytes which {why}");
        return Err(Refused::new(ErrorCode::RecordListTooLarge, message));
    }
    Ok(())
}

fn check_codec(header: &BatchHeader) -> Result<Codec, Refused> {
    header.codec().ok_or_else(|| {
        let message = format!("Unknown compression type id: {}", header.attributes & 7);
        Refused::new(ErrorCode::UnsupportedCompressionType, message)
    })
}

/// Whether a rule cannot be decided from the header of a compressed batch.
fn needs_records(header: &BatchHeader, rules: &ProduceRules, now_ms: i64) -> bool {
    if rules.compacted || header.timestamp_type() == TimestampType::LogAppendTime {
        return true;
    }
    if rules.log_append_time {
        return false;
    }
    rules.timestamp_before_max_ms != i64::MAX || !in_time(header.max_timestamp, rules, now_ms)
}

fn in_time(timestamp: i64, rules: &ProduceRules, now_ms: i64) -> bool {
    let age = now_ms.saturating_sub(timestamp);
    timestamp == NO_TIMESTAMP
        || (age <= rules.timestamp_before_max_ms
            && age.saturating_neg() <= rules.timestamp_after_max_ms)
}

/// Walks the records; answers their largest timestamp.
fn check_records(
    header: &BatchHeader,
    body: &[u8],
    rules: &ProduceRules,
    now_ms: i64,
) -> Result<i64, Refused> {
    let mut newest = NO_TIMESTAMP;
    let mut index = 0;
    let mut errors = Vec::new();
    let mut untimely = false;
    let mut check = |raw: &RawRecord| {
        if raw.offset_delta != index {
            return Err(Trouble::Offset(index, raw.offset_delta));
        }
        newest = newest.max(header.base_timestamp.wrapping_add(raw.timestamp_delta));
        if !is_fine(header, raw, rules, now_ms) {
            let (timely, error) = record_error(header, raw, rules, now_ms);
            untimely |= !timely;
            errors.push((index, error));
        }
        index += 1;
        Ok(true)
    };
    walk_records(body, header.record_count, &mut check).map_err(|trouble| match trouble {
        Trouble::Corrupt(corrupt) => unreadable(in_batch(header, corrupt).into()),
        Trouble::Offset(index, delta) => {
            let message = format!("record {index} has the offset delta {delta}");
            Refused::new(ErrorCode::InvalidRecord, message)
        }
    })?;
    if errors.is_empty() {
        return Ok(newest);
    }
    Err(refusal(errors, untimely))
}

enum Trouble {
    Corrupt(Corrupt),
    Offset(i32, i32),
}

impl From<Corrupt> for Trouble {
    fn from(corrupt: Corrupt) -> Self {
        Trouble::Corrupt(corrupt)
    }
}

#[inline(always)]
fn is_fine(header: &BatchHeader, raw: &RawRecord, rules: &ProduceRules, now_ms: i64) -> bool {
    if rules.compacted && raw.key.is_none() {
        return false;
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return false;
    }
    let timestamp = header.base_timestamp.wrapping_add(raw.timestamp_delta);
    rules.log_append_time || in_time(timestamp, rules, now_ms)
}

/// Why a record is not fine, and whether that is something else than its timestamp.
#[cold]
fn record_error(
    header: &BatchHeader,
    raw: &RawRecord,
    rules: &ProduceRules,
    now_ms: i64,
) -> (bool, String) {
    if rules.compacted && raw.key.is_none() {
        return (true, "Compacted topic cannot accept message without key".into());
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        let why = "Producer should not set timestamp type to LogAppendTime";
        return (false, format!("Invalid timestamp type in message. {why}."));
    }
    let timestamp = header.base_timestamp.wrapping_add(raw.timestamp_delta);
    let from = now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let to = now_ms.saturating_add(rules.timestamp_after_max_ms);
    let why = format!("The timestamp should be within [{from}, {to}]");
    let offset = raw.offset_delta;
    (false, format!("Timestamp {timestamp} of message with offset {offset} is out of range. {why}"))
}

fn refusal(record_errors: Vec<(i32, String)>, untimely: bool) -> Refused {
    if untimely {
        let message = "One or more records have been rejected due to invalid timestamp".into();
        return Refused { code: ErrorCode::InvalidTimestamp, message, record_errors };
    }
    let first: Vec<String> = record_errors
        .iter()
        .take(RECORDS_NAMED)
        .map(|(index, error)| format!("record {index}: {error}"))
        .collect();
    let message = format!(
        "One or more records have been rejected due to {} record errors in total, the first: {}",
        record_errors.len(),
        first.join("; ")
    );
    Refused { code: ErrorCode::InvalidRecord, message, record_errors }
}

fn unreadable(error: ReadError) -> Refused {
    match error {
        ReadError::TooLarge { .. } => Refused::new(ErrorCode::RecordTooLarge, error.to_string()),
        ReadError::Corrupt(Corrupt { why, .. }) => Refused::new(ErrorCode::InvalidRecord, why),
    }
}

/// The batch with the timestamp that it must carry: the broker's, or the newest of its records.
fn finish(
    header: BatchHeader,
    batch: &Bytes,
    rules: &ProduceRules,
    now_ms: i64,
    newest: i64,
) -> Result<(BatchHeader, Bytes), Refused> {
    check_size(header.size_bytes, rules)?;
    let max_timestamp = if rules.log_append_time { now_ms } else { newest };
    if !rules.log_append_time && header.max_timestamp == max_timestamp {
        return Ok((header, batch.clone()));
    }
    let batch = restamp(&header, batch, max_timestamp, rules.log_append_time);
    let header = BatchHeader::parse(&batch)
        .map_err(|corrupt| Refused::new(ErrorCode::CorruptMessage, corrupt.to_string()))?;
    Ok((header, batch))
}
