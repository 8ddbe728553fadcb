//! Reading a topic, as consumers with one request on its way each.
//!
//! Every batch must begin where the one before it ended. What is counted are the bytes of whole
//! batches; what a broker sends of a batch that does not fit is not counted.

use crate::admin::Topic;
use crate::args::Args;
use crate::clock::{now_ns, seconds, to_ns};
use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::histogram::Histogram;
use crate::poller::Poller;
use crate::records::walk;
use crate::report::Report;
use crate::requests::{FetchSize, fetch, fetched};

const WAIT_MS: u64 = 100;
const PACED_WAIT_MS: u64 = 1;
const STALL_TIMEOUT_S: f64 = 60.0;
/// librdkafka's and the Java client's.
const FETCH_WAIT_MS: i32 = 500;
const FETCH_BYTES_MAX: i32 = 52_428_800;
const PARTITION_BYTES_MAX: i32 = 1_048_576;

struct Position {
    partition: i32,
    start: i64,
    next: i64,
    end: i64,
    high_watermark: i64,
}

struct Reader {
    connection: Connection,
    positions: Vec<Position>,
    asked_ns: u64,
    is_waiting: bool,
    /// Whether it has its answer, and asks again when the rate allows it.
    is_due: bool,
    /// Whether a response ever ends it: a follower reads until its time is over.
    is_follower: bool,
}

#[derive(Default)]
struct Counts {
    records: u64,
    bytes: u64,
    responses: u64,
}

struct Run {
    topic: Topic,
    size: FetchSize,
    /// Bytes of batches a second, all readers together.
    rate: f64,
    readers: Vec<Reader>,
    poller: Poller,
    counts: Counts,
    reported: Counts,
    started_ns: u64,
    last_ns: u64,
    all: Histogram,
    passes: u64,
}

/// `--connections [--passes] --seconds [--mb-s]`: read from start to end, again until the time is
/// over; no faster than the rate, all connections together.
/// `--whole 1`: each connection reads all partitions, where they share them otherwise.
/// `--follow 1 --seconds [--every-s]`: read what is appended from now on.
pub fn run(args: &Args) -> Result<Report> {
    let topic = Topic::of(args)?;
    let connections: usize = args.or("connections", 1)?;
    let is_follower = args.or("follow", 0)? != 0;
    let is_whole = args.or("whole", 0)? != 0;
    let passes_max: u64 = args.or("passes", u64::MAX)?;
    let seconds: f64 = args.or("seconds", 10.0)?;
    let every_s: Option<f64> = args.optional("every-s")?;
    let rate = args.or::<f64>("mb-s", f64::INFINITY)? * 1e6;
    let size = FetchSize {
        wait_ms: FETCH_WAIT_MS,
        bytes_max: args.or("bytes-max", FETCH_BYTES_MAX)?,
        partition_bytes_max: args.or("partition-bytes-max", PARTITION_BYTES_MAX)?,
    };
    args.all_used()?;
    let mut run = Run::new(topic, size, connections, is_follower, is_whole)?;
    run.rate = rate;
    let ends_ns = run.started_ns + to_ns(seconds);
    let mut reported_ns = run.started_ns;
    // A busy machine may need longer for the first answer; a rate of nothing says nothing.
    while (now_ns() < ends_ns || run.counts.responses == 0) && run.passes < passes_max {
        run.turn()?;
        if every_s.is_some_and(|every_s| now_ns() >= reported_ns + to_ns(every_s)) {
            run.report_recent(reported_ns);
            reported_ns = now_ns();
        }
    }
    Ok(run.report())
}

impl Run {
    fn new(
        topic: Topic,
        size: FetchSize,
        connections: usize,
        is_follower: bool,
        is_whole: bool,
    ) -> Result<Self> {
        let offsets = topic.offsets()?;
        if !is_follower && offsets.iter().all(|(start, end)| start == end) {
            return Err(Failure::new(format!("{} is empty", topic.name)));
        }
        let poller = Poller::new()?;
        let mut readers = Vec::new();
        let readers_max = if is_whole { connections } else { connections.min(offsets.len()) };
        for number in 0..readers_max {
            let connection = Connection::nonblocking(&topic.bootstrap)?;
            poller.watch(&connection, number)?;
            let (skipped, step) = if is_whole { (0, 1) } else { (number, connections) };
            let mine = offsets.iter().enumerate().skip(skipped).step_by(step);
            let positions = mine.map(|(partition, &(start, end))| Position {
                partition: partition as i32,
                start,
                next: if is_follower { end } else { start },
                end: if is_follower { i64::MAX } else { end },
                high_watermark: end,
            });
            readers.push(Reader {
                connection,
                positions: positions.collect(),
                asked_ns: 0,
                is_waiting: false,
                is_due: false,
                is_follower,
            });
        }
        let started_ns = now_ns();
        let mut run = Self {
            topic,
            size,
            rate: f64::INFINITY,
            readers,
            poller,
            counts: Counts::default(),
            reported: Counts::default(),
            started_ns,
            last_ns: started_ns,
            all: Histogram::new(),
            passes: 0,
        };
        run.readers.iter_mut().try_for_each(|reader| reader.ask(&run.topic.name, &run.size))?;
        Ok(run)
    }

    fn turn(&mut self) -> Result<()> {
        let is_held = self.readers.iter().any(|reader| reader.is_due);
        for number in self.poller.wait(if is_held { PACED_WAIT_MS } else { WAIT_MS })? {
            let reader = &mut self.readers[number];
            if reader.take_answer(&mut self.counts, &mut self.all)? {
                self.last_ns = now_ns();
                reader.is_due = true;
            }
        }
        let allowed = self.rate * seconds(now_ns() - self.started_ns);
        if self.counts.bytes as f64 <= allowed {
            for reader in self.readers.iter_mut().filter(|reader| reader.is_due) {
                reader.ask(&self.topic.name, &self.size)?;
            }
        }
        if self.readers.iter().all(|reader| !reader.is_waiting) {
            self.passes += 1;
            for reader in &mut self.readers {
                reader.rewind();
                reader.ask(&self.topic.name, &self.size)?;
            }
        }
        if now_ns() > self.last_ns + to_ns(STALL_TIMEOUT_S) {
            return Err(Failure::new("no Fetch was answered for a minute"));
        }
        Ok(())
    }

    fn report(&self) -> Report {
        Report::new()
            .count("records", self.counts.records)
            .count("batch_bytes", self.counts.bytes)
            .count("responses", self.counts.responses)
            .count("passes", self.passes)
            .number("seconds", seconds(self.last_ns - self.started_ns))
            .latencies("fetch", &self.all)
    }

    /// One line about what was read since the last such line, and how much is there unread.
    fn report_recent(&mut self, since_ns: u64) {
        let now_ns = now_ns();
        let positions = self.readers.iter().flat_map(|reader| &reader.positions);
        let lag = positions.map(|at| (at.high_watermark - at.next).max(0) as u64).sum();
        Report::new()
            .number("at_s", seconds(now_ns - self.started_ns))
            .number("seconds", seconds(now_ns - since_ns))
            .count("records", self.counts.records - self.reported.records)
            .count("batch_bytes", self.counts.bytes - self.reported.bytes)
            .count("lag_records", lag)
            .print();
        self.reported = Counts { ..self.counts };
    }
}

impl Reader {
    /// Ask for what is not read yet, if anything is left.
    fn ask(&mut self, topic: &str, size: &FetchSize) -> Result<()> {
        let unread = self.positions.iter().filter(|at| at.next < at.end);
        let offsets: Vec<_> = unread.map(|at| (at.partition, at.next)).collect();
        self.is_due = false;
        self.is_waiting = !offsets.is_empty();
        if self.is_waiting {
            self.connection.ask(&fetch(topic, &offsets, size));
            self.asked_ns = now_ns();
            if !self.connection.flush()? {
                return Err(Failure::new("the broker does not read its requests"));
            }
        }
        Ok(())
    }

    /// Count what came, if an answer is complete.
    fn take_answer(&mut self, counts: &mut Counts, latencies: &mut Histogram) -> Result<bool> {
        self.connection.receive()?;
        let positions = &mut self.positions;
        let Some(answer) = self.connection.next_answer()? else { return Ok(false) };
        fetched(answer, |partition, high_watermark, records| {
            let at = positions
                .iter_mut()
                .find(|at| at.partition == partition)
                .ok_or_else(|| Failure::new(format!("fetched partition {partition} unasked")))?;
            let walked = walk(records, at.next)?;
            at.next = walked.next_offset;
            at.high_watermark = high_watermark;
            counts.records += walked.records;
            counts.bytes += walked.bytes as u64;
            Ok(())
        })?;
        counts.responses += 1;
        latencies.record(now_ns() - self.asked_ns);
        Ok(true)
    }

    fn rewind(&mut self) {
        assert!(!self.is_follower, "a follower has no end");
        self.positions.iter_mut().for_each(|at| at.next = at.start);
    }
}
