//! New batches, and batches in another form.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::compress::pack;
use crate::header::{
    ATTRIBUTES_AT, BatchHeader, CODEC_MASK, CONTROL_FLAG, CRC_AT, Codec, Corrupt, HEADER_BYTES,
    LEADER_EPOCH_AT, LOG_APPEND_TIME_FLAG, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP,
    TRANSACTIONAL_FLAG, crc32c,
};
use crate::marker::{EndMarker, MarkerKind};
use crate::read::{ReadError, unpack_records};
use crate::record::put_record;

/// A record to be written. Offsets follow from the order.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// What a new batch is to say beside its records. The default is a plain, uncompressed one.
#[derive(Clone, Copy, Debug)]
pub struct BatchSpec {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub codec: Codec,
    pub level: Option<i32>,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub is_transactional: bool,
    pub is_control: bool,
    /// The broker's time, for LogAppendTime; None is CreateTime.
    pub log_append_time: Option<i64>,
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            codec: Codec::None,
            level: None,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            is_transactional: false,
            is_control: false,
            log_append_time: None,
        }
    }
}

/// A batch of `records`, its CRC right. Fails when there are none, or more than a batch can hold.
pub fn build_batch(records: &[NewRecord], spec: &BatchSpec) -> io::Result<Bytes> {
    let Some(first) = records.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a batch needs a record"));
    };
    let base_timestamp = first.timestamp;
    let mut body = Vec::with_capacity(records.iter().map(NewRecord::bytes).sum());
    for (offset_delta, record) in records.iter().enumerate() {
        let delta = record.timestamp.wrapping_sub(base_timestamp);
        let parts = (record.key.as_deref(), record.value.as_deref());
        put_record(&mut body, delta, offset_delta as i32, parts, &record.headers);
    }
    let newest = records.iter().map(|record| record.timestamp).max().unwrap_or(NO_TIMESTAMP);
    let flag = |set: bool, flag: i16| if set { flag } else { 0 };
    let header = BatchHeader {
        base_offset: spec.base_offset,
        size_bytes: HEADER_BYTES,
        leader_epoch: spec.leader_epoch,
        crc: 0,
        attributes: flag(spec.is_transactional, TRANSACTIONAL_FLAG)
            | flag(spec.is_control, CONTROL_FLAG)
            | flag(spec.log_append_time.is_some(), LOG_APPEND_TIME_FLAG),
        last_offset_delta: records.len() as i32 - 1,
        base_timestamp,
        max_timestamp: spec.log_append_time.unwrap_or(newest),
        producer_id: spec.producer_id,
        producer_epoch: spec.producer_epoch,
        base_sequence: spec.base_sequence,
        record_count: records.len() as i32,
    };
    with_records(&header, spec.codec, spec.level, &body)
}

impl NewRecord {
    /// An upper bound for what it takes, for reserving.
    fn bytes(&self) -> usize {
        let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = |(name, content): &(Bytes, Option<Bytes>)| name.len() + part(content) + 10;
        32 + part(&self.key) + part(&self.value) + self.headers.iter().map(headers).sum::<usize>()
    }
}

/// `header` over `records` (uncompressed bytes), packed by `codec`. Size, codec and CRC are set.
pub(crate) fn with_records(
    header: &BatchHeader,
    codec: Codec,
    level: Option<i32>,
    records: &[u8],
) -> io::Result<Bytes> {
    let packed = match codec {
        Codec::None => None,
        packing => Some(pack(packing, level, records)?),
    };
    let body = packed.as_deref().unwrap_or(records);
    let size_bytes = HEADER_BYTES + body.len();
    if size_bytes > i32::MAX as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a batch of more than 2 GiB"));
    }
    let attributes = (header.attributes & !CODEC_MASK) | codec as i16;
    Ok(sealed(&BatchHeader { size_bytes, attributes, ..*header }, body))
}

/// `batch` with its records packed by another codec; everything else stays as it is.
pub fn recompress(
    header: &BatchHeader,
    batch: &Bytes,
    codec: Codec,
    level: Option<i32>,
    bytes_max: usize,
) -> Result<Bytes, ReadError> {
    let records = unpack_records(header, batch, bytes_max)?;
    with_records(header, codec, level, &records)
        .map_err(|error| Corrupt::new(HEADER_BYTES, error.to_string()).into())
}

/// Header and body as one batch with a right CRC.
fn sealed(header: &BatchHeader, body: &[u8]) -> Bytes {
    let mut batch = BytesMut::with_capacity(header.size_bytes);
    batch.extend_from_slice(&header.encode());
    batch.extend_from_slice(body);
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

/// The batch that ends a transaction of a producer in one partition.
pub fn build_marker(
    kind: MarkerKind,
    coordinator_epoch: i32,
    timestamp: i64,
    spec: &BatchSpec,
) -> io::Result<Bytes> {
    let record = NewRecord {
        timestamp,
        key: Some(Bytes::copy_from_slice(&EndMarker::key(kind))),
        value: Some(Bytes::copy_from_slice(&EndMarker::value(coordinator_epoch))),
        headers: Vec::new(),
    };
    let spec = BatchSpec {
        codec: Codec::None,
        base_sequence: NO_SEQUENCE,
        is_transactional: true,
        is_control: true,
        ..*spec
    };
    build_batch(&[record], &spec)
}

/// A copy of `batch` with another maximum timestamp and timestamp type, and the CRC of that.
///
/// With LogAppendTime every record of the batch then has that timestamp (KIP-32).
pub fn restamp(header: &BatchHeader, batch: &[u8], max_timestamp: i64, append_time: bool) -> Bytes {
    let flag = if append_time { LOG_APPEND_TIME_FLAG } else { 0 };
    let attributes = (header.attributes & !LOG_APPEND_TIME_FLAG) | flag;
    let header = BatchHeader { attributes, max_timestamp, ..*header };
    sealed(&header, &batch[HEADER_BYTES..header.size_bytes])
}

/// A copy of `batch` with its offset and leader epoch; both lie outside the CRC.
pub fn stamp_copy(batch: &[u8], base_offset: i64, leader_epoch: i32) -> Bytes {
    let mut copy = BytesMut::from(batch);
    copy[0..8].copy_from_slice(&base_offset.to_be_bytes());
    copy[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&leader_epoch.to_be_bytes());
    copy.freeze()
}

/// Writes offset and leader epoch into the batch where it lies.
///
/// # Safety
/// * `batch` starts with a whole batch header, in memory that is writable and whose provenance was
///   exposed by whoever allocated it (`expose_provenance`, or any pointer cast to an integer).
/// * No one else reads or writes the first 16 bytes of it during the call, and no reference to
///   them is held across it. A frame just decoded meets this: only the request that owns it knows
///   it, and it is stamped before it is given to the log cache.
pub unsafe fn stamp_in_place(batch: &Bytes, base_offset: i64, leader_epoch: i32) {
    assert!(batch.len() >= HEADER_BYTES, "{} bytes are no batch", batch.len());
    let start = std::ptr::with_exposed_provenance_mut::<u8>(batch.as_ptr() as usize);
    let (offset, epoch) = (base_offset.to_be_bytes(), leader_epoch.to_be_bytes());
    // SAFETY: both ranges lie in the batch (asserted); writable and unshared by the contract above.
    unsafe {
        std::ptr::copy_nonoverlapping(offset.as_ptr(), start, offset.len());
        std::ptr::copy_nonoverlapping(epoch.as_ptr(), start.add(LEADER_EPOCH_AT), epoch.len());
    }
}
