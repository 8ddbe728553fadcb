//! Reading on in an object: which blocks a reader needs, and what it gets out of them.

use automq_batch::Corrupt;
use bytes::Bytes;

use crate::blockcache::{BlockCache, Cached};
use crate::cache::CacheRead;
use crate::object::{BlockRef, ObjectIndex, cut_on};

/// What one read is for: whole batches of `[start, end)` of a stream, no more than `bytes_max`.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub stream: i64,
    pub start: i64,
    pub end: i64,
    pub bytes_max: usize,
    /// The first batch is had even if it is larger than `bytes_max`.
    pub at_least_one: bool,
    /// No more blocks than this are read at once.
    pub blocks_max: usize,
}

impl Wish {
    /// The blocks to read, at least one if there is one. The last may be wanted in part: the next
    /// read finds the rest of it in memory.
    pub fn blocks(&self, index: &ObjectIndex) -> Vec<BlockRef> {
        let mut total_bytes = 0;
        let mut blocks = index.find(self.stream, self.start, self.blocks_max);
        let count = blocks
            .iter()
            .take_while(|block| {
                let wanted = total_bytes == 0 || total_bytes < self.bytes_max as u64;
                total_bytes += block.size_bytes;
                wanted && block.start < self.end
            })
            .count();
        blocks.truncate(count);
        blocks
    }

    /// The batches out of the contents of `blocks`, which follow each other.
    pub fn gather(
        &self,
        blocks: impl IntoIterator<Item = (BlockRef, Bytes)>,
    ) -> Result<CacheRead, Corrupt> {
        let mut read = CacheRead::empty(self.start);
        for (block, batches) in blocks {
            let first = self.at_least_one && read.size_bytes == 0;
            let room = self.bytes_max.saturating_sub(read.size_bytes);
            let (part, stopped_at) = cut_on(&batches, read.next_offset, self.end, room, first)?;
            if read.size_bytes == 0 {
                read.base_offset = part.base_offset;
            }
            read.size_bytes += part.size_bytes;
            read.next_offset = part.next_offset;
            read.bufs.extend(part.bufs);
            if stopped_at.is_some_and(|next_offset| next_offset <= block.end) {
                break;
            }
            // Nothing of this block is left; log compaction may have taken its last offsets.
            read.next_offset = block.end;
        }
        Ok(read)
    }

    /// What of it is in memory, as far as that goes without a gap, and the bytes of the blocks that
    /// it is out of. None: not even its first block is.
    pub fn kept(
        &self,
        index: &ObjectIndex,
        cache: &BlockCache,
    ) -> Result<Option<(CacheRead, u64)>, Corrupt> {
        let mut blocks_bytes = 0;
        let mut kept = Vec::new();
        for block in self.blocks(index) {
            // A reader that is within a block has had it before: it is no new asking.
            let is_again = block.start < self.start;
            match cache.get((block.object_id, block.position), is_again) {
                Some(Cached::Block(batches)) => {
                    blocks_bytes += block.size_bytes;
                    kept.push((block, batches));
                }
                _ => break,
            }
        }
        if kept.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.gather(kept)?, blocks_bytes)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::batches::samples::batch;

    /// A block of `[start, end)` with batches of 100 bytes at these (first, last) offsets.
    fn block(start: i64, end: i64, offsets: &[(i64, i64)]) -> (BlockRef, Bytes) {
        let batches: Vec<u8> = offsets
            .iter()
            .flat_map(|&(first, last)| batch(first, (last - first + 1) as u32, 0, 100))
            .collect();
        let size_bytes = batches.len() as u64;
        let block = BlockRef {
            object_id: 1,
            stream: 1,
            start,
            end,
            record_count: 0,
            position: start as u64,
            size_bytes,
            max_timestamp: 0,
        };
        (block, batches.into())
    }

    fn wish(start: i64, end: i64, bytes_max: usize) -> Wish {
        Wish { stream: 1, start, end, bytes_max, at_least_one: true, blocks_max: 16 }
    }

    fn two() -> [(BlockRef, Bytes); 2] {
        [block(0, 20, &[(0, 9), (10, 19)]), block(20, 40, &[(20, 29), (30, 39)])]
    }

    #[test]
    fn it_goes_on_from_block_to_block() {
        let read = wish(5, 100, 1000).gather(two()).unwrap();
        assert_eq!((read.base_offset, read.next_offset, read.size_bytes), (0, 40, 400));
        assert_eq!(read.bufs.len(), 2);
    }

    #[test]
    fn it_ends_in_the_block_that_has_no_room_left() {
        let read = wish(0, 100, 150).gather(two()).unwrap();
        assert_eq!((read.next_offset, read.size_bytes), (10, 100));
        let read = wish(0, 100, 350).gather(two()).unwrap();
        assert_eq!((read.next_offset, read.size_bytes), (30, 300));
        let read = wish(0, 25, 1000).gather(two()).unwrap();
        assert_eq!((read.next_offset, read.size_bytes), (20, 200));
    }

    #[test]
    fn a_first_batch_without_room_is_had_where_one_must_be() {
        let read = wish(20, 100, 10).gather([two()[1].clone()]).unwrap();
        assert_eq!((read.next_offset, read.size_bytes), (30, 100));
        let nothing = Wish { at_least_one: false, ..wish(20, 100, 10) };
        let read = nothing.gather([two()[1].clone()]).unwrap();
        assert_eq!((read.next_offset, read.size_bytes), (20, 0));
    }

    #[test]
    fn offsets_that_compaction_took_are_passed_over() {
        let read = wish(0, 100, 1000).gather([block(0, 50, &[(0, 9)]), block(50, 60, &[(55, 59)])]);
        let read = read.unwrap();
        assert_eq!((read.next_offset, read.size_bytes), (60, 200));
        let read = wish(10, 100, 1000).gather([block(0, 50, &[(0, 9)])]).unwrap();
        assert_eq!((read.next_offset, read.size_bytes), (50, 0));
    }

    #[test]
    fn damage_is_told() {
        let (of, batches) = block(0, 20, &[(0, 9), (10, 19)]);
        assert!(wish(0, 100, 1000).gather([(of, batches.slice(..150))]).is_err());
    }
}
