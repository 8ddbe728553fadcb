//! An arena: memory that is filled from the front while earlier parts of it are already shared.

use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;

/// The memory of one arena. Lives as long as anyone holds a piece of it.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the memory is plain bytes owned by this value. Writing is done only by the one `Arena`
// that holds the tail (it is not `Clone`), only at or above `filled`; pieces read only below it.
unsafe impl Send for Memory {}
// SAFETY: as above: what a shared reference can read is never written again.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `start` and `capacity` came from a forgotten `Vec<u8>` of this capacity.
        drop(unsafe { Vec::from_raw_parts(self.start.as_ptr(), 0, self.capacity) });
    }
}

/// A filled part of an arena; never changes.
#[derive(Clone, Debug)]
pub struct Piece {
    memory: Arc<Memory>,
    start: usize,
    end: usize,
}

impl Piece {
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn shares_memory_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }

    /// The bytes of `[from, to)` of this piece, without a copy.
    pub fn slice(&self, from: usize, to: usize) -> Bytes {
        assert!(from <= to && to <= self.len(), "[{from}, {to}) of {} bytes", self.len());
        let (start, end) = (self.start + from, self.start + to);
        Bytes::from_owner(Self { memory: Arc::clone(&self.memory), start, end })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `[start, end)` was initialised before this piece was made and is not written
        // again; the memory lives as long as `self.memory`.
        unsafe {
            std::slice::from_raw_parts(self.memory.start.as_ptr().add(self.start), self.len())
        }
    }
}

/// The writer of an arena: owns what is not filled yet.
#[derive(Debug)]
pub struct Arena {
    memory: Arc<Memory>,
    filled: usize,
}

impl Arena {
    pub fn new(capacity: usize) -> Self {
        let mut vec = std::mem::ManuallyDrop::new(Vec::<u8>::with_capacity(capacity));
        let capacity = vec.capacity();
        let start = NonNull::new(vec.as_mut_ptr()).expect("a vector's pointer is not null");
        Self { memory: Arc::new(Memory { start, capacity }), filled: 0 }
    }

    pub fn capacity(&self) -> usize {
        self.memory.capacity
    }

    pub fn room(&self) -> usize {
        self.memory.capacity - self.filled
    }

    /// A piece of no bytes yet, which `push` can extend.
    pub fn open_piece(&self) -> Piece {
        Piece { memory: Arc::clone(&self.memory), start: self.filled, end: self.filled }
    }

    /// Copies `bytes` behind what is filled and extends `piece`, which must end there.
    pub fn push(&mut self, piece: &mut Piece, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "{} bytes into {}", bytes.len(), self.room());
        assert!(Arc::ptr_eq(&piece.memory, &self.memory) && piece.end == self.filled);
        // SAFETY: `[filled, filled + len)` is within the memory, and no piece reaches into it:
        // every piece ends at or below `filled`, and this arena is the only writer.
        unsafe {
            let tail = self.memory.start.as_ptr().add(self.filled);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), tail, bytes.len());
        }
        self.filled += bytes.len();
        piece.end = self.filled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_pieces_stay_as_they_were_while_the_arena_fills() {
        let mut arena = Arena::new(8);
        let mut piece = arena.open_piece();
        arena.push(&mut piece, b"abc");
        let early = piece.slice(0, 3);
        arena.push(&mut piece, b"def");
        drop(arena);
        assert_eq!((&early[..], piece.as_ref()), (&b"abc"[..], &b"abcdef"[..]));
        drop(piece);
        assert_eq!(&early[..], b"abc");
    }
}
