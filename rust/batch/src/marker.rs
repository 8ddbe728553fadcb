//! Control batches that end a transaction: the key holds version and type, the value version and
//! the epoch of the coordinator that wrote it.

use crate::header::{BatchHeader, Codec, Corrupt, HEADER_BYTES};
use crate::record::read_raw;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MarkerKind {
    Abort = 0,
    Commit = 1,
}

/// What a transaction marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    pub kind: MarkerKind,
    pub coordinator_epoch: i32,
    pub timestamp: i64,
}

impl EndMarker {
    /// The marker in the control batch `batch`.
    ///
    /// None for a control batch that was emptied by the cleaner, and for control types that have
    /// nothing to do with transactions.
    pub fn parse(header: &BatchHeader, batch: &[u8]) -> Result<Option<Self>, Corrupt> {
        if header.record_count <= 0 {
            return Ok(None);
        }
        if header.codec() != Some(Codec::None) {
            return Err(Corrupt::new(HEADER_BYTES, "a compressed control batch"));
        }
        let batch = &batch[..header.size_bytes];
        let raw = read_raw(batch, HEADER_BYTES)?;
        let Some(kind) = control_type(batch, raw.key)? else {
            return Ok(None);
        };
        let value = raw.value.map_or(&[][..], |(from, to)| &batch[from..to]);
        let Some(value) = value.first_chunk::<6>() else {
            let why = format!("a marker value of {} bytes, at least 6 are needed", value.len());
            return Err(Corrupt::new(HEADER_BYTES, why));
        };
        if i16::from_be_bytes([value[0], value[1]]) < 0 {
            return Err(Corrupt::new(HEADER_BYTES, "a negative version of a marker value"));
        }
        let coordinator_epoch = i32::from_be_bytes([value[2], value[3], value[4], value[5]]);
        let timestamp = header.record_timestamp(raw.timestamp_delta);
        Ok(Some(Self { kind, coordinator_epoch, timestamp }))
    }

    pub(crate) fn key(kind: MarkerKind) -> [u8; 4] {
        [0, 0, 0, kind as u8]
    }

    pub(crate) fn value(coordinator_epoch: i32) -> [u8; 6] {
        let epoch = coordinator_epoch.to_be_bytes();
        [0, 0, epoch[0], epoch[1], epoch[2], epoch[3]]
    }
}

fn control_type(batch: &[u8], key: Option<(usize, usize)>) -> Result<Option<MarkerKind>, Corrupt> {
    let key = key.map_or(&[][..], |(from, to)| &batch[from..to]);
    let Some(key) = key.first_chunk::<4>() else {
        let why = format!("a control key of {} bytes, at least 4 are needed", key.len());
        return Err(Corrupt::new(HEADER_BYTES, why));
    };
    if i16::from_be_bytes([key[0], key[1]]) < 0 {
        return Err(Corrupt::new(HEADER_BYTES, "a negative version of a control key"));
    }
    Ok(match i16::from_be_bytes([key[2], key[3]]) {
        0 => Some(MarkerKind::Abort),
        1 => Some(MarkerKind::Commit),
        _ => None,
    })
}
