//! Pipelined Produce requests of one batch each over some connections.
//!
//! Without `--rate` every connection keeps `--in-flight` requests on their way, and a latency
//! counts from the sending. With it, requests are due at even intervals, and a latency counts from
//! when the request was due: a stall of the broker is seen in every request that it held up.

use std::collections::VecDeque;

use crate::admin::Topic;
use crate::args::Args;
use crate::clock::{now_ns, seconds, to_ns};
use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::histogram::Histogram;
use crate::poller::Poller;
use crate::records::noise_batch;
use crate::report::Report;
use crate::requests::{produce, produced_one};

const DRAIN_TIMEOUT_S: f64 = 60.0;
const IDLE_WAIT_MS: u64 = 100;
const PACED_WAIT_MS: u64 = 1;

struct Options {
    batch_records: usize,
    record_bytes: usize,
    in_flight: usize,
    requests_max: u64,
    /// Requests a second, over all connections.
    rate: Option<f64>,
}

struct Lane {
    connection: Connection,
    sent_ns: VecDeque<u64>,
    next_partition: usize,
    is_blocked: bool,
}

struct Run {
    options: Options,
    frames: Vec<Vec<u8>>,
    lanes: Vec<Lane>,
    poller: Poller,
    started_ns: u64,
    sent: u64,
    acked: u64,
    last_ack_ns: u64,
    all: Histogram,
    recent: Histogram,
}

/// `--connections --in-flight --batch-records --record-bytes --seconds [--requests] [--rate]
/// [--every-s]`: produce for that long, or so many requests. `--topics N`: to the topics that
/// `touch` makes, in turn.
pub fn run(args: &Args) -> Result<Report> {
    let topic = Topic::of(args)?;
    let connections: usize = args.or("connections", 1)?;
    let every_s: Option<f64> = args.optional("every-s")?;
    let topics = match args.optional("topics")? {
        Some(count) => topic.numbered(count),
        None => vec![topic],
    };
    let seconds = args.or("seconds", 10.0)?;
    let options = Options {
        batch_records: args.or("batch-records", 1)?,
        record_bytes: args.or("record-bytes", 100)?,
        in_flight: args.or("in-flight", 5)?,
        requests_max: args.or("requests", u64::MAX)?,
        rate: args.optional("rate")?,
    };
    args.all_used()?;
    let mut run = Run::new(&topics, connections, options)?;
    let ends_ns = run.started_ns + to_ns(seconds);
    let mut reported_ns = run.started_ns;
    run.fill_all()?;
    while now_ns() < ends_ns && run.acked < run.options.requests_max {
        run.turn()?;
        if every_s.is_some_and(|every_s| now_ns() >= reported_ns + to_ns(every_s)) {
            run.report_recent(reported_ns);
            reported_ns = now_ns();
        }
    }
    run.drain()?;
    Ok(run.report())
}

impl Run {
    fn new(topics: &[Topic], connections: usize, options: Options) -> Result<Self> {
        let frame = |(topic, partition): (&Topic, i32)| {
            let seed = partition as u64 * options.batch_records as u64;
            let batch = noise_batch(options.batch_records, options.record_bytes, seed)?;
            Ok(produce(&topic.name, &[partition], &batch))
        };
        let places =
            topics.iter().flat_map(|topic| (0..topic.partitions).map(move |at| (topic, at)));
        let frames = places.map(frame).collect::<Result<Vec<_>>>()?;
        let poller = Poller::new()?;
        let mut lanes = Vec::with_capacity(connections);
        for number in 0..connections {
            let connection = Connection::nonblocking(&topics[0].bootstrap)?;
            poller.watch(&connection, number)?;
            let next_partition = number % frames.len();
            let sent_ns = VecDeque::with_capacity(options.in_flight);
            lanes.push(Lane { connection, sent_ns, next_partition, is_blocked: false });
        }
        let started_ns = now_ns();
        Ok(Self {
            options,
            frames,
            lanes,
            poller,
            started_ns,
            sent: 0,
            acked: 0,
            last_ack_ns: started_ns,
            all: Histogram::new(),
            recent: Histogram::new(),
        })
    }

    /// Wait for answers, take them, send what they make room for.
    fn turn(&mut self) -> Result<()> {
        let wait_ms = if self.options.rate.is_some() { PACED_WAIT_MS } else { IDLE_WAIT_MS };
        for number in self.poller.wait(wait_ms)? {
            self.take_answers(number)?;
            self.fill(number)?;
        }
        if self.options.rate.is_some() {
            self.fill_all()?;
        }
        Ok(())
    }

    fn take_answers(&mut self, number: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        lane.connection.receive()?;
        let now_ns = now_ns();
        while let Some(answer) = lane.connection.next_answer()? {
            produced_one(answer)?;
            let sent_ns =
                lane.sent_ns.pop_front().ok_or_else(|| Failure::new("an answer to nothing"))?;
            let took_ns = now_ns.saturating_sub(sent_ns);
            self.all.record(took_ns);
            self.recent.record(took_ns);
            self.acked += 1;
            self.last_ack_ns = now_ns;
        }
        Ok(())
    }

    fn fill_all(&mut self) -> Result<()> {
        (0..self.lanes.len()).try_for_each(|number| self.fill(number))
    }

    fn fill(&mut self, number: usize) -> Result<()> {
        let now_ns = now_ns();
        let lane = &mut self.lanes[number];
        while lane.sent_ns.len() < self.options.in_flight {
            let Some(due_ns) = due(&self.options, self.started_ns, self.sent, now_ns) else {
                break;
            };
            lane.connection.ask(&self.frames[lane.next_partition]);
            lane.next_partition = (lane.next_partition + 1) % self.frames.len();
            lane.sent_ns.push_back(due_ns);
            self.sent += 1;
        }
        let is_blocked = !lane.connection.flush()?;
        if is_blocked != lane.is_blocked {
            self.poller.watch_writing(&lane.connection, number, is_blocked)?;
            lane.is_blocked = is_blocked;
        }
        Ok(())
    }

    /// Take the answers that are still to come; nothing new is sent.
    fn drain(&mut self) -> Result<()> {
        self.options.requests_max = self.sent;
        let ends_ns = now_ns() + to_ns(DRAIN_TIMEOUT_S);
        while self.acked < self.sent {
            if now_ns() > ends_ns {
                let missing = self.sent - self.acked;
                return Err(Failure::new(format!("{missing} requests were never answered")));
            }
            self.turn()?;
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let records = self.acked * self.options.batch_records as u64;
        Report::new()
            .count("requests", self.acked)
            .count("records", records)
            .count("payload_bytes", records * self.options.record_bytes as u64)
            .number("seconds", seconds(self.last_ack_ns - self.started_ns))
            .latencies("ack", &self.all)
    }

    /// One line about what was acknowledged since the last such line.
    fn report_recent(&mut self, since_ns: u64) {
        let now_ns = now_ns();
        let records = self.recent.count() * self.options.batch_records as u64;
        Report::new()
            .number("at_s", seconds(now_ns - self.started_ns))
            .number("seconds", seconds(now_ns - since_ns))
            .count("payload_bytes", records * self.options.record_bytes as u64)
            .latencies("ack", &self.recent)
            .print();
        self.recent.clear();
    }
}

/// The moment that the latency of request `number` counts from, or None while it may not go.
fn due(options: &Options, started_ns: u64, number: u64, now_ns: u64) -> Option<u64> {
    if number >= options.requests_max {
        return None;
    }
    let Some(rate) = options.rate else { return Some(now_ns) };
    let due_ns = started_ns + to_ns(number as f64 / rate);
    (due_ns <= now_ns).then_some(due_ns)
}
