//! The thread that owns the files: writes groups, syncs them, rolls and recycles segments.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dir::{Lock, TEMPORARY, spare_name};
use crate::disk::{Disk, DiskFile, is_full};
use crate::error::Failure;
use crate::options::Options;
use crate::owner::Watch;
use crate::pace::Pace;
use crate::record::{HEADER_BYTES, Header, KIND_DATA, KIND_END, Seal, record_bytes};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::shared::{Closing, Pending, Shared, Work};
use crate::stats::Full;

/// pwritev takes no more pieces than this (IOV_MAX).
const PIECES_MAX: usize = 1024;
/// Smaller payloads are copied beside their header: a piece of its own would cost more.
const COPY_BYTES_MAX: usize = 4096;
/// A scratch buffer that grew beyond this is given back after the group.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;
const FULL_RETRY_MIN: Duration = Duration::from_millis(20);
const FULL_RETRY_MAX: Duration = Duration::from_secs(2);

/// Why the thread stops before it is asked to.
enum Stop {
    Failed(Failure),
    Abandoned,
}

struct Live {
    path: PathBuf,
    first_position: u64,
    file_bytes: u64,
}

/// A segment that has records: the one being written.
struct Active {
    path: PathBuf,
    first_position: u64,
    file: Box<dyn DiskFile>,
}

pub struct Writer {
    shared: Arc<Shared>,
    disk: Box<dyn Disk>,
    options: Options,
    seal: Seal,
    pace: Pace,
    active: Option<Active>,
    live: VecDeque<Live>,
    spares: Vec<PathBuf>,
    trimmed: u64,
    /// Everything below is in the operating system's hands.
    written: u64,
    scratch: Scratch,
    /// The owner block, where other machines may take the WAL over.
    watch: Option<Watch>,
    _lock: Lock,
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        disk: Box<dyn Disk>,
        options: Options,
        watch: Option<Watch>,
        lock: Lock,
    ) -> Self {
        Self {
            seal: Seal::new(options.wal_id),
            pace: Pace::new(options.iops_max, Instant::now()),
            shared,
            disk,
            options,
            active: None,
            live: VecDeque::new(),
            spares: Vec::new(),
            trimmed: 0,
            written: 0,
            scratch: Scratch::default(),
            watch,
            _lock: lock,
        }
    }

    /// The thread's whole life.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.serve()));
        // The lock and the files are let go before anybody hears of the end.
        let (dir, written) = (shared.dir.clone(), self.written);
        drop(self);
        let failure = match outcome {
            Ok(Ok(()) | Err(Stop::Abandoned)) => None,
            Ok(Err(Stop::Failed(failure))) => Some(failure),
            Err(_) => {
                Some(Failure::new("writing", &dir, written, &io::Error::other("a panic: a bug")))
            }
        };
        shared.end(failure);
    }

    fn serve(&mut self) -> Result<(), Stop> {
        loop {
            let Work { entries, trim, closing } = self.shared.next(&mut self.pace);
            if closing == Some(Closing::Abandon) {
                return Ok(());
            }
            if let Some(position) = trim {
                self.trimmed = self.trimmed.max(position);
                self.release()?;
            }
            if !entries.is_empty() {
                self.commit(&entries)?;
            }
            if closing == Some(Closing::Clean) {
                return self.finish();
            }
        }
    }

    /// Makes `entries` durable: as many vectored writes as needed, one sync for each segment.
    fn commit(&mut self, entries: &[Pending]) -> Result<(), Stop> {
        let mut rest = entries;
        while let Some(first) = rest.first() {
            if let Some(file_bytes) = first.new_segment_bytes {
                self.roll(first.position, file_bytes)?;
            }
            let in_next = rest[1..].iter().position(|entry| entry.new_segment_bytes.is_some());
            let (run, others) = rest.split_at(in_next.map_or(rest.len(), |at| at + 1));
            let started = Instant::now();
            self.write(run)?;
            self.sync(started)?;
            self.shared.counters.committed(run.len() as u64, self.written - first.position);
            self.shared.publish(self.written);
            rest = others;
        }
        Ok(())
    }

    fn write(&mut self, run: &[Pending]) -> Result<(), Stop> {
        let synced = self.shared.durable();
        self.scratch.clear();
        for entry in run {
            let header = Header {
                position: entry.position,
                synced,
                stream: entry.stream,
                base_offset: entry.base_offset,
                last_offset: entry.last_offset,
                epoch: entry.epoch,
                payload_bytes: entry.payload.len() as u32,
                kind: KIND_DATA,
                flags: 0,
            };
            let encoded = header.encode_checked(self.seal, &entry.payload, entry.checked);
            self.scratch.push(&encoded, &entry.payload);
        }
        self.write_scratch()
    }

    fn write_scratch(&mut self) -> Result<(), Stop> {
        let Some(active) = &self.active else {
            unreachable!("the first record of a WAL begins a segment");
        };
        let offset = SEGMENT_HEADER_BYTES + self.written - active.first_position;
        let written = self.scratch.write_to(active.file.as_ref(), offset);
        written.map_err(|e| failed("write", &active.path, self.written, &e))?;
        self.written += self.scratch.total_bytes;
        Ok(())
    }

    /// Makes what was written since `started` durable, and finds that the WAL is still ours.
    ///
    /// Invariant: nothing is acknowledged that was not synced first, and after that sync the owner
    /// block was read and was our own. A taker has written it before it reads (see `owner`).
    fn sync(&mut self, started: Instant) -> Result<(), Stop> {
        if let Some(active) = &self.active {
            let synced = active.file.sync();
            synced.map_err(|e| failed("fdatasync", &active.path, self.written, &e))?;
            if let Some(watch) = &mut self.watch {
                let ours = watch.check();
                ours.map_err(|e| failed("owner check", watch.path(), self.written, &e))?;
            }
            self.shared.counters.synced(started.elapsed());
            self.pace.spend(Instant::now());
        }
        Ok(())
    }

    /// Begins the segment at `position`. Everything before it is synced already: `commit` syncs
    /// each segment's run before it goes on to the next.
    fn roll(&mut self, position: u64, file_bytes: u64) -> Result<(), Stop> {
        assert_eq!(self.shared.durable(), position, "a segment begins after unsynced records");
        if let Some(old) = self.active.take() {
            old.file.close().map_err(|e| failed("close", &old.path, position, &e))?;
        }
        let path = self.shared.dir.join(segment_name(position));
        let (made, file) = self.prepare(position, file_bytes)?;
        let renamed = self.disk.rename(&made, &path);
        renamed.map_err(|e| failed("renaming", &made, position, &e))?;
        let synced = self.disk.sync_dir(&self.shared.dir);
        synced.map_err(|e| failed("sync", &self.shared.dir, position, &e))?;
        self.live.push_back(Live { path: path.clone(), first_position: position, file_bytes });
        self.active = Some(Active { path, first_position: position, file });
        self.release()
    }

    /// A file with its space reserved and its header synced, under a name that does not count.
    /// Waits for as long as the disk is full.
    fn prepare(
        &mut self,
        position: u64,
        file_bytes: u64,
    ) -> Result<(PathBuf, Box<dyn DiskFile>), Stop> {
        let header = SegmentHeader::new(&self.options, position, file_bytes).encode();
        let mut pause = FULL_RETRY_MIN;
        loop {
            let spare =
                if file_bytes == self.options.segment_bytes { self.spares.pop() } else { None };
            let recycled = spare.is_some();
            let path = spare.unwrap_or_else(|| self.shared.dir.join(TEMPORARY));
            let made = if recycled {
                self.disk.open(&path)
            } else {
                self.disk.create(&path).and_then(|file| file.allocate(file_bytes).map(|()| file))
            };
            let made = made.and_then(|file| {
                let mut scratch = Scratch::default();
                scratch.push(&header, &Bytes::new());
                scratch.write_to(file.as_ref(), 0)?;
                file.sync().map(|()| file)
            });
            match made {
                Ok(file) => {
                    self.shared.set_full(None);
                    self.pace.spend(Instant::now());
                    let counters = &self.shared.counters;
                    let counter = if recycled {
                        &counters.segments_recycled
                    } else {
                        &counters.segments_created
                    };
                    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    return Ok((path, file));
                }
                Err(e) if is_full(&e) => {
                    self.wait_for_space(&path, position, file_bytes, &e, pause)?
                }
                Err(e) => return Err(failed("creation", &path, position, &e)),
            }
            pause = (pause * 2).min(FULL_RETRY_MAX);
        }
    }

    /// Nothing is lost by waiting: no record has been written into the file that found no room.
    fn wait_for_space(
        &mut self,
        path: &Path,
        position: u64,
        needed_bytes: u64,
        error: &io::Error,
        pause: Duration,
    ) -> Result<(), Stop> {
        match self.disk.remove(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removal", path, position, &e));
            }
            _ => {}
        }
        let (dir, message) = (self.shared.dir.clone(), error.to_string());
        self.shared.set_full(Some(Full { path: dir, needed_bytes, message }));
        self.shared.signal.notify();
        let work = self.shared.pause(pause);
        match work.closing {
            Some(Closing::Abandon) => return Err(Stop::Abandoned),
            Some(Closing::Clean) => return Err(failed("creation", path, position, error)),
            None => {}
        }
        if let Some(trimmed) = work.trim {
            self.trimmed = self.trimmed.max(trimmed);
            self.release()?;
        }
        Ok(())
    }

    /// Recycles or removes segments that lie wholly below the trimmed position.
    fn release(&mut self) -> Result<(), Stop> {
        while self.live.get(1).is_some_and(|next| next.first_position <= self.trimmed) {
            let Some(old) = self.live.pop_front() else { break };
            self.retire(old)?;
        }
        let counters = &self.shared.counters;
        counters.segments.store(self.live.len() as u64, std::sync::atomic::Ordering::Relaxed);
        let spares = self.spares.len() as u64;
        counters.spare_segments.store(spares, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    fn retire(&mut self, old: Live) -> Result<(), Stop> {
        let standard = old.file_bytes == self.options.segment_bytes;
        if standard && self.spares.len() < self.options.spare_segments_max {
            let spare = self.shared.dir.join(spare_name(old.first_position));
            match self.disk.rename(&old.path, &spare) {
                Ok(()) => {
                    self.spares.push(spare);
                    return Ok(());
                }
                Err(e) if is_full(&e) => {}
                Err(e) => return Err(failed("renaming", &old.path, old.first_position, &e)),
            }
        }
        let removed = self.disk.remove(&old.path);
        removed.map_err(|e| failed("removal", &old.path, old.first_position, &e))
    }

    /// Writes the marker that says: this is the end, and everything before it was synced.
    fn finish(&mut self) -> Result<(), Stop> {
        if self.active.is_none() {
            return Ok(());
        }
        let position = self.written;
        let header = Header {
            position,
            synced: position,
            stream: -1,
            base_offset: -1,
            last_offset: -1,
            epoch: -1,
            payload_bytes: 0,
            kind: KIND_END,
            flags: 0,
        };
        self.scratch.clear();
        self.scratch.push(&header.encode(self.seal, &[]), &Bytes::new());
        let started = Instant::now();
        self.write_scratch()?;
        self.sync(started)?;
        match self.active.take() {
            Some(last) => last.file.close().map_err(|e| failed("close", &last.path, position, &e)),
            None => Ok(()),
        }
    }
}

fn failed(operation: &'static str, path: &Path, position: u64, error: &io::Error) -> Stop {
    Stop::Failed(Failure::new(operation, path, position, error))
}

/// A run of records as the pieces of vectored writes.
#[derive(Default)]
struct Scratch {
    /// Headers, padding and small payloads.
    copied: Vec<u8>,
    pieces: Vec<Piece>,
    total_bytes: u64,
}

enum Piece {
    Copied { start: usize, end: usize },
    Shared(Bytes),
}

impl Scratch {
    fn clear(&mut self) {
        self.copied.clear();
        self.copied.shrink_to(SCRATCH_BYTES_KEPT);
        self.pieces.clear();
        self.total_bytes = 0;
    }

    fn push(&mut self, header: &[u8], payload: &Bytes) {
        self.copy(header);
        if payload.len() < COPY_BYTES_MAX {
            self.copy(payload);
        } else {
            self.pieces.push(Piece::Shared(payload.clone()));
        }
        let bytes = (header.len() + payload.len()).next_multiple_of(8);
        self.copy(&[0; 7][..bytes - header.len() - payload.len()]);
        self.total_bytes += bytes as u64;
        debug_assert!(header.len() != HEADER_BYTES || bytes as u64 == record_bytes(payload.len()));
    }

    fn copy(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        let end = self.copied.len();
        match self.pieces.last_mut() {
            Some(Piece::Copied { end: last, .. }) => *last = end,
            _ => self.pieces.push(Piece::Copied { start, end }),
        }
    }

    fn write_to(&self, file: &dyn DiskFile, mut offset: u64) -> io::Result<()> {
        for some in self.pieces.chunks(PIECES_MAX) {
            let slices = some.iter().map(|piece| IoSlice::new(self.bytes(piece)));
            let mut slices = slices.collect::<Vec<_>>();
            let mut left = slices.as_mut_slice();
            while !left.is_empty() {
                match file.write_at(left, offset)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    taken => {
                        IoSlice::advance_slices(&mut left, taken);
                        offset += taken as u64;
                    }
                }
            }
        }
        Ok(())
    }

    fn bytes<'a>(&'a self, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::Copied { start, end } => &self.copied[*start..*end],
            Piece::Shared(bytes) => bytes,
        }
    }
}
