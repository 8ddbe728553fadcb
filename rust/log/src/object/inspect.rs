//! Everything in an object, verified, part by part: for support and for audits.

use automq_batch::decode_digest;
use bytes::Bytes;

use super::block::{BLOCK_HEADER_BYTES, open_block, open_digest};
use super::{DamagedObject, FOOTER_BYTES, ObjectIndex, parse_footer};
use crate::batches::walk;

/// One part of an object, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// "block", "digest", "index" or "footer".
    pub kind: &'static str,
    pub position: u64,
    pub size_bytes: u64,
    pub stream: Option<i64>,
    /// Facts for people.
    pub summary: String,
    /// None when it is what it should be.
    pub damage: Option<DamagedObject>,
}

/// The parts of the object `data`, in order of position, each verified down to its batches' CRC.
///
/// Fails only where nothing can be listed: without a right footer and index.
pub fn inspect(data: &Bytes) -> Result<Vec<Part>, DamagedObject> {
    let footer = parse_footer(data, data.len() as u64, None, None)?;
    let range =
        footer.index_position as usize..(footer.index_position + footer.index_bytes) as usize;
    let index_data = &data[range];
    let identity = (Some(footer.object_id), Some(footer.cluster_id));
    let index = ObjectIndex::parse(index_data, footer.index_position, identity.0, identity.1)?;
    let mut parts = block_parts(data, &index);
    parts.extend(digest_parts(data, &index));
    let (streams, blocks) = (index.streams().count(), index.block_count());
    let agree = footer.index_checksum == super::u32_at(index_data, 4);
    let differs = || DamagedObject::at(footer.index_position, "not the index of the footer");
    parts.push(Part {
        kind: "index",
        position: footer.index_position,
        size_bytes: footer.index_bytes,
        stream: None,
        summary: format!("{streams} streams, {blocks} blocks"),
        damage: (!agree).then(differs),
    });
    parts.push(Part {
        kind: "footer",
        position: (data.len() - FOOTER_BYTES) as u64,
        size_bytes: FOOTER_BYTES as u64,
        stream: None,
        summary: format!(
            "object {} of cluster {}, version {}",
            footer.object_id,
            super::hex(&footer.cluster_id),
            footer.version
        ),
        damage: None,
    });
    Ok(parts)
}

fn slice(data: &Bytes, position: u64, size_bytes: u64) -> Bytes {
    data.slice(position as usize..(position + size_bytes) as usize)
}

fn block_parts(data: &Bytes, index: &ObjectIndex) -> Vec<Part> {
    let part = |block: super::BlockRef| {
        let bytes = slice(data, block.position, block.size_bytes);
        let inner = block.position + BLOCK_HEADER_BYTES as u64;
        let checked = open_block(&bytes, &block).and_then(|batches| check_batches(&batches, inner));
        let (start, end, records) = (block.start, block.end, block.record_count);
        let counted = checked.as_ref().map_or("?".to_owned(), ToString::to_string);
        Part {
            kind: "block",
            position: block.position,
            size_bytes: block.size_bytes,
            stream: Some(block.stream),
            summary: format!(
                "offsets [{start}, {end}), {records} records in {counted} batches, newest {}",
                block.max_timestamp
            ),
            damage: checked.err(),
        }
    };
    index.blocks().into_iter().map(part).collect()
}

fn check_batches(batches: &[u8], position: u64) -> Result<usize, DamagedObject> {
    let mut count = 0;
    for batch in walk(batches, 0) {
        let at = |inner: usize| position + inner as u64;
        let batch = batch.map_err(|bad| DamagedObject::at(at(bad.position), bad.why))?;
        let whole = &batches[batch.position..batch.end_position()];
        let checked = batch.header.check_crc(whole);
        checked.map_err(|bad| DamagedObject::at(at(batch.position + bad.position), bad.why))?;
        count += 1;
    }
    Ok(count)
}

fn digest_parts(data: &Bytes, index: &ObjectIndex) -> Vec<Part> {
    let part = |digest: super::DigestRef| {
        let bytes = slice(data, digest.position, digest.size_bytes);
        let entries = open_digest(&bytes, &digest).and_then(|content| {
            decode_digest(&content).map_err(|bad| DamagedObject::at(digest.position, bad.why))
        });
        Part {
            kind: "digest",
            position: digest.position,
            size_bytes: digest.size_bytes,
            stream: Some(digest.stream),
            summary: entries.as_ref().map_or("?".to_owned(), |e| format!("{} entries", e.len())),
            damage: entries.err(),
        }
    };
    index.streams().filter_map(|stream| index.digest_ref(stream)).map(part).collect()
}
