//! Writing an object's bytes into its file.
//!
//! Large objects go past the page cache, a piece at a time. Through it, 64 MiB become dirty at once
//! and are written back together, and a small sync of another file on the same disk (the WAL's)
//! waits behind all of them; they would also push out of it what is read.

use std::fs::File;
use std::io::{self, IoSlice, Write};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, pwrite};

use super::rooms::ALIGN_BYTES;

/// From this size on an object goes past the page cache.
pub(super) const DIRECT_FROM_BYTES: usize = 1 << 20;
/// What is on its way to the disk at a time: a sync by another waits for no more than this.
const PIECE_BYTES: usize = 1 << 20;

/// Writes `data` to an empty file. Not synced.
pub(super) fn write_object(file: &mut File, data: &[Bytes]) -> rustix::io::Result<()> {
    let size: usize = data.iter().map(Bytes::len).sum();
    if size >= DIRECT_FROM_BYTES && write_direct(file, data, size)? {
        return Ok(());
    }
    write_all(file, data).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// False, with nothing written, where the file system does not take direct writes.
fn write_direct(file: &File, data: &[Bytes], size: usize) -> rustix::io::Result<bool> {
    let flags = fcntl_getfl(file)?;
    if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
        return Ok(false);
    }
    match fallocate(file, FallocateFlags::empty(), 0, size as u64) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(e) => return Err(e),
    }
    let mut room = vec![0u8; PIECE_BYTES + ALIGN_BYTES];
    let aligned = room.as_ptr().align_offset(ALIGN_BYTES);
    let piece = &mut room[aligned..aligned + PIECE_BYTES];
    let mut source = Source { data, at: 0 };
    let mut written = 0;
    while written < size {
        let filled = source.fill(piece);
        let direct = filled - filled % ALIGN_BYTES;
        match pwrite_all(file, &piece[..direct], written as u64) {
            Ok(()) => {}
            Err(Errno::INVAL) if written == 0 => {
                fcntl_setfl(file, flags)?;
                return Ok(false);
            }
            Err(e) => return Err(e),
        }
        if direct < filled {
            // The end of the object, less than a block of the disk.
            fcntl_setfl(file, flags)?;
            pwrite_all(file, &piece[direct..filled], (written + direct) as u64)?;
        }
        written += filled;
    }
    Ok(true)
}

/// The bytes of an object's parts, one after the other.
struct Source<'a> {
    data: &'a [Bytes],
    at: usize,
}

impl Source<'_> {
    /// Fills `piece` as far as there is something; returns how far.
    fn fill(&mut self, piece: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(first) = self.data.first() {
            let left = &first[self.at..];
            let count = left.len().min(piece.len() - filled);
            piece[filled..filled + count].copy_from_slice(&left[..count]);
            filled += count;
            if count < left.len() {
                self.at += count;
                break;
            }
            self.data = &self.data[1..];
            self.at = 0;
        }
        filled
    }
}

fn pwrite_all(file: &File, mut data: &[u8], mut at: u64) -> rustix::io::Result<()> {
    while !data.is_empty() {
        match pwrite(file, data, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => {
                data = &data[n..];
                at += n as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn write_all(file: &mut File, data: &[Bytes]) -> io::Result<()> {
    for some in data.chunks(1024) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut left, n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}
