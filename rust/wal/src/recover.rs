//! Reading what a WAL holds, from a stored start to its end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::dir::{self, Lock};
use crate::disk::drop_cache;
use crate::error::Error;
use crate::owner::{self, Taker};
use crate::record::{HEADER_BYTES, Header, KIND_DATA, KIND_END, Record, Seal, looks_like};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};

/// How much is read ahead when looking for later records behind a bad one.
const SEARCH_BYTES: usize = 1 << 20;

/// Where a WAL ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The end of the last good record.
    pub position: u64,
    /// The WAL was closed cleanly: nothing can be missing.
    pub clean: bool,
    /// Something unfinished lies behind the end. It was never acknowledged.
    pub torn: bool,
}

/// A cursor over the records of a WAL. Holds its lock, and no more than a chunk in memory.
#[derive(Debug)]
pub struct Recovery {
    dir: PathBuf,
    seal: Seal,
    wal_id: i64,
    cluster_id: Option<[u8; 16]>,
    /// First positions of the segments that are still to be read, the present one included.
    segments: Vec<u64>,
    segment: Option<Segment>,
    at: u64,
    /// The highest position that anything read so far proves to have been synced.
    synced: u64,
    chunk_bytes: usize,
    end: Option<End>,
    /// Taken from a writer on another machine: nothing that this one has cached may be believed.
    is_shared: bool,
    /// `None` while a writer that was fenced by its owner block still has it.
    _lock: Option<Lock>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    first_position: u64,
    /// Records end here at the latest.
    limit: u64,
}

/// What stands at a position.
enum Found {
    Record(Header),
    /// A record may stand here; that many bytes tell.
    Needs(usize),
    Bad(&'static str),
}

impl Recovery {
    /// Opens WAL `wal_id` under `root` for reading from `start`, a position that was stored as
    /// the end of records that are safe elsewhere (0 for the beginning).
    ///
    /// A `cluster_id` is compared with that of the files. A `taker` fences the writer first, by the
    /// owner block if there is one: then the writer may be alive, and what it acknowledged until
    /// then is read. Without one the WAL's lock must be free.
    pub fn open(
        root: &Path,
        wal_id: i64,
        cluster_id: Option<[u8; 16]>,
        start: u64,
        chunk_bytes: usize,
        taker: Option<Taker>,
    ) -> Result<Self, Error> {
        let dir = dir::dir_of(root, wal_id);
        if !dir.is_dir() {
            return Err(Error::Missing { path: dir });
        }
        // In this order and no other: the fence, then the listing, then the reading.
        let is_shared = match taker {
            Some(taker) => owner::take(&dir, wal_id, cluster_id, taker)?,
            None => false,
        };
        let lock = if is_shared { Lock::try_take(&dir)? } else { Some(Lock::take(&dir)?) };
        let mut segments = dir::segments(&dir)?;
        let below = segments.partition_point(|first| *first <= start);
        segments.drain(..below.saturating_sub(1));
        let mut recovery = Self {
            dir,
            seal: Seal::new(wal_id),
            wal_id,
            cluster_id,
            segments,
            segment: None,
            at: start,
            synced: start,
            chunk_bytes: chunk_bytes.max(SEGMENT_HEADER_BYTES as usize),
            end: None,
            is_shared,
            _lock: lock,
        };
        recovery.begin()?;
        Ok(recovery)
    }

    /// The next records, some `chunk_bytes` of them; `None` at the end. Payloads share the
    /// chunk's memory.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Record>>, Error> {
        loop {
            if self.end.is_some() {
                return Ok(None);
            }
            let records = self.read_some()?;
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
    }

    /// Where the WAL ended; `None` until all was read.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    fn begin(&mut self) -> Result<(), Error> {
        match self.segments.first() {
            Some(first) if *first <= self.at => self.enter(*first),
            None if self.at == 0 => {
                // Nothing was ever written: the first segment comes with the first record.
                self.end = Some(End { position: 0, clean: false, torn: false });
                Ok(())
            }
            _ => Err(self.damaged(&self.dir.join(segment_name(self.at)), "the segment is missing")),
        }
    }

    fn enter(&mut self, first_position: u64) -> Result<(), Error> {
        let path = self.dir.join(segment_name(first_position));
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        if self.is_shared {
            drop_cache(&file).map_err(|e| Error::io("read", &path, e))?;
        }
        let bytes = read_up_to(&file, &path, 0, SEGMENT_HEADER_BYTES as usize)?;
        let header = SegmentHeader::parse(&path, first_position, &bytes)?;
        self.check_owner(&path, &header)?;
        let next = self.segments.get(1).copied();
        let usable = header.file_bytes.saturating_sub(SEGMENT_HEADER_BYTES);
        let limit = next.unwrap_or(first_position.saturating_add(usable));
        // A segment is begun only when all before it is synced.
        self.synced = self.synced.max(next.unwrap_or(first_position));
        if self.at > limit {
            return Err(self.damaged(&path, "the log is said to go on beyond this segment"));
        }
        self.segment = Some(Segment { path, file, first_position, limit });
        Ok(())
    }

    fn check_owner(&self, path: &Path, header: &SegmentHeader) -> Result<(), Error> {
        let foreign = |why| Err(Error::Foreign { path: path.to_owned(), why });
        if header.wal_id != self.wal_id {
            return foreign(format!("belongs to WAL {}, not {}", header.wal_id, self.wal_id));
        }
        match self.cluster_id {
            Some(id) if id != header.cluster_id => {
                foreign(format!("belongs to another cluster (node {} of it)", header.node_id))
            }
            _ => Ok(()),
        }
    }

    /// Reads one chunk: whole records, or none and a step towards the end.
    fn read_some(&mut self) -> Result<Vec<Record>, Error> {
        let Some(segment) = &self.segment else { return Ok(Vec::new()) };
        if self.at == segment.limit && self.segments.len() > 1 {
            self.segments.remove(0);
            self.enter(self.at)?;
            return Ok(Vec::new());
        }
        let mut chunk = segment.read(self.at, self.chunk_bytes)?;
        let mut records = Vec::new();
        let mut used = 0;
        loop {
            match find(&chunk[used..], self.at, segment.limit, self.seal) {
                Found::Record(header) if header.kind == KIND_DATA && header.flags == 0 => {
                    self.synced = self.synced.max(header.synced);
                    let from = used + HEADER_BYTES;
                    let payload = chunk.slice(from..from + header.payload_bytes as usize);
                    used += header.record_bytes() as usize;
                    self.at += header.record_bytes();
                    records.push(record(&header, payload));
                }
                Found::Record(header) if header.kind == KIND_END && header.flags == 0 => {
                    self.end = Some(End { position: self.at, clean: true, torn: false });
                    return Ok(records);
                }
                Found::Record(header) => {
                    let why = format!("a record of kind {}, flags {}", header.kind, header.flags);
                    let (path, position) = (segment.path.clone(), self.at);
                    return Err(Error::Unsupported { path, position, why });
                }
                Found::Needs(_) if !records.is_empty() => return Ok(records),
                Found::Needs(bytes) => {
                    let longer = segment.read(self.at, bytes)?;
                    if longer.len() < bytes {
                        self.end = Some(self.judge(segment, "the file ends")?);
                        return Ok(records);
                    }
                    (chunk, used) = (longer, 0);
                }
                // What is good is handed out first; the next call comes back to this position.
                Found::Bad(_) if !records.is_empty() => return Ok(records),
                Found::Bad(why) => {
                    self.end = Some(self.judge(segment, why)?);
                    return Ok(records);
                }
            }
        }
    }

    /// A bad record at `at`: the torn tail, or damage if anything proves that it was synced.
    fn judge(&self, segment: &Segment, why: &str) -> Result<End, Error> {
        if self.at < self.synced {
            return Err(self.damaged(&segment.path, why));
        }
        let later = segment.search(self.at, self.seal)?;
        if later.synced > self.at {
            return Err(self.damaged(&segment.path, why));
        }
        Ok(End { position: self.at, clean: false, torn: later.torn })
    }

    fn damaged(&self, path: &Path, why: &str) -> Error {
        Error::Damaged { path: path.to_owned(), position: self.at, why: why.to_owned() }
    }
}

fn record(header: &Header, payload: Bytes) -> Record {
    Record {
        position: header.position,
        end_position: header.position + header.record_bytes(),
        stream: header.stream,
        epoch: header.epoch,
        base_offset: header.base_offset,
        last_offset: header.last_offset,
        payload,
    }
}

/// Judges what `bytes` begin with, at `position`, in a segment whose records end at `limit`.
fn find(bytes: &[u8], position: u64, limit: u64, seal: Seal) -> Found {
    if limit - position < HEADER_BYTES as u64 {
        return Found::Bad("no record fits here");
    }
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Found::Needs(HEADER_BYTES);
    };
    let Some(header) = Header::parse(head) else {
        return Found::Bad("no record begins here");
    };
    if header.position != position {
        return Found::Bad("the record there belongs to another position");
    }
    if header.record_bytes() > limit - position {
        return Found::Bad("the record's length is impossible");
    }
    let whole = HEADER_BYTES + header.payload_bytes as usize;
    let Some(payload) = bytes.get(HEADER_BYTES..whole) else {
        return Found::Needs(header.record_bytes() as usize);
    };
    if !seal.holds(head, payload) {
        return Found::Bad("the record does not match its checksum");
    }
    Found::Record(header)
}

/// What lies behind a bad record.
struct Later {
    synced: u64,
    torn: bool,
}

impl Segment {
    /// At most `bytes` bytes from `position` on, up to the limit or the end of the file.
    fn read(&self, position: u64, bytes: usize) -> Result<Bytes, Error> {
        let wanted = bytes.min((self.limit - position) as usize);
        let offset = SEGMENT_HEADER_BYTES + (position - self.first_position);
        Ok(read_up_to(&self.file, &self.path, offset, wanted)?.into())
    }

    /// Looks for good records from `position` on, wherever they begin: a group may have been torn
    /// in the middle. Records of the file's earlier life have other positions.
    fn search(&self, position: u64, seal: Seal) -> Result<Later, Error> {
        let mut later = Later { synced: 0, torn: false };
        let mut at = position;
        while self.limit - at >= HEADER_BYTES as u64 {
            let bytes = self.read(at, SEARCH_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                break;
            }
            // Up to here a whole header is in this piece; the next piece begins behind it.
            let heads = (bytes.len() - HEADER_BYTES) / 8 + 1;
            for here in (0..heads).map(|i| i * 8) {
                if looks_like(&bytes[here..], at + here as u64) {
                    later.torn = true;
                    later.synced = later.synced.max(self.synced_at(at + here as u64, seal)?);
                }
            }
            at += heads as u64 * 8;
        }
        Ok(later)
    }

    /// The position that the record at `position` proves to be synced; 0 if it is not good.
    fn synced_at(&self, position: u64, seal: Seal) -> Result<u64, Error> {
        let mut bytes = self.read(position, HEADER_BYTES)?;
        if let Found::Needs(needed) = find(&bytes, position, self.limit, seal) {
            bytes = self.read(position, needed)?;
        }
        match find(&bytes, position, self.limit, seal) {
            Found::Record(header) => Ok(header.synced),
            Found::Needs(_) | Found::Bad(_) => Ok(0),
        }
    }
}

/// The cluster and the node that wrote a WAL; `None` where no segment says so (nothing was
/// written, or what was written is not readable).
pub fn owner_of(root: &Path, wal_id: i64) -> Result<Option<([u8; 16], i32)>, Error> {
    written_by(&dir::dir_of(root, wal_id))
}

/// The same, of a WAL's directory.
pub fn written_by(dir: &Path) -> Result<Option<([u8; 16], i32)>, Error> {
    for first_position in dir::segments(dir)? {
        let path = dir.join(segment_name(first_position));
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let bytes = read_up_to(&file, &path, 0, SEGMENT_HEADER_BYTES as usize)?;
        if let Ok(header) = SegmentHeader::parse(&path, first_position, &bytes) {
            return Ok(Some((header.cluster_id, header.node_id)));
        }
    }
    Ok(None)
}

fn read_up_to(file: &File, path: &Path, offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match file.read_at(&mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", path, e)),
        }
    }
    out.truncate(filled);
    Ok(out)
}
