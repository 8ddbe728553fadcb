//! The footer: what an object says of itself, at its end.

use automq_batch::crc32c;

use super::{
    ClusterId, DamagedObject, OBJECT_VERSION, check_identity, check_version, i64_at, take, u16_at,
    u32_at, u64_at,
};

pub const FOOTER_BYTES: usize = 72;
const MAGIC: [u8; 4] = *b"AQO1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    pub object_id: i64,
    pub cluster_id: ClusterId,
    pub object_bytes: u64,
    pub digest_position: u64,
    pub index_position: u64,
    pub index_bytes: u64,
    pub index_checksum: u32,
    pub version: u16,
}

impl Footer {
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[0..8].copy_from_slice(&self.object_id.to_be_bytes());
        out[8..24].copy_from_slice(&self.cluster_id);
        out[24..32].copy_from_slice(&self.object_bytes.to_be_bytes());
        out[32..40].copy_from_slice(&self.digest_position.to_be_bytes());
        out[40..48].copy_from_slice(&self.index_position.to_be_bytes());
        out[48..56].copy_from_slice(&self.index_bytes.to_be_bytes());
        out[56..60].copy_from_slice(&self.index_checksum.to_be_bytes());
        out[60..62].copy_from_slice(&OBJECT_VERSION.to_be_bytes());
        let checksum = crc32c(&out[..64]);
        out[64..68].copy_from_slice(&checksum.to_be_bytes());
        out[68..72].copy_from_slice(&MAGIC);
        out
    }
}

/// The footer at the end of `tail`, the last bytes of an object of `object_bytes`.
///
/// Given ids must be those of the object.
pub fn parse_footer(
    tail: &[u8],
    object_bytes: u64,
    object_id: Option<i64>,
    cluster_id: Option<ClusterId>,
) -> Result<Footer, DamagedObject> {
    let Some((_, raw)) = tail.split_last_chunk::<FOOTER_BYTES>() else {
        let why = format!("{} bytes where a footer of {FOOTER_BYTES} should be", tail.len());
        return Err(DamagedObject::at(object_bytes.saturating_sub(tail.len() as u64), why));
    };
    let position = object_bytes.saturating_sub(FOOTER_BYTES as u64);
    let damaged = |why: String| DamagedObject::at(position, why);
    if raw[68..72] != MAGIC {
        return Err(damaged("no footer: no object of ours, or one that is cut short".to_owned()));
    }
    let (stored, found) = (u32_at(raw, 64), crc32c(&raw[..64]));
    if stored != found {
        let why =
            format!("the footer's stored CRC-32C is {stored:08x}, its bytes give {found:08x}");
        return Err(damaged(why));
    }
    let footer = Footer {
        object_id: i64_at(raw, 0),
        cluster_id: take(raw, 8),
        object_bytes: u64_at(raw, 24),
        digest_position: u64_at(raw, 32),
        index_position: u64_at(raw, 40),
        index_bytes: u64_at(raw, 48),
        index_checksum: u32_at(raw, 56),
        version: u16_at(raw, 60),
    };
    check_version(position, footer.version, u16_at(raw, 62))?;
    check_identity(position, (footer.object_id, footer.cluster_id), (object_id, cluster_id))?;
    if footer.object_bytes != object_bytes {
        let why = format!("written with {} bytes, here are {object_bytes}", footer.object_bytes);
        return Err(damaged(why));
    }
    let index_end = footer.index_position.checked_add(footer.index_bytes);
    if index_end != Some(position) || footer.digest_position > footer.index_position {
        return Err(damaged("its parts do not fit together".to_owned()));
    }
    Ok(footer)
}
