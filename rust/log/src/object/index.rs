//! The index: which block of an object holds what.

use automq_batch::crc32c;

use super::block::{BLOCK_HEADER_BYTES, BlockRef, DIGEST_HEADER_BYTES, DigestRef};
use super::varint::{Reader, put, put_signed};
use super::{
    ClusterId, DamagedObject, OBJECT_VERSION, Range, check_identity, check_version, i64_at, take,
    u16_at, u32_at,
};

const MAGIC: [u8; 4] = *b"AQI1";
const HEADER_BYTES: usize = 44;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    pub stream: i64,
    /// Number of its first block; the next entry's is the end.
    pub first_block: usize,
    pub digest_position: u64,
    /// 0: no digest.
    pub digest_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    pub start: i64,
    pub end: i64,
    pub record_count: u64,
    pub position: u64,
    pub size_bytes: u64,
    pub max_timestamp: i64,
}

/// An index that was read and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectIndex {
    object_id: i64,
    cluster_id: ClusterId,
    digest_position: u64,
    index_position: u64,
    streams: Vec<StreamEntry>,
    blocks: Vec<BlockEntry>,
}

impl ObjectIndex {
    /// Reads the index block `data` that lies at `position`. Given ids must be those of the object.
    pub fn parse(
        data: &[u8],
        position: u64,
        object_id: Option<i64>,
        cluster_id: Option<ClusterId>,
    ) -> Result<Self, DamagedObject> {
        if data.len() < HEADER_BYTES || data[0..4] != MAGIC {
            return Err(DamagedObject::at(position, "no index starts here"));
        }
        let (stored, found) = (u32_at(data, 4), crc32c(&data[8..]));
        if stored != found {
            let why =
                format!("the index's stored CRC-32C is {stored:08x}, its bytes give {found:08x}");
            return Err(DamagedObject::at(position, why));
        }
        check_version(position, u16_at(data, 32), u16_at(data, 34))?;
        let identity = (i64_at(data, 8), take(data, 16));
        check_identity(position, identity, (object_id, cluster_id))?;
        let (streams, blocks) = (u32_at(data, 36) as usize, u32_at(data, 40) as usize);
        // A column has a byte a row at least, so damaged counts cannot ask for much memory.
        if streams.saturating_mul(3).saturating_add(blocks.saturating_mul(5)) > data.len() {
            return Err(DamagedObject::at(position, "more rows than bytes in the index"));
        }
        let mut reader = Reader::new(data, HEADER_BYTES, position);
        let mut index = Self {
            object_id: identity.0,
            cluster_id: identity.1,
            digest_position: 0,
            index_position: position,
            streams: Vec::new(),
            blocks: Vec::new(),
        };
        index.streams = read_streams(&mut reader, streams, blocks)?;
        index.blocks = read_blocks(&mut reader, &index.streams, blocks)?;
        if !reader.is_at_end() {
            return Err(reader.damaged("bytes behind the last column of the index"));
        }
        index.place_digests(&reader)?;
        Ok(index)
    }

    fn place_digests(&mut self, reader: &Reader<'_>) -> Result<(), DamagedObject> {
        let end = self.blocks.last().map_or(0, |block| block.position + block.size_bytes);
        self.digest_position = end;
        let mut at = end;
        for entry in &mut self.streams {
            entry.digest_position = at;
            at = at.checked_add(entry.digest_bytes).ok_or_else(|| reader.damaged("too large"))?;
        }
        if at != self.index_position {
            let why = format!("blocks and digests end at {at}, the index is elsewhere");
            return Err(DamagedObject::at(self.index_position, why));
        }
        Ok(())
    }

    /// The bytes of an index, for `parse`.
    pub fn encode(
        object_id: i64,
        cluster_id: ClusterId,
        streams: &[StreamEntry],
        blocks: &[BlockEntry],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + 8 * streams.len() + 24 * blocks.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&object_id.to_be_bytes());
        out.extend_from_slice(&cluster_id);
        out.extend_from_slice(&OBJECT_VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(streams.len() as u32).to_be_bytes());
        out.extend_from_slice(&(blocks.len() as u32).to_be_bytes());
        write_columns(&mut out, streams, blocks);
        let checksum = crc32c(&out[8..]);
        out[4..8].copy_from_slice(&checksum.to_be_bytes());
        out
    }

    pub fn object_id(&self) -> i64 {
        self.object_id
    }

    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// Where the digests are: `[digest_position, index_position)`.
    pub fn digest_position(&self) -> u64 {
        self.digest_position
    }

    pub fn index_position(&self) -> u64 {
        self.index_position
    }

    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The memory this index takes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.streams.capacity() * size_of::<StreamEntry>()
            + self.blocks.capacity() * size_of::<BlockEntry>()
    }

    pub fn streams(&self) -> impl Iterator<Item = i64> + '_ {
        self.streams.iter().map(|entry| entry.stream)
    }

    /// Blocks of a stream from the one that holds `offset` (or the first above it), at most `limit`.
    pub fn find(&self, stream: i64, offset: i64, limit: usize) -> Vec<BlockRef> {
        let Some(blocks) = self.entry(stream).map(|at| self.blocks_of(at)) else {
            return Vec::new();
        };
        let first = blocks.partition_point(|block| block.end <= offset);
        let wanted = blocks[first..].iter().take(limit);
        wanted.map(|block| self.block_ref(stream, block)).collect()
    }

    /// The first block of a stream, ending above `start`, whose newest timestamp is not before.
    pub fn find_timestamp(&self, stream: i64, timestamp: i64, start: i64) -> Option<BlockRef> {
        let blocks = self.blocks_of(self.entry(stream)?);
        let first = blocks.partition_point(|block| block.end <= start);
        let found = blocks[first..].iter().find(|block| block.max_timestamp >= timestamp);
        found.map(|block| self.block_ref(stream, block))
    }

    /// Where the stream's digest is; None when its batches say nothing of producers.
    pub fn digest_ref(&self, stream: i64) -> Option<DigestRef> {
        let entry = &self.streams[self.entry(stream)?];
        (entry.digest_bytes > 0).then_some(DigestRef {
            object_id: self.object_id,
            stream,
            position: entry.digest_position,
            size_bytes: entry.digest_bytes,
        })
    }

    /// What the object holds of each stream, by stream.
    pub fn ranges(&self) -> Vec<Range> {
        ranges(&self.streams, &self.blocks)
    }

    /// Every block, in order of position.
    pub fn blocks(&self) -> Vec<BlockRef> {
        let blocks_of = |at: usize| {
            let stream = self.streams[at].stream;
            self.blocks_of(at).iter().map(move |block| self.block_ref(stream, block))
        };
        (0..self.streams.len()).flat_map(blocks_of).collect()
    }

    fn entry(&self, stream: i64) -> Option<usize> {
        self.streams.binary_search_by_key(&stream, |entry| entry.stream).ok()
    }

    fn blocks_of(&self, at: usize) -> &[BlockEntry] {
        let end = self.streams.get(at + 1).map_or(self.blocks.len(), |next| next.first_block);
        &self.blocks[self.streams[at].first_block..end]
    }

    fn block_ref(&self, stream: i64, block: &BlockEntry) -> BlockRef {
        BlockRef {
            object_id: self.object_id,
            stream,
            start: block.start,
            end: block.end,
            record_count: block.record_count,
            position: block.position,
            size_bytes: block.size_bytes,
            max_timestamp: block.max_timestamp,
        }
    }
}

/// What the blocks hold of each stream.
pub fn ranges(streams: &[StreamEntry], blocks: &[BlockEntry]) -> Vec<Range> {
    let ends = streams.iter().skip(1).map(|next| next.first_block).chain([blocks.len()]);
    let range = |(entry, end): (&StreamEntry, usize)| {
        let blocks = &blocks[entry.first_block..end];
        Range {
            stream: entry.stream,
            start: blocks[0].start,
            end: blocks[blocks.len() - 1].end,
            bytes: blocks.iter().map(|block| block.size_bytes - BLOCK_HEADER_BYTES as u64).sum(),
            max_timestamp: blocks.iter().map(|block| block.max_timestamp).fold(i64::MIN, i64::max),
            record_count: blocks.iter().map(|block| block.record_count).sum(),
        }
    };
    streams.iter().zip(ends).map(range).collect()
}

fn write_columns(out: &mut Vec<u8>, streams: &[StreamEntry], blocks: &[BlockEntry]) {
    let block_ends = streams.iter().skip(1).map(|next| next.first_block).chain([blocks.len()]);
    let mut before = 0;
    for entry in streams {
        put(out, (entry.stream - before) as u64);
        before = entry.stream;
    }
    for (entry, end) in streams.iter().zip(block_ends) {
        put(out, (end - entry.first_block) as u64);
    }
    streams.iter().for_each(|entry| put(out, entry.digest_bytes));
    let mut firsts = streams.iter().map(|entry| entry.first_block).peekable();
    let mut end = 0;
    for (at, block) in blocks.iter().enumerate() {
        let is_first = firsts.next_if_eq(&at).is_some();
        put(out, (block.start - if is_first { 0 } else { end }) as u64);
        end = block.end;
    }
    blocks.iter().for_each(|block| put(out, (block.end - block.start) as u64));
    blocks.iter().for_each(|block| put(out, block.record_count));
    blocks.iter().for_each(|block| put(out, block.size_bytes));
    let mut newest = 0_i64;
    for block in blocks {
        put_signed(out, block.max_timestamp.wrapping_sub(newest));
        newest = block.max_timestamp;
    }
}

fn read_streams(
    reader: &mut Reader<'_>,
    streams: usize,
    blocks: usize,
) -> Result<Vec<StreamEntry>, DamagedObject> {
    let empty = StreamEntry { stream: 0, first_block: 0, digest_position: 0, digest_bytes: 0 };
    let mut entries = vec![empty; streams];
    let mut before = None;
    for entry in &mut entries {
        let delta = reader.next()?;
        let stream = add(before.unwrap_or(0), delta).filter(|_| before.is_none() || delta > 0);
        entry.stream = stream.ok_or_else(|| reader.damaged("streams out of order"))?;
        before = Some(entry.stream);
    }
    let mut first = 0;
    for entry in &mut entries {
        let count = reader.next()?;
        entry.first_block = first;
        if count == 0 || count > (blocks - first) as u64 {
            return Err(reader.damaged("a stream with no blocks, or with too many"));
        }
        first += count as usize;
    }
    if first != blocks {
        return Err(reader.damaged("blocks that belong to no stream"));
    }
    for entry in &mut entries {
        entry.digest_bytes = reader.next()?;
        if (1..=DIGEST_HEADER_BYTES as u64).contains(&entry.digest_bytes) {
            return Err(reader.damaged("a digest that is only a checksum"));
        }
    }
    Ok(entries)
}

fn read_blocks(
    reader: &mut Reader<'_>,
    streams: &[StreamEntry],
    count: usize,
) -> Result<Vec<BlockEntry>, DamagedObject> {
    let empty = BlockEntry {
        start: 0,
        end: 0,
        record_count: 0,
        position: 0,
        size_bytes: 0,
        max_timestamp: 0,
    };
    let mut blocks = vec![empty; count];
    for block in &mut blocks {
        block.start = reader.next()? as i64;
    }
    for block in &mut blocks {
        block.end = reader.next()? as i64;
    }
    let mut firsts = streams.iter().map(|entry| entry.first_block).peekable();
    let mut before = 0;
    for (at, block) in blocks.iter_mut().enumerate() {
        let is_first = firsts.next_if_eq(&at).is_some();
        let start = add(if is_first { 0 } else { before }, block.start as u64);
        let end = start.and_then(|start| add(start, block.end as u64));
        let (Some(start), Some(end)) = (start, end.filter(|end| Some(*end) > start)) else {
            return Err(reader.damaged(format!("block {at} has no right offsets")));
        };
        (block.start, block.end, before) = (start, end, end);
    }
    for block in &mut blocks {
        block.record_count = reader.next()?;
    }
    let mut position = 0_u64;
    for block in &mut blocks {
        (block.position, block.size_bytes) = (position, reader.next()?);
        let end = position.checked_add(block.size_bytes);
        let end = end.filter(|_| block.size_bytes > BLOCK_HEADER_BYTES as u64);
        position = end.ok_or_else(|| reader.damaged("a block of no possible size"))?;
    }
    let mut newest = 0_i64;
    for block in &mut blocks {
        newest = newest.wrapping_add(reader.next_signed()?);
        block.max_timestamp = newest;
    }
    Ok(blocks)
}

/// `base + delta` where that is an offset or an id.
fn add(base: i64, delta: u64) -> Option<i64> {
    base.checked_add(i64::try_from(delta).ok()?)
}
