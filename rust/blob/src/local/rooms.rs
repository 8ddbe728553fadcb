//! Memory for reading past the page cache: aligned as a disk wants it, and used again.
//!
//! Memory fresh from the kernel is cleared page by page when it is first touched, which costs as
//! much as half of the reading. What was read is lent out as `Bytes`; the last of its holders to let
//! go puts the memory back.
//!
//! Invariant: a room is lent to one read at a time, and what waits here is no more than
//! `FREE_BYTES_MAX`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Any logical block size of a disk divides it.
pub(super) const ALIGN_BYTES: usize = 4096;
/// Sizes are rounded up to this, so that blocks of about the same size use the same rooms.
const ROUND_BYTES: usize = 32 << 10;
const FREE_BYTES_MAX: usize = 16 << 20;
/// Larger ones are rare, and would push out many.
const ROOM_BYTES_MAX: usize = FREE_BYTES_MAX / 4;

/// A run of bytes that begins at an address a disk can read to.
#[derive(Debug)]
pub(super) struct Room {
    memory: Vec<u8>,
    start: usize,
}

/// The rooms that nobody uses now, the one that was used last at the end.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    rooms: VecDeque<Room>,
    bytes: usize,
}

impl Room {
    fn new(size: usize) -> Self {
        // Zeroed by the kernel, when it is touched.
        let memory = vec![0; size + ALIGN_BYTES];
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        Self { memory, start }
    }

    fn size(&self) -> usize {
        self.memory.len() - ALIGN_BYTES
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let end = self.start + self.size();
        &mut self.memory[self.start..end]
    }
}

impl Rooms {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A room for `size` bytes, hardly larger; what is in it is of earlier reads.
    pub(super) fn take(&self, size: usize) -> Room {
        let size = size.next_multiple_of(ROUND_BYTES);
        let mut free = self.free();
        // The last one first: the processor may still have it in its caches.
        if let Some(at) = free.rooms.iter().rposition(|room| room.size() == size)
            && let Some(room) = free.rooms.remove(at)
        {
            free.bytes -= size;
            return room;
        }
        drop(free);
        Room::new(size)
    }

    /// `[start, end)` of a room, which comes back when nobody holds them any more.
    pub(super) fn lend(self: &Arc<Self>, room: Room, start: usize, end: usize) -> Bytes {
        Bytes::from_owner(Lent { room: Some(room), rooms: Arc::clone(self) }).slice(start..end)
    }

    fn put(&self, room: Room) {
        if room.size() > ROOM_BYTES_MAX {
            return;
        }
        let mut free = self.free();
        free.bytes += room.size();
        free.rooms.push_back(room);
        while free.bytes > FREE_BYTES_MAX
            && let Some(oldest) = free.rooms.pop_front()
        {
            free.bytes -= oldest.size();
        }
    }
}

struct Lent {
    room: Option<Room>,
    rooms: Arc<Rooms>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.room.as_ref().map_or(&[], |room| &room.memory[room.start..room.start + room.size()])
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            self.rooms.put(room);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(rooms: &Arc<Rooms>, size: usize, byte: u8) -> Bytes {
        let mut room = rooms.take(size);
        room.bytes_mut()[..size].fill(byte);
        rooms.lend(room, 0, size)
    }

    #[test]
    fn a_room_is_used_again_when_the_last_holder_lets_go() {
        let rooms = Arc::new(Rooms::default());
        let first = filled(&rooms, 100_000, 1);
        let held = first.slice(10..20);
        let address = first.as_ptr();
        drop(first);
        assert_ne!(filled(&rooms, 100_000, 2).as_ptr(), address);
        assert_eq!(held, [1; 10].as_slice());
        drop(held);
        assert_eq!(filled(&rooms, 100_000, 3).as_ptr(), address);
    }

    #[test]
    fn every_room_begins_where_a_disk_can_read_to() {
        let rooms = Rooms::default();
        for size in [1, ROUND_BYTES, 600_001] {
            let mut room = rooms.take(size);
            assert_eq!(room.bytes_mut().as_ptr() as usize % ALIGN_BYTES, 0);
            assert!(room.bytes_mut().len() >= size);
        }
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_goes_first() {
        let rooms = Arc::new(Rooms::default());
        let size = ROOM_BYTES_MAX;
        drop(filled(&rooms, size + 1, 7));
        assert_eq!(rooms.free().bytes, 0);
        let lent: Vec<_> = (0..6).map(|byte| filled(&rooms, size, byte)).collect();
        let last = lent[5].as_ptr();
        lent.into_iter().for_each(drop);
        assert_eq!(rooms.free().bytes, FREE_BYTES_MAX);
        assert_eq!(filled(&rooms, size, 9).as_ptr(), last);
    }
}
