//! Records out of batches: all of them, the one a timestamp asks for, the newest.

use std::fmt;

use bytes::Bytes;

use crate::compress::{UnpackError, unpack};
use crate::header::{BatchHeader, Codec, Corrupt, HEADER_BYTES, batches};
use crate::record::{RawRecord, read_headers, walk_records};

/// One record and what its batch says about it. `key`, `value` and headers share memory with the
/// batch, or with what it was decompressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub is_transactional: bool,
    pub is_control: bool,
}

/// Where a record is that a timestamp led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// Why records could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    Corrupt(Corrupt),
    /// More than the caller allows would come out.
    TooLarge {
        bytes_max: usize,
    },
}

impl From<Corrupt> for ReadError {
    fn from(corrupt: Corrupt) -> Self {
        ReadError::Corrupt(corrupt)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Corrupt(corrupt) => corrupt.fmt(f),
            ReadError::TooLarge { bytes_max } => {
                UnpackError::TooLarge { bytes_max: *bytes_max }.fmt(f)
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// The records of one batch, uncompressed: shared where they are, else at most `bytes_max` bytes.
pub fn unpack_records(
    header: &BatchHeader,
    batch: &Bytes,
    bytes_max: usize,
) -> Result<Bytes, ReadError> {
    let Some(codec) = header.codec() else {
        let why = format!("no codec has the number {}", header.attributes & 7);
        return Err(Corrupt::new(crate::header::ATTRIBUTES_AT, why).into());
    };
    let body = batch.slice(HEADER_BYTES..header.size_bytes);
    if codec == Codec::None {
        return Ok(body);
    }
    if header.record_count <= 0 && body.is_empty() {
        return Ok(body); // emptied by a cleaner
    }
    match unpack(codec, &body, bytes_max) {
        Ok(records) => Ok(records.into()),
        Err(UnpackError::TooLarge { bytes_max }) => Err(ReadError::TooLarge { bytes_max }),
        Err(UnpackError::Damaged(why)) => Err(Corrupt::new(HEADER_BYTES, why).into()),
    }
}

/// Calls `each` with every batch and its records. An error says where in `data` the batch lies
/// (for a position inside compressed records: the position of the batch's body).
fn each_batch(
    data: &Bytes,
    mut each: impl FnMut(&BatchHeader, &Bytes) -> Result<bool, ReadError>,
) -> Result<(), ReadError> {
    let mut walk = batches(data);
    loop {
        let start = walk.position();
        let Some(item) = walk.next() else {
            return Ok(());
        };
        let (header, batch) = item?;
        let goes_on = each(&header, &batch).map_err(|error| match error {
            ReadError::Corrupt(corrupt) => ReadError::Corrupt(corrupt.shifted(start)),
            too_large => too_large,
        })?;
        if !goes_on {
            return Ok(());
        }
    }
}

/// Makes a position in the records one in the batch, as far as that has a meaning.
pub(crate) fn in_batch(header: &BatchHeader, corrupt: Corrupt) -> Corrupt {
    match header.codec() {
        Some(Codec::None) => corrupt.shifted(HEADER_BYTES),
        _ => Corrupt::new(HEADER_BYTES, corrupt.why),
    }
}

/// Calls `each` with the records of one batch, until it says false.
pub(crate) fn each_raw(
    header: &BatchHeader,
    records: &[u8],
    each: impl FnMut(&RawRecord) -> Result<bool, Corrupt>,
) -> Result<(), Corrupt> {
    walk_records(records, header.record_count, each).map_err(|corrupt| in_batch(header, corrupt))
}

pub(crate) fn record_of(
    header: &BatchHeader,
    records: &Bytes,
    raw: &RawRecord,
) -> Result<Record, Corrupt> {
    let part = |range: Option<(usize, usize)>| range.map(|(from, to)| records.slice(from..to));
    Ok(Record {
        offset: header.base_offset.wrapping_add(i64::from(raw.offset_delta)),
        timestamp: header.record_timestamp(raw.timestamp_delta),
        key: part(raw.key),
        value: part(raw.value),
        headers: read_headers(records, raw)?,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        is_transactional: header.is_transactional(),
        is_control: header.is_control(),
    })
}

/// Every record of concatenated batches. `bytes_max` bounds what decompression gives in all.
pub fn read_records(data: &Bytes, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
    let mut all = Vec::new();
    let mut left = bytes_max;
    each_batch(data, |header, batch| {
        let records =
            unpack_records(header, batch, left).map_err(|error| whole_bound(error, bytes_max))?;
        if header.codec() != Some(Codec::None) {
            left -= records.len();
        }
        each_raw(header, &records, |raw| {
            all.push(record_of(header, &records, raw)?);
            Ok(true)
        })?;
        Ok(true)
    })?;
    Ok(all)
}

fn whole_bound(error: ReadError, bytes_max: usize) -> ReadError {
    match error {
        ReadError::TooLarge { .. } => ReadError::TooLarge { bytes_max },
        corrupt => corrupt,
    }
}

/// The first record at `start_offset` or later that is not older than `timestamp`.
///
/// Only batches whose maximum says that they hold one are decompressed. `bytes_max` bounds each.
pub fn find_timestamp(
    data: &Bytes,
    timestamp: i64,
    start_offset: i64,
    bytes_max: usize,
) -> Result<Option<Found>, ReadError> {
    let mut found = None;
    each_batch(data, |header, batch| {
        if header.max_timestamp < timestamp || header.last_offset() < start_offset {
            return Ok(true);
        }
        let fits = |at: &Found| at.timestamp >= timestamp && at.offset >= start_offset;
        found = first_record(header, batch, bytes_max, fits)?;
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// The first record that carries the largest timestamp of `data` (KIP-734); None without records.
pub fn max_timestamp(data: &Bytes, bytes_max: usize) -> Result<Option<Found>, ReadError> {
    let mut newest: Option<(BatchHeader, Bytes)> = None;
    each_batch(data, |header, batch| {
        let newer =
            newest.as_ref().is_none_or(|(best, _)| header.max_timestamp > best.max_timestamp);
        if newer && header.record_count > 0 {
            newest = Some((*header, batch.clone()));
        }
        Ok(true)
    })?;
    let Some((header, batch)) = newest else {
        return Ok(None);
    };
    first_record(&header, &batch, bytes_max, |at| at.timestamp == header.max_timestamp)
}

fn first_record(
    header: &BatchHeader,
    batch: &Bytes,
    bytes_max: usize,
    fits: impl Fn(&Found) -> bool,
) -> Result<Option<Found>, ReadError> {
    let records = unpack_records(header, batch, bytes_max)?;
    let mut found = None;
    each_raw(header, &records, |raw| {
        let at = Found {
            offset: header.base_offset.wrapping_add(i64::from(raw.offset_delta)),
            timestamp: header.record_timestamp(raw.timestamp_delta),
            leader_epoch: header.leader_epoch,
        };
        found = fits(&at).then_some(at);
        Ok(found.is_none())
    })?;
    Ok(found)
}
