//! Frames: from what a socket delivers to whole requests, with one copy at most of what is small.
//!
//! A frame is a four-byte length and as many bytes. Small frames share the block they were read
//! into; a frame that does not fit in a block gets memory of exactly its size as soon as its length
//! is known, and the socket reads straight into it. Behind a large frame another of its size is
//! expected, and the next block is made for it: it arrives by one read, and where it stays.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::FrameTooLarge;

/// A frame never keeps more than this alive besides itself.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// A connection that says little holds no more than this.
const BLOCK_BYTES_MIN: usize = 4 * 1024;
/// The most that is reserved for a frame of which nothing has arrived.
const EXPECTED_BYTES_MAX: usize = 256 * 1024;
/// By so much the frame that is expected may be larger than the one before it.
const SLACK_BYTES: usize = 4 * 1024;
const PREFIX_BYTES: usize = 4;

/// Memory that frames are read into, freed when the last of them is.
///
/// It is raw memory, and all that is made of it derives from its one pointer, so that whoever holds
/// a frame that nobody else has seen yet may still write into it: the base offset and the leader
/// epoch of a record batch are patched in place (crate `batch`). A `Vec` would not allow that: its
/// bytes could not be written once `Bytes` shares them.
struct Block {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a block is plain memory with one owner; who writes where is decided by `Frames`.
unsafe impl Send for Block {}
// SAFETY: as above. Bytes that were handed out are not written by `Frames` any more.
unsafe impl Sync for Block {}

impl Block {
    fn new(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: the layout is not empty: no block is smaller than BLOCK_BYTES_MIN.
        let start = unsafe { alloc(layout) };
        match NonNull::new(start) {
            Some(start) => Self { start, capacity },
            None => handle_alloc_error(layout),
        }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::array::<u8>(capacity.max(1)).expect("a frame's size fits in memory")
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `start` came from `alloc` with the same layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) }
    }
}

/// Keeps a block alive for a `Bytes`.
struct Owner(Arc<Block>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Bytes` takes the address and the length from this and does not look inside;
        // a slice of it is made only of bytes that were received.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.capacity) }
    }
}

/// Where the next bytes go. It stays valid as long as it is held, even if `Frames` moves on.
pub struct Room {
    block: Arc<Block>,
    at: usize,
    length: usize,
}

impl Room {
    /// At least one byte, not yet initialised. To be written before [`Frames::received`] only.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        // SAFETY: `at` is within the block.
        unsafe { self.block.start.as_ptr().add(self.at) }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Splits what a connection receives into frames.
///
/// Invariants: `parsed <= filled < capacity` between calls; nothing below `filled` is written any
/// more; a length over the limit reserves nothing.
pub struct Frames {
    max_frame_bytes: usize,
    block: Option<(Arc<Block>, Bytes)>,
    filled: usize,
    parsed: usize,
    /// Grows while reads fill their room, shrinks while they leave most of it.
    block_bytes: usize,
    /// The block for a frame as large as the last one; 0 where that shared its block.
    expected_bytes: usize,
}

impl Frames {
    pub fn new(max_frame_bytes: usize) -> Self {
        let block_bytes = BLOCK_BYTES_MIN;
        let max_frame_bytes = max_frame_bytes.min(i32::MAX as usize);
        Self { max_frame_bytes, block: None, filled: 0, parsed: 0, block_bytes, expected_bytes: 0 }
    }

    /// The room for the next read.
    pub fn room(&mut self) -> Room {
        let block = match &self.block {
            Some((block, _)) => block.clone(),
            None => self.move_to(self.next_bytes()),
        };
        let length = block.capacity - self.filled;
        Room { block, at: self.filled, length }
    }

    /// The frames that `count` bytes written to the last [`Frames::room`] complete, without their
    /// lengths.
    ///
    /// After an error the connection cannot be read any further.
    ///
    /// # Panics
    /// If `count` is more than there was room for.
    ///
    /// # Safety
    /// The first `count` bytes of the room have been written, and nobody writes to it any more.
    pub unsafe fn received(&mut self, count: usize) -> Result<Vec<Bytes>, FrameTooLarge> {
        let room = self.capacity() - self.filled;
        assert!(count <= room, "{count} bytes were received where {room} fit");
        if count == room {
            self.block_bytes = (self.block_bytes * 2).min(BLOCK_BYTES_MAX);
        } else if count < self.block_bytes / 16 {
            self.block_bytes = (self.block_bytes / 2).max(BLOCK_BYTES_MIN);
        }
        self.filled += count;
        let mut frames = Vec::new();
        while let Some(size) = self.next_size()? {
            let start = self.parsed + PREFIX_BYTES;
            let end = start + size;
            if end > self.filled {
                self.make_room_for(PREFIX_BYTES + size);
                break;
            }
            if let Some((_, bytes)) = &self.block {
                frames.push(self.alone(bytes.slice(start..end)));
            }
            self.expect(PREFIX_BYTES + size);
            self.parsed = end;
        }
        let used_up = self.parsed == self.capacity();
        if used_up || (self.parsed == self.filled && self.capacity() > BLOCK_BYTES_MAX) {
            // A big frame is the reader's now, and must not live on here.
            (self.block, self.filled, self.parsed) = (None, 0, 0);
        } else if self.filled == self.capacity() {
            // Part of a length is all that is left.
            self.move_to(self.next_bytes());
        }
        Ok(frames)
    }

    /// `frame`, in memory of its own where it would keep too much of a block alive.
    fn alone(&self, frame: Bytes) -> Bytes {
        if frame.len() + BLOCK_BYTES_MAX >= self.capacity() {
            return frame;
        }
        let block = Arc::new(Block::new(frame.len().max(1)));
        // SAFETY: the block is new and as large as the frame.
        unsafe {
            std::ptr::copy_nonoverlapping(frame.as_ptr(), block.start.as_ptr(), frame.len());
        }
        Bytes::from_owner(Owner(block)).slice(..frame.len())
    }

    /// What comes behind a frame of `total` bytes is probably as large.
    fn expect(&mut self, total: usize) {
        let wanted = (total + SLACK_BYTES).next_multiple_of(SLACK_BYTES);
        let alone = total > self.block_bytes && wanted <= EXPECTED_BYTES_MAX;
        self.expected_bytes = if alone { wanted } else { 0 };
    }

    fn next_bytes(&self) -> usize {
        self.expected_bytes.max(self.block_bytes)
    }

    fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, |(block, _)| block.capacity)
    }

    /// The size of the frame that begins at `parsed`, once its length has arrived.
    fn next_size(&self) -> Result<Option<usize>, FrameTooLarge> {
        let Some((block, _)) = &self.block else { return Ok(None) };
        if self.filled - self.parsed < PREFIX_BYTES {
            return Ok(None);
        }
        // SAFETY: these bytes are below `filled`, so inside the block and written.
        let prefix = unsafe { block.start.as_ptr().add(self.parsed).cast::<[u8; 4]>().read() };
        let size_bytes = i32::from_be_bytes(prefix);
        match usize::try_from(size_bytes) {
            Ok(size) if size <= self.max_frame_bytes => Ok(Some(size)),
            _ => Err(FrameTooLarge { size_bytes, max_bytes: self.max_frame_bytes }),
        }
    }

    /// Sees to it that the frame at `parsed`, `total` bytes long, can become whole where it is.
    fn make_room_for(&mut self, total: usize) {
        if self.parsed + total <= self.capacity() {
            return;
        }
        self.move_to(if total <= self.next_bytes() { self.next_bytes() } else { total });
    }

    /// Starts a new block with what of the old one is not parsed yet.
    fn move_to(&mut self, capacity: usize) -> Arc<Block> {
        let block = Arc::new(Block::new(capacity));
        let kept = self.filled - self.parsed;
        if let Some((old, _)) = &self.block {
            assert!(kept <= capacity, "{kept} bytes do not fit in {capacity}");
            // SAFETY: both ranges are inside their blocks, and the blocks differ.
            unsafe {
                let from = old.start.as_ptr().add(self.parsed);
                std::ptr::copy_nonoverlapping(from, block.start.as_ptr(), kept);
            }
        }
        let bytes = Bytes::from_owner(Owner(block.clone()));
        self.block = Some((block.clone(), bytes));
        self.filled = kept;
        self.parsed = 0;
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives in pieces of `step` bytes at most, as frames.
    fn feed(frames: &mut Frames, mut bytes: &[u8], step: usize) -> Vec<Bytes> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let room = frames.room();
            assert!(!room.is_empty());
            let count = bytes.len().min(room.len()).min(step);
            // SAFETY: `count` bytes fit in the room, and are written before they are received.
            found.extend(unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr(), count);
                frames.received(count).expect("small enough")
            });
            bytes = &bytes[count..];
        }
        found
    }

    fn framed(bodies: &[Vec<u8>]) -> Vec<u8> {
        let one = |body: &Vec<u8>| [&(body.len() as i32).to_be_bytes()[..], body].concat();
        bodies.iter().flat_map(one).collect()
    }

    fn bodies(sizes: &[usize]) -> Vec<Vec<u8>> {
        sizes.iter().enumerate().map(|(seed, size)| vec![seed as u8 + 1; *size]).collect()
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let sizes = [0, 1, 100, 4_091, 4_092, 4_093, 70_000, 3, 65_532, 65_533, 200_000, 5];
        let sent = bodies(&sizes);
        for step in [1, 3, 4, 5, 1_000, 4_096, 65_536, usize::MAX] {
            let mut frames = Frames::new(1 << 20);
            assert_eq!(feed(&mut frames, &framed(&sent), step), sent, "in steps of {step}");
        }
    }

    #[test]
    fn small_frames_of_one_read_share_a_block_and_big_ones_stand_alone() {
        let mut frames = Frames::new(1 << 20);
        let sent = bodies(&[100, 100, 300_000, 100]);
        let found = feed(&mut frames, &framed(&sent), usize::MAX);
        let address = |index: usize| found[index].as_ptr() as usize;
        assert_eq!(address(1) - address(0), 104);
        assert!(frames.block.as_ref().expect("a block").0.capacity <= BLOCK_BYTES_MAX);
    }

    #[test]
    fn a_frame_as_large_as_the_last_one_stays_where_it_arrives() {
        let mut frames = Frames::new(1 << 20);
        let sent = framed(&bodies(&[130_000, 130_050, 130_020]));
        feed(&mut frames, &sent[..131_000], usize::MAX);
        let (start, room) = (frames.room().as_mut_ptr() as usize, frames.room().len());
        assert!(room >= 130_000, "{room} bytes");
        let found = feed(&mut frames, &sent[131_000..], usize::MAX);
        let first = found[0].as_ptr() as usize;
        assert!((start - 2_000..start).contains(&first), "it was read into that room");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_small_frame_in_a_block_for_a_large_one_does_not_keep_it() {
        let mut frames = Frames::new(1 << 20);
        feed(&mut frames, &framed(&bodies(&[200_000])), usize::MAX);
        let room = frames.room().as_mut_ptr() as usize;
        let found = feed(&mut frames, &framed(&bodies(&[9_000])), usize::MAX);
        let address = found[0].as_ptr() as usize;
        assert!(!(room..room + 200_000).contains(&address));
    }

    #[test]
    fn behind_a_large_frame_nothing_large_is_held() {
        let mut frames = Frames::new(1 << 20);
        for size in [200_000, 200_000, 900_000] {
            feed(&mut frames, &framed(&bodies(&[size])), usize::MAX);
            assert!(frames.block.is_none(), "{size}");
        }
        assert_eq!(frames.room().len(), BLOCK_BYTES_MAX, "900,000 bytes are not expected again");
    }

    #[test]
    fn a_big_frame_gets_exactly_the_room_it_misses() {
        let mut frames = Frames::new(1 << 20);
        let sent = framed(&bodies(&[500_000]));
        feed(&mut frames, &sent[..1_000], usize::MAX);
        assert_eq!(frames.room().len(), sent.len() - 1_000);
    }

    #[test]
    fn a_quiet_connection_holds_a_small_block_and_a_busy_one_a_large() {
        let mut frames = Frames::new(1 << 20);
        assert_eq!(frames.room().len(), BLOCK_BYTES_MIN);
        feed(&mut frames, &framed(&bodies(&[4_000; 200])), usize::MAX);
        assert_eq!(frames.block_bytes, BLOCK_BYTES_MAX);
        feed(&mut frames, &framed(&bodies(&[50; 200])), 54);
        assert_eq!(frames.block_bytes, BLOCK_BYTES_MIN);
    }

    #[test]
    fn a_length_that_is_negative_or_too_large_is_refused_before_anything_is_reserved() {
        for size in [-1, i32::MIN, 1_001, i32::MAX] {
            let mut frames = Frames::new(1_000);
            let room = frames.room();
            let prefix = size.to_be_bytes();
            // SAFETY: four bytes fit, and are written before they are received.
            let outcome = unsafe {
                std::ptr::copy_nonoverlapping(prefix.as_ptr(), room.as_mut_ptr(), 4);
                frames.received(4)
            };
            assert_eq!(outcome, Err(FrameTooLarge { size_bytes: size, max_bytes: 1_000 }));
            assert_eq!(frames.room().len(), BLOCK_BYTES_MIN - 4);
        }
    }

    #[test]
    fn a_room_outlives_the_block_it_came_from() {
        let mut frames = Frames::new(1 << 20);
        let room = frames.room();
        feed(&mut frames, &framed(&bodies(&[10_000, 100_000])), usize::MAX);
        // SAFETY: the room keeps its block alive; this test alone holds it.
        unsafe { *room.as_mut_ptr() = 1 };
        assert_eq!(room.len(), BLOCK_BYTES_MIN);
    }
}
