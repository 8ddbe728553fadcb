//! Reading parts of an object's file.
//!
//! What was written past the page cache is read past it, where it is much: it is not there, and
//! putting it there costs four times the processor that reading it costs. What is worth keeping the
//! block cache keeps, within its budget.

use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, pread};

use super::rooms::{ALIGN_BYTES, Rooms};
use super::write::DIRECT_FROM_BYTES;

/// From this size on, all ranges of a call together are read past the page cache.
const DIRECT_READ_FROM_BYTES: u64 = 128 << 10;

/// Reads `ranges` of a file of `file_bytes`, all of which are within it. None: it is shorter now.
pub(super) fn read_ranges(
    file: impl AsFd,
    file_bytes: u64,
    ranges: &[(u64, u64)],
    rooms: &Arc<Rooms>,
) -> rustix::io::Result<Option<Vec<Bytes>>> {
    let wanted: u64 = ranges.iter().map(|(start, end)| end - start).sum();
    if file_bytes >= DIRECT_FROM_BYTES as u64 && wanted >= DIRECT_READ_FROM_BYTES {
        let flags = fcntl_getfl(&file)?;
        if fcntl_setfl(&file, flags | OFlags::DIRECT).is_ok() {
            let read = |&(start, end): &_| read_direct(&file, start, end, rooms);
            match ranges.iter().map(read).collect() {
                // The file system takes the flag and refuses the reads.
                Err(Errno::INVAL) => fcntl_setfl(&file, flags)?,
                read => return read,
            }
        }
    }
    ranges.iter().map(|&(start, end)| read_through(&file, start, end)).collect()
}

/// `[start, end)` past the page cache: whole blocks of the disk around it.
fn read_direct(
    file: impl AsFd,
    start: u64,
    end: u64,
    rooms: &Arc<Rooms>,
) -> rustix::io::Result<Option<Bytes>> {
    let from = start - start % ALIGN_BYTES as u64;
    let skipped = (start - from) as usize;
    let needed = (end - from) as usize;
    let size = needed.next_multiple_of(ALIGN_BYTES);
    let mut room = rooms.take(size);
    let mut filled = 0;
    while filled < needed {
        match pread(&file, &mut room.bytes_mut()[filled..size], from + filled as u64) {
            // A read that is short within a block ended where the file does.
            Ok(count) if count == 0 || (filled + count < needed && count % ALIGN_BYTES != 0) => {
                return Ok(None);
            }
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Some(rooms.lend(room, skipped, needed)))
}

/// The same as it comes.
fn read_through(file: impl AsFd, start: u64, end: u64) -> rustix::io::Result<Option<Bytes>> {
    // Into memory as it is: clearing it first would cost as much as a third of the reading.
    let size = (end - start) as usize;
    let mut data = Vec::with_capacity(size);
    while data.len() < size {
        let from = start + data.len() as u64;
        match pread(&file, spare_capacity(&mut data), from) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    data.truncate(size);
    Ok(Some(data.into()))
}
