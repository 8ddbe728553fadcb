//! Writing a segment past the page cache.
//!
//! Through it every byte is copied page by page, each page is accounted as dirty and looked for
//! again by the sync: twice the CPU of one copy into a buffer of our own. And what only a recovery
//! reads again would push out of the cache what readers need.
//!
//! A disk takes whole blocks, a group of records ends anywhere. So the block that the last group
//! ended in is kept, and written again with what follows.
//!
//! Invariant (durability): bytes that were written before are written again unchanged, so whatever
//! a disk tears of a block, its synced part is as it was; behind the end there are zeros, and
//! nothing was there that counts. The page cache writes the same whole blocks.

use std::fs::File;
use std::io::{self, IoSlice};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, pwrite};

/// Any logical block size of a disk divides it.
const BLOCK_BYTES: usize = 4096;
/// What is written at once at most.
const BUFFER_BYTES_MAX: usize = 1 << 20;
const BUFFER_BYTES_MIN: usize = 1 << 16;

/// The state of a file that is written from its beginning on, by one thread.
#[derive(Debug)]
pub struct Direct {
    /// Where the next write has to begin.
    next: u64,
    /// Begins with what is in the last, partial block.
    buffer: Vec<u8>,
    /// The first address in `buffer` that a direct write may come from.
    aligned: usize,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes were taken.
    Taken(usize),
    /// None were: the file has to be written in the usual way from now on, and can be.
    Unfit,
}

impl Direct {
    /// For a file that nothing was written to yet; None where the file system refuses.
    pub fn begin(file: &File) -> Option<Self> {
        set_direct(file, true).ok()?;
        let mut direct = Self { next: 0, buffer: Vec::new(), aligned: 0 };
        direct.grow(BUFFER_BYTES_MIN);
        Some(direct)
    }

    /// Writes the beginning of `pieces` at `offset`.
    pub fn write(
        &mut self,
        file: &File,
        pieces: &[IoSlice<'_>],
        offset: u64,
    ) -> io::Result<Outcome> {
        if offset != self.next {
            set_direct(file, false)?;
            return Ok(Outcome::Unfit);
        }
        let kept = (self.next % BLOCK_BYTES as u64) as usize;
        let wanted = kept + pieces.iter().map(|piece| piece.len()).sum::<usize>();
        self.grow(wanted.min(BUFFER_BYTES_MAX).next_multiple_of(BLOCK_BYTES));
        let filled = self.fill(kept, pieces);
        let end = filled.next_multiple_of(BLOCK_BYTES);
        self.room()[filled..end].fill(0);
        let (aligned, start) = (self.aligned, self.next - kept as u64);
        match write_all(file, &self.buffer[aligned..aligned + end], start) {
            Ok(()) => {}
            Err(Errno::INVAL) if self.next == 0 => {
                set_direct(file, false)?;
                return Ok(Outcome::Unfit);
            }
            Err(e) => return Err(e.into()),
        }
        let whole = filled - filled % BLOCK_BYTES;
        self.room().copy_within(whole..filled, 0);
        self.next = start + filled as u64;
        Ok(Outcome::Taken(filled - kept))
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.aligned..]
    }

    /// Sees to it that `size_bytes` fit; what is in the buffer stays.
    fn grow(&mut self, size_bytes: usize) {
        let has = self.buffer.len().saturating_sub(BLOCK_BYTES);
        if has >= size_bytes {
            return;
        }
        let size_bytes = size_bytes.max((has * 2).min(BUFFER_BYTES_MAX));
        let mut buffer = vec![0; size_bytes + BLOCK_BYTES];
        let aligned = buffer.as_ptr().align_offset(BLOCK_BYTES);
        let kept = has.min(BLOCK_BYTES);
        buffer[aligned..aligned + kept]
            .copy_from_slice(&self.buffer[self.aligned..self.aligned + kept]);
        (self.buffer, self.aligned) = (buffer, aligned);
    }

    /// Copies as much of `pieces` behind the `kept` bytes as there is room for; where it ends.
    fn fill(&mut self, kept: usize, pieces: &[IoSlice<'_>]) -> usize {
        let mut filled = kept;
        let room_bytes = self.buffer.len() - BLOCK_BYTES;
        let room = &mut self.buffer[self.aligned..self.aligned + room_bytes];
        for piece in pieces {
            let count = piece.len().min(room_bytes - filled);
            room[filled..filled + count].copy_from_slice(&piece[..count]);
            filled += count;
            if count < piece.len() {
                break;
            }
        }
        filled
    }
}

fn set_direct(file: &File, on: bool) -> rustix::io::Result<()> {
    let flags = fcntl_getfl(file)?;
    fcntl_setfl(file, if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT })
}

fn write_all(file: &File, data: &[u8], at: u64) -> rustix::io::Result<()> {
    let mut done = 0;
    while done < data.len() {
        match pwrite(file, &data[done..], at + done as u64) {
            // Part of a block is written again, as a write has to begin where a block does.
            Ok(count) if count >= BLOCK_BYTES => done += count - count % BLOCK_BYTES,
            Ok(_) => return Err(Errno::IO),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::{Path, PathBuf};

    use super::*;

    fn scratch(root: &Path, name: &str) -> (PathBuf, File) {
        let path = root.join(format!("automq-direct-{}-{name}", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        (path, file.expect("a file"))
    }

    fn bytes(count: usize, seed: usize) -> Vec<u8> {
        (0..count).map(|at| (at * 31 + seed * 7 + 1) as u8 | 1).collect()
    }

    fn write_whole(direct: &mut Direct, file: &File, data: &[u8], mut offset: u64) {
        let mut left = data;
        while !left.is_empty() {
            let (one, two) = left.split_at(left.len() / 3);
            let pieces = [IoSlice::new(one), IoSlice::new(two)];
            match direct.write(file, &pieces, offset).expect("written") {
                Outcome::Taken(count) => {
                    left = &left[count..];
                    offset += count as u64;
                }
                Outcome::Unfit => panic!("it was in order"),
            }
        }
    }

    #[test]
    fn what_is_written_piece_by_piece_is_read_back_and_zeros_behind_it() {
        let (path, file) = scratch(&std::env::temp_dir(), "pieces");
        let Some(mut direct) = Direct::begin(&file) else { return };
        let mut all = Vec::new();
        let sizes = [4096, 64, 72, 4096 - 136, 5000, 1, 300_000, 8, 4095, 3 << 20, 17];
        for (seed, size) in sizes.into_iter().enumerate() {
            let data = bytes(size, seed);
            write_whole(&mut direct, &file, &data, all.len() as u64);
            all.extend(data);
            // Whatever comes behind, what is there is there after each write.
            let read = std::fs::read(&path).expect("read");
            assert!(read[..all.len()] == all, "after {} bytes", all.len());
            assert!(read[all.len()..].iter().all(|byte| *byte == 0));
            assert_eq!(read.len(), all.len().next_multiple_of(BLOCK_BYTES));
        }
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn a_write_elsewhere_is_left_to_the_page_cache() {
        let (path, file) = scratch(&std::env::temp_dir(), "elsewhere");
        let Some(mut direct) = Direct::begin(&file) else { return };
        write_whole(&mut direct, &file, &bytes(100, 1), 0);
        let pieces = [IoSlice::new(b"unaligned")];
        assert_eq!(direct.write(&file, &pieces, 50).expect("no error"), Outcome::Unfit);
        // That the file can be written in the usual way now is what was promised.
        rustix::io::pwritev(&file, &pieces, 50).expect("written");
        assert_eq!(&std::fs::read(&path).expect("read")[50..59], b"unaligned");
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn a_file_system_without_direct_writes_says_so_before_anything_is_written() {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            return;
        }
        let (path, file) = scratch(memory, "memory");
        if let Some(mut direct) = Direct::begin(&file) {
            let data = bytes(100, 2);
            match direct.write(&file, &[IoSlice::new(&data)], 0).expect("no error") {
                Outcome::Taken(count) => assert_eq!(count, 100),
                Outcome::Unfit => assert_eq!(file.metadata().expect("its size").len(), 0),
            }
        }
        std::fs::remove_file(path).expect("removed");
    }
}
