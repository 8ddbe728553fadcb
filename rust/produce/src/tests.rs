use std::sync::Arc;

use automq_batch::{
    BatchHeader, BatchSpec, CRC_FROM, NewRecord, ProduceRules, batches, build_batch, crc32c,
};
use automq_log::cache::LogCache;
use bytes::{BufMut, Bytes, BytesMut};

use crate::{Lane, Limits, Log, Producing, Refusal, Run, Seen, Segment};

const ID: &[u8; 16] = b"0123456789abcdef";
const NOW_MS: i64 = 1_700_000_000_000;
const STREAM: i64 = 7;
const EPOCH: i32 = 3;
const LIMITS: Limits = Limits { now_ms: NOW_MS, room_bytes: 1 << 20 };

/// A log that counts bytes, and refuses from the batch with this number on.
#[derive(Default)]
struct Counting {
    batches: Vec<(i64, Bytes)>,
    end: u64,
    full_from: Option<usize>,
    failed: bool,
}

impl Log for Counting {
    fn append(
        &mut self,
        _stream: i64,
        _epoch: i32,
        base_offset: i64,
        _last_offset: i64,
        batch: Bytes,
        crc: Option<u32>,
    ) -> Result<u64, Refusal> {
        assert_eq!(crc, Some(crc32c(&batch[CRC_FROM..])));
        if self.failed {
            return Err(Refusal::Failed);
        }
        if self.full_from.is_some_and(|from| self.batches.len() >= from) {
            return Err(Refusal::Refused { error_code: 56, message: "full".into() });
        }
        self.end += batch.len() as u64;
        self.batches.push((base_offset, batch));
        Ok(self.end)
    }
}

struct Broker {
    producing: Producing,
    lane: Arc<Lane>,
    cache: LogCache,
    log: Counting,
}

impl Broker {
    fn new() -> Self {
        let lane = Arc::new(Lane::new(STREAM, EPOCH, 0, 0));
        let mut producing = Producing::default();
        producing.routes.add(b"t", ID, 0, &lane);
        let (cache, log) = (LogCache::new(1 << 20), Counting::default());
        let broker = Self { producing, lane, cache, log };
        broker.lend();
        broker
    }

    fn lend(&self) {
        self.lane.lend_segment(Segment {
            rules: Arc::new(rules()),
            segment_bytes: 1_000,
            segment_ms: 1_000,
            size_bytes: 100,
            first_timestamp: NOW_MS,
            max_timestamp: NOW_MS,
        });
    }

    fn produce(&mut self, frames: &[Bytes], limits: Limits) -> Run {
        let checked = self.producing.check(frames, limits);
        self.producing.append(checked, &mut self.log, &self.cache).expect("no mistake")
    }
}

fn rules() -> ProduceRules {
    ProduceRules {
        batch_bytes_max: 1 << 20,
        segment_bytes: 1 << 20,
        compacted: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        log_append_time: false,
        codec: None,
        level: None,
        unpacked_bytes_max: 1 << 20,
    }
}

/// Two records of a producer (-1: of none), the first with this sequence.
fn batch(producer_id: i64, base_sequence: i32, timestamp: i64) -> Bytes {
    let record = |value: &'static [u8]| NewRecord {
        timestamp,
        key: None,
        value: Some(Bytes::from_static(value)),
        headers: Vec::new(),
    };
    let spec = BatchSpec { producer_id, producer_epoch: 0, base_sequence, ..BatchSpec::default() };
    build_batch(&[record(b"a"), record(b"b")], &spec).expect("a batch")
}

/// A request of version 9 for topic `t`: a batch for each partition.
fn frame(parts: &[(i32, Bytes)]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"\0\0\0\x09\0\0\0\x01\0\x02me\0\0\xff\xff\0\0\x03\xe8\x02\x02t");
    out.put_u8(parts.len() as u8 + 1);
    for (index, records) in parts {
        out.put_i32(*index);
        let length = records.len() as u8 + 1;
        assert!(length < 0x80, "a varint of one byte");
        out.put_u8(length);
        out.put_slice(records);
        out.put_u8(0);
    }
    out.put_slice(b"\0\0");
    owned(&out)
}

/// A request for partition 0 from no producer. Each has memory of its own, as it is stamped.
fn plain() -> Bytes {
    frame(&[(0, batch(-1, -1, NOW_MS))])
}

/// Memory that a stamp may write to, as that of a received frame.
fn owned(bytes: &[u8]) -> Bytes {
    let bytes = Bytes::copy_from_slice(bytes);
    let _ = bytes.as_ptr().expose_provenance();
    bytes
}

fn header_of(stored: &Bytes) -> BatchHeader {
    batches(stored).next().expect("one").expect("whole").0
}

#[test]
fn requests_of_one_read_are_appended_in_order_and_answered_together() {
    let mut broker = Broker::new();
    let frames = [plain(), plain()];
    let run = broker.produce(&frames, LIMITS);
    assert_eq!((run.requests, run.position), (2, broker.log.end));
    assert_eq!(run.frame_bytes, frames[0].len() + frames[1].len());
    let stored: Vec<(i64, i32)> = broker
        .log
        .batches
        .iter()
        .map(|(_, bytes)| (header_of(bytes).base_offset, header_of(bytes).leader_epoch))
        .collect();
    assert_eq!(stored, [(0, EPOCH), (2, EPOCH)]);
    assert_eq!((broker.lane.end_offset(), broker.lane.durable_offset()), (4, 0));
}

#[test]
fn durable_offsets_move_only_when_the_log_says_so() {
    let mut broker = Broker::new();
    let first = broker.produce(&[plain()], LIMITS).position;
    broker.produce(&[plain()], LIMITS);
    assert!(broker.producing.complete(first - 1).is_empty());
    let moved = broker.producing.complete(first);
    assert_eq!((moved.len(), broker.lane.durable_offset()), (1, 2));
    broker.producing.complete(u64::MAX - 1);
    assert_eq!(broker.lane.durable_offset(), 4);
}

#[test]
fn nothing_is_taken_by_a_lane_that_was_lent_nothing_or_is_closed() {
    let mut broker = Broker::new();
    broker.lane.take_segment();
    assert_eq!(broker.produce(&[plain()], LIMITS), Run::default());
    broker.lend();
    broker.lane.close();
    assert_eq!(broker.produce(&[plain()], LIMITS), Run::default());
}

#[test]
fn a_producer_that_is_not_known_or_does_not_go_on_ends_the_run() {
    let mut broker = Broker::new();
    let sent = |sequence| frame(&[(0, batch(5, sequence, NOW_MS))]);
    assert_eq!(broker.produce(&[sent(2)], LIMITS).requests, 0);
    broker.lane.lend_producer(5, 0, 1);
    // The second is sent again, as after a lost answer.
    let run = broker.produce(&[sent(2), sent(4), sent(4), sent(6)], LIMITS);
    assert_eq!((run.requests, broker.lane.end_offset()), (2, 4));
    let added = broker.lane.take_producer(5);
    let expected = Seen {
        base_sequence: 4,
        last_sequence: 5,
        base_offset: 2,
        last_offset: 3,
        timestamp: NOW_MS,
    };
    assert_eq!((added.len(), added[1]), (2, expected));
    assert_eq!(broker.produce(&[sent(6)], LIMITS).requests, 0);
}

#[test]
fn five_batches_of_a_producer_are_remembered() {
    let mut broker = Broker::new();
    broker.lane.lend_producer(5, 0, -1);
    let frames: Vec<Bytes> =
        (0..7).map(|number| frame(&[(0, batch(5, 2 * number, NOW_MS))])).collect();
    assert_eq!(broker.produce(&frames, LIMITS).requests, 7);
    let added = broker.lane.take_producers();
    let sequences: Vec<i32> = added[0].1.iter().map(|seen| seen.base_sequence).collect();
    assert_eq!((added[0].0, sequences), (5, vec![4, 6, 8, 10, 12]));
}

#[test]
fn a_segment_that_would_roll_ends_the_run() {
    let mut broker = Broker::new();
    let late = frame(&[(0, batch(-1, -1, NOW_MS + 1_001))]);
    assert_eq!(broker.produce(&[late], LIMITS).requests, 0);
    let sent: Vec<Bytes> = (0..20).map(|_| frame(&[(0, batch(-1, -1, NOW_MS + 7))])).collect();
    let size_bytes = batch(-1, -1, NOW_MS).len() as i64;
    let run = broker.produce(&sent, LIMITS);
    assert_eq!(run.requests as i64, 900 / size_bytes);
    let segment = broker.lane.take_segment().expect("lent");
    assert_eq!(segment.size_bytes, 100 + run.requests as i64 * size_bytes);
    assert_eq!(segment.max_timestamp, NOW_MS + 7);
}

#[test]
fn a_request_is_taken_whole_or_not_at_all() {
    let mut broker = Broker::new();
    let records = || batch(-1, -1, NOW_MS);
    let unknown = frame(&[(0, records()), (1, records())]);
    let twice = frame(&[(0, records()), (0, records())]);
    let damaged = frame(&[(0, owned(&[&records()[..70], &b"zzz"[..]].concat()))]);
    for not_plain in [unknown, twice, damaged] {
        assert_eq!(broker.produce(&[not_plain], LIMITS).requests, 0);
    }
    assert_eq!((broker.lane.end_offset(), broker.log.batches.len()), (0, 0));
}

#[test]
fn what_has_no_room_is_left() {
    let mut broker = Broker::new();
    let five = (0..5).map(|_| plain()).collect::<Vec<_>>();
    let limits = Limits { room_bytes: (plain().len() + 72) * 2, ..LIMITS };
    assert_eq!(broker.produce(&five, limits).requests, 2);
}

#[test]
fn a_full_log_refuses_one_request_and_a_failed_one_never_answers() {
    let mut broker = Broker::new();
    broker.log.full_from = Some(1);
    let run = broker.produce(&[plain(), plain(), plain()], LIMITS);
    assert_eq!((run.requests, run.refused, run.position), (2, true, broker.log.end));
    assert_eq!(broker.lane.end_offset(), 2);
    broker.log.failed = true;
    assert_eq!(broker.produce(&[plain()], LIMITS).position, u64::MAX);
}

#[test]
fn a_partition_that_has_moved_is_not_found_any_more() {
    let mut broker = Broker::new();
    let next = Arc::new(Lane::new(STREAM, EPOCH + 1, 0, 0));
    broker.producing.routes.add(b"t", ID, 0, &next);
    broker.producing.routes.remove(b"t", ID, 0, &broker.lane);
    assert!(broker.producing.routes.find(true, ID, 0).is_some_and(|lane| lane.epoch == EPOCH + 1));
    broker.producing.routes.remove(b"t", ID, 0, &next);
    assert!(broker.producing.routes.find(false, b"t", 0).is_none());
}
