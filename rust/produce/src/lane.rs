//! A lane: the end of one stream, and what is lent of its partition's state while requests are
//! plain.
//!
//! Invariant (lending): the state of a producer, and the active segment, are in one place at a
//! time. What is lent here is changed here only; whoever wants to look at it or change it elsewhere
//! takes it back first, with all that was added meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use automq_batch::{BatchHeader, ProduceRules, add_sequence};

/// As many batches as a producer may have in flight; what a state remembers of each (Kafka).
const BATCHES_KEPT: usize = 5;

/// A batch that was appended, as a producer's state remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub timestamp: i64,
}

/// The active segment of a partition, lent: where it stands, and when it would roll.
#[derive(Clone, Debug)]
pub struct Segment {
    pub rules: Arc<ProduceRules>,
    pub segment_bytes: i64,
    pub segment_ms: i64,
    pub size_bytes: i64,
    pub first_timestamp: i64,
    pub max_timestamp: i64,
}

impl Segment {
    /// Whether a batch goes into this segment, by size and by time (see `partition/segments.py`).
    fn takes(&self, header: &BatchHeader) -> bool {
        let size_bytes = self.size_bytes + header.size_bytes as i64;
        let age_ms = header.max_timestamp.saturating_sub(self.first_timestamp);
        size_bytes <= self.segment_bytes && age_ms <= self.segment_ms
    }
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    last_sequence: i32,
    /// Appended since it was lent: the newest, as many as are remembered.
    added: VecDeque<Seen>,
}

#[derive(Debug, Default)]
struct Lent {
    segment: Option<Segment>,
    /// By id, in an order that does not depend on chance.
    producers: BTreeMap<i64, Producer>,
    /// The number of the last request that wrote here.
    request: u64,
}

/// One stream that is open here. All but `lent` can be read and written at any time.
#[derive(Debug)]
pub struct Lane {
    pub stream: i64,
    pub epoch: i32,
    start_offset: AtomicI64,
    end_offset: AtomicI64,
    durable_offset: AtomicI64,
    is_open: AtomicBool,
    lent: Mutex<Lent>,
}

impl Lane {
    /// A stream whose offsets `[start_offset, end_offset)` are durable.
    pub fn new(stream: i64, epoch: i32, start_offset: i64, end_offset: i64) -> Self {
        Self {
            stream,
            epoch,
            start_offset: AtomicI64::new(start_offset),
            end_offset: AtomicI64::new(end_offset),
            durable_offset: AtomicI64::new(end_offset),
            is_open: AtomicBool::new(true),
            lent: Mutex::default(),
        }
    }

    pub fn start_offset(&self) -> i64 {
        self.start_offset.load(Relaxed)
    }

    pub fn set_start_offset(&self, offset: i64) {
        self.start_offset.store(offset, Relaxed);
    }

    pub fn end_offset(&self) -> i64 {
        self.end_offset.load(Relaxed)
    }

    pub fn set_end_offset(&self, offset: i64) {
        self.end_offset.store(offset, Relaxed);
    }

    pub fn durable_offset(&self) -> i64 {
        self.durable_offset.load(Relaxed)
    }

    /// It never goes back.
    pub fn advance_durable(&self, offset: i64) {
        self.durable_offset.fetch_max(offset, Relaxed);
    }

    pub fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    /// Nothing is appended any more.
    pub fn close(&self) {
        self.is_open.store(false, Relaxed);
    }

    // -- lending

    pub fn lend_segment(&self, segment: Segment) {
        self.lent().segment = Some(segment);
    }

    /// The segment as it stands now; the lane appends nothing until it is lent again.
    pub fn take_segment(&self) -> Option<Segment> {
        self.lent().segment.take()
    }

    /// A producer without an open transaction, whose last batch ended at `last_sequence`.
    pub fn lend_producer(&self, producer_id: i64, epoch: i16, last_sequence: i32) {
        let producer = Producer { epoch, last_sequence, added: VecDeque::new() };
        self.lent().producers.insert(producer_id, producer);
    }

    /// What was added to this producer since it was lent, oldest first; empty if nothing.
    pub fn take_producer(&self, producer_id: i64) -> Vec<Seen> {
        let producer = self.lent().producers.remove(&producer_id);
        producer.map_or_else(Vec::new, |producer| producer.added.into())
    }

    /// The same for all producers: those to which something was added.
    pub fn take_producers(&self) -> Vec<(i64, Vec<Seen>)> {
        let producers = std::mem::take(&mut self.lent().producers);
        let added = producers.into_iter().map(|(id, producer)| (id, producer.added.into()));
        added.filter(|(_, added): &(i64, Vec<Seen>)| !added.is_empty()).collect()
    }

    // -- appending

    /// What the topic asks of batches; None while nothing can be appended here.
    pub(crate) fn rules(&self) -> Option<Arc<ProduceRules>> {
        let lent = self.lent();
        let segment = lent.segment.as_ref().filter(|_| self.is_open())?;
        Some(Arc::clone(&segment.rules))
    }

    /// Whether a checked batch of request `request` may be appended without asking anybody: it goes
    /// on where its producer was, and it fits. A second batch of one request may not.
    pub(crate) fn admits(&self, header: &BatchHeader, request: u64) -> bool {
        let mut lent = self.lent();
        let first = std::mem::replace(&mut lent.request, request) != request;
        let fits = lent.segment.as_ref().is_some_and(|segment| segment.takes(header));
        first && fits && self.is_open() && !header.is_transactional() && follows(&lent, header)
    }

    /// Takes note of a batch that was appended at the end, as `admits` allowed.
    pub(crate) fn advance(&self, header: &BatchHeader, base_offset: i64) {
        let last_offset = base_offset + i64::from(header.last_offset_delta);
        self.set_end_offset(last_offset + 1);
        let mut lent = self.lent();
        if let Some(segment) = &mut lent.segment {
            segment.size_bytes += header.size_bytes as i64;
            segment.max_timestamp = segment.max_timestamp.max(header.max_timestamp);
        }
        if let Some(producer) = lent.producers.get_mut(&header.producer_id) {
            producer.last_sequence = header.last_sequence();
            if producer.added.len() == BATCHES_KEPT {
                producer.added.pop_front();
            }
            producer.added.push_back(Seen {
                base_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset,
                last_offset,
                timestamp: header.max_timestamp,
            });
        }
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch without a producer, or the next one of a producer that is lent. Anything else, a
/// duplicate too, is for the whole of the producers' state to judge.
fn follows(lent: &Lent, header: &BatchHeader) -> bool {
    if !header.has_producer_id() {
        return true;
    }
    lent.producers.get(&header.producer_id).is_some_and(|producer| {
        producer.epoch == header.producer_epoch
            && header.base_sequence == add_sequence(producer.last_sequence, 1)
    })
}
