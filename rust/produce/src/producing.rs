//! Checking, appending and answering a run of plain requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use automq_batch::{BatchHeader, check_produce, stamp_in_place};
use automq_codec::{PlainProduce, ProduceRow};
use automq_log::cache::{CacheError, LogCache};
use automq_log::summed::Summed;
use bytes::Bytes;

use crate::lane::Lane;
use crate::routes::Routes;

/// A position that no log reaches.
const NEVER: u64 = u64::MAX;
/// No log adds more to a batch, for its record.
const RECORD_BYTES_MAX: usize = 72;
const NO_OFFSET: i64 = -1;
const NO_TIMESTAMP: i64 = -1;

/// Why a log did not take a batch; nothing of it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The producer is told so, and tries again.
    Refused { error_code: i16, message: String },
    /// It has failed for good: no producer is told anything any more.
    Failed,
}

/// The write-ahead log, as far as an append needs it.
pub trait Log {
    /// Queues a batch; says which position must be durable for it to be. `crc` is the CRC-32C of all
    /// but its first `CRC_FROM` bytes, where it was computed from these bytes.
    fn append(
        &mut self,
        stream: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        batch: Bytes,
        crc: Option<u32>,
    ) -> Result<u64, Refusal>;
}

/// What may be taken at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For timestamps.
    pub now_ms: i64,
    /// Frames beyond this are left to whoever knows how to wait.
    pub room_bytes: usize,
}

struct Batch {
    lane: Arc<Lane>,
    header: BatchHeader,
    bytes: Bytes,
    /// As the check found it; None where the batch was built anew since.
    crc: Option<u32>,
    log_append_time: bool,
}

struct Request {
    plain: PlainProduce,
    frame: Bytes,
    batches: Vec<Batch>,
}

impl Request {
    /// What the log takes for it, at most: more than the frame's where there are many batches, or
    /// one was unpacked for its topic.
    fn stored_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len() + RECORD_BYTES_MAX).sum()
    }
}

/// Requests whose bytes are all right, not appended yet.
pub struct Checked(Vec<Request>);

/// Requests that were appended, with their answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub requests: usize,
    /// The bytes of their frames, and of the batches that were appended.
    pub frame_bytes: usize,
    pub appended_bytes: usize,
    /// Once this is durable `answers` may be sent; 0 where nothing was appended.
    pub position: u64,
    /// The framed responses, one after another.
    pub answers: Vec<u8>,
    /// Whether the log had no room for one of them.
    pub refused: bool,
}

/// What became durable of one lane.
pub struct Progress {
    pub lane: Arc<Lane>,
    pub size_bytes: usize,
}

struct Pending {
    position: u64,
    lane: Arc<Lane>,
    end_offset: i64,
    size_bytes: usize,
}

/// The lanes of a broker, and what was appended to them and is not durable yet.
#[derive(Default)]
pub struct Producing {
    pub routes: Routes,
    pending: VecDeque<Pending>,
    epochs: BTreeMap<i64, i32>,
    requests: u64,
}

impl Producing {
    /// The plain requests at the start of `frames` whose batches their topics accept.
    ///
    /// Changes nothing. This is where the bytes are read; Python need not wait for it.
    pub fn check(&self, frames: &[Bytes], limits: Limits) -> Checked {
        let mut left_bytes = limits.room_bytes;
        let mut found = Vec::new();
        for frame in frames {
            if frame.len() > left_bytes {
                break;
            }
            let Some(request) = self.check_one(frame, limits.now_ms) else { break };
            let Some(left) = left_bytes.checked_sub(frame.len().max(request.stored_bytes())) else {
                break;
            };
            left_bytes = left;
            found.push(request);
        }
        Checked(found)
    }

    fn check_one(&self, frame: &Bytes, now_ms: i64) -> Option<Request> {
        let plain = PlainProduce::read(frame)?;
        let mut batches = Vec::with_capacity(plain.parts.len());
        for topic in &plain.topics {
            for part in &plain.parts[topic.parts.clone()] {
                let key = &frame[topic.key.clone()];
                let lane = self.routes.find(plain.by_id(), key, part.index)?;
                let rules = lane.rules()?;
                let records = frame.slice(part.records.clone());
                let checked = check_produce(&records, &rules, now_ms, plain.version);
                let (header, bytes) = checked.ok()?;
                let (lane, log_append_time) = (Arc::clone(lane), rules.log_append_time);
                let crc = (bytes.as_ptr() == records.as_ptr()).then_some(header.crc);
                batches.push(Batch { lane, header, bytes, crc, log_append_time });
            }
        }
        Some(Request { plain, frame: frame.clone(), batches })
    }

    /// Appends what was checked, up to the first request that does not go on where its producers
    /// were, or that the log has no room for. Each request is appended whole, or not touched.
    ///
    /// An error is a mistake of ours: the cache and the lane disagree about a stream.
    pub fn append(
        &mut self,
        checked: Checked,
        log: &mut dyn Log,
        cache: &LogCache,
    ) -> Result<Run, CacheError> {
        let mut run = Run::default();
        for request in checked.0 {
            self.requests += 1;
            let number = self.requests;
            let admits = |batch: &Batch| batch.lane.admits(&batch.header, number);
            if !request.batches.iter().all(admits) {
                break;
            }
            let mut rows = Vec::with_capacity(request.batches.len());
            for batch in request.batches {
                rows.push(self.append_one(batch, &mut run, log, cache)?);
            }
            run.requests += 1;
            run.frame_bytes += request.frame.len();
            request.plain.put_response(&request.frame, &rows, &mut run.answers);
            if run.refused {
                break; // the others wait for room, they are not refused one after another
            }
        }
        Ok(run)
    }

    fn append_one(
        &mut self,
        batch: Batch,
        run: &mut Run,
        log: &mut dyn Log,
        cache: &LogCache,
    ) -> Result<ProduceRow, CacheError> {
        let Batch { lane, header, bytes, crc, log_append_time } = batch;
        let base_offset = lane.end_offset();
        let last_offset = base_offset + i64::from(header.last_offset_delta);
        // SAFETY: the bytes lie in the memory of a frame that nobody has been shown yet, or were
        // built by the check; either exposes its provenance by handing out addresses.
        unsafe { stamp_in_place(&bytes, base_offset, lane.epoch) };
        // The log first: it is the one that may refuse, and then nothing has happened.
        let (stream, epoch) = (lane.stream, lane.epoch);
        let appended = log.append(stream, epoch, base_offset, last_offset, bytes.clone(), crc);
        let position = match appended {
            Ok(position) => position,
            Err(Refusal::Failed) => NEVER,
            Err(Refusal::Refused { error_code, message }) => {
                run.refused = true;
                return Ok(refused(&lane, error_code, message));
            }
        };
        let size_bytes = bytes.len();
        let summed = Summed::batch(bytes, crc);
        cache.append(lane.stream, base_offset, last_offset, header.max_timestamp, summed)?;
        lane.advance(&header, base_offset);
        self.epochs.insert(lane.stream, lane.epoch);
        run.position = run.position.max(position);
        run.appended_bytes += size_bytes;
        let row = ProduceRow {
            error_code: 0,
            base_offset,
            log_append_time_ms: if log_append_time { header.max_timestamp } else { NO_TIMESTAMP },
            log_start_offset: lane.start_offset(),
            error_message: None,
        };
        self.pending.push_back(Pending { position, lane, end_offset: last_offset + 1, size_bytes });
        Ok(row)
    }

    /// Everything below `position` is durable: moves the lanes' durable offsets, and says whose
    /// moved, each lane once, in the order of the first append.
    pub fn complete(&mut self, position: u64) -> Vec<Progress> {
        let mut moved: Vec<Progress> = Vec::new();
        let mut places: BTreeMap<*const Lane, usize> = BTreeMap::new();
        while let Some(first) = self.pending.front().filter(|first| first.position <= position) {
            first.lane.advance_durable(first.end_offset);
            let place = *places.entry(Arc::as_ptr(&first.lane)).or_insert(moved.len());
            if place == moved.len() {
                moved.push(Progress { lane: Arc::clone(&first.lane), size_bytes: 0 });
            }
            moved[place].size_bytes += first.size_bytes;
            self.pending.pop_front();
        }
        moved
    }

    /// The epoch of every stream appended to since the last call.
    pub fn take_epochs(&mut self) -> BTreeMap<i64, i32> {
        std::mem::take(&mut self.epochs)
    }
}

fn refused(lane: &Lane, error_code: i16, message: String) -> ProduceRow {
    ProduceRow {
        error_code,
        base_offset: NO_OFFSET,
        log_append_time_ms: NO_TIMESTAMP,
        log_start_offset: lane.start_offset(),
        error_message: Some(message),
    }
}
