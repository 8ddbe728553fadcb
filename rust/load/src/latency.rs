//! End to end at a fixed rate: from the moment that a record was due to the moment it is here.
//!
//! A record is due at an even interval after the one before it. It waits `--linger-ms` for company
//! at most, less when a batch is full, and longer while `--in-flight` requests are unanswered, as
//! in any producer; all that counts. So a stall shows in every record that was due during it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use automq_batch::read_records;
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::admin::Topic;
use crate::args::Args;
use crate::clock::{now_ns, seconds, to_ns};
use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::histogram::Histogram;
use crate::records::{batch_of, noise, walk};
use crate::report::Report;
use crate::requests::{FetchSize, fetch, fetched, produce, produced_one};

/// Between making the plan and the first record, so that the consumer waits when it comes.
const LEAD_NS: u64 = 200_000_000;
const TIMEOUT_S: f64 = 60.0;
const SIZE: FetchSize =
    FetchSize { wait_ms: 500, bytes_max: 52_428_800, partition_bytes_max: 1_048_576 };

struct Plan {
    rate: f64,
    count: u64,
    linger_ns: u64,
    batch_records: usize,
    record_bytes: usize,
    in_flight: usize,
    started_ns: u64,
    /// Records due before this are not measured.
    measured_ns: u64,
}

impl Plan {
    fn due_ns(&self, number: u64) -> u64 {
        self.started_ns + to_ns(number as f64 / self.rate)
    }
}

struct Producer<'a> {
    plan: &'a Plan,
    topic: &'a Topic,
    connection: Connection,
    padding: Bytes,
    waiting: VecDeque<u64>,
    /// When the oldest record of each request on its way was due.
    on_their_way: VecDeque<u64>,
    next: u64,
    batches: u64,
    ack: Histogram,
}

/// `--rate --linger-ms --seconds [--warmup-s] [--record-bytes] [--batch-bytes] [--in-flight]`
pub fn run(args: &Args) -> Result<Report> {
    let topic = Topic::of(args)?;
    let rate: f64 = args.required("rate")?;
    let record_bytes: usize = args.or("record-bytes", 1024)?;
    let batch_bytes: usize = args.or("batch-bytes", 1_000_000)?;
    let warmup_s = args.or("warmup-s", 1.0)?;
    let run_s = warmup_s + args.or("seconds", 10.0)?;
    if record_bytes < 8 {
        return Err(Failure::new("--record-bytes must be 8 at least: a record holds its time"));
    }
    let started_ns = now_ns() + LEAD_NS;
    let plan = Plan {
        rate,
        count: (run_s * rate) as u64,
        linger_ns: to_ns(args.or("linger-ms", 0.0)? / 1e3),
        batch_records: (batch_bytes / (record_bytes + 16)).max(1),
        record_bytes,
        in_flight: args.or("in-flight", 5)?,
        started_ns,
        measured_ns: started_ns + to_ns(warmup_s),
    };
    args.all_used()?;
    let produced_total = AtomicU64::new(u64::MAX);
    let offsets = topic.offsets()?.into_iter().map(|(_, end)| end).collect();
    let (producer, arrivals) = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(&plan, &topic, offsets, &produced_total));
        let producer = Producer::new(&plan, &topic).and_then(Producer::run);
        // A producer that failed ends the consumer as well.
        let total = if producer.is_ok() { plan.count } else { 0 };
        produced_total.store(total, Ordering::Release);
        let arrivals = consumer.join().map_err(|_| Failure::new("the consumer panicked"))?;
        Ok::<_, Failure>((producer?, arrivals?))
    })?;
    let payload_bytes = plan.count * plan.record_bytes as u64;
    Ok(Report::new()
        .count("records", plan.count)
        .count("batches", producer.batches)
        .count("payload_bytes", payload_bytes)
        .number("seconds", seconds(now_ns() - plan.started_ns))
        .latencies("ack", &producer.ack)
        .latencies("end_to_end", &arrivals))
}

impl<'a> Producer<'a> {
    fn new(plan: &'a Plan, topic: &'a Topic) -> Result<Self> {
        Ok(Self {
            plan,
            topic,
            connection: Connection::nonblocking(&topic.bootstrap)?,
            padding: Bytes::from(noise(plan.record_bytes - 8, 1)),
            waiting: VecDeque::new(),
            on_their_way: VecDeque::new(),
            next: 0,
            batches: 0,
            ack: Histogram::new(),
        })
    }

    fn run(mut self) -> Result<Self> {
        let last_due_ns = self.plan.due_ns(self.plan.count);
        let ends_ns = last_due_ns + to_ns(TIMEOUT_S);
        while self.next < self.plan.count || self.has_work() {
            let now_ns = now_ns();
            if now_ns > ends_ns {
                return Err(Failure::new("records were not acknowledged within a minute"));
            }
            self.take_due(now_ns);
            while self.may_send(now_ns) {
                self.send()?;
            }
            let is_blocked = !self.connection.flush()?;
            self.wait(is_blocked)?;
            self.take_answers()?;
        }
        Ok(self)
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.on_their_way.is_empty()
    }

    fn take_due(&mut self, now_ns: u64) {
        while self.next < self.plan.count && self.plan.due_ns(self.next) <= now_ns {
            self.waiting.push_back(self.plan.due_ns(self.next));
            self.next += 1;
        }
    }

    fn may_send(&self, now_ns: u64) -> bool {
        let Some(oldest_ns) = self.waiting.front() else { return false };
        let is_full = self.waiting.len() >= self.plan.batch_records;
        self.on_their_way.len() < self.plan.in_flight
            && (is_full || oldest_ns + self.plan.linger_ns <= now_ns)
    }

    /// One batch of the oldest records, to the partition whose turn it is.
    fn send(&mut self) -> Result<()> {
        let count = self.waiting.len().min(self.plan.batch_records);
        self.on_their_way.extend(self.waiting.front());
        let padding = &self.padding;
        let value =
            |due_ns: u64| Bytes::from([due_ns.to_be_bytes().as_slice(), padding.as_ref()].concat());
        let batch = batch_of(self.waiting.drain(..count).map(value))?;
        let partition = (self.batches % self.topic.partitions as u64) as i32;
        self.connection.ask(&produce(&self.topic.name, &[partition], &batch));
        self.batches += 1;
        Ok(())
    }

    /// Until an answer comes, or there is something to send.
    fn wait(&self, is_blocked: bool) -> Result<()> {
        let window_is_open = self.on_their_way.len() < self.plan.in_flight;
        let wake_ns = match self.waiting.front() {
            Some(oldest_ns) if window_is_open => oldest_ns + self.plan.linger_ns,
            None if self.next < self.plan.count => self.plan.due_ns(self.next),
            _ => now_ns() + to_ns(1.0),
        };
        let left_ns = wake_ns.saturating_sub(now_ns());
        let timeout = Timespec {
            tv_sec: (left_ns / 1_000_000_000) as i64,
            tv_nsec: (left_ns % 1_000_000_000) as i64,
        };
        let room = if is_blocked { PollFlags::OUT } else { PollFlags::empty() };
        let mut watched = [PollFd::new(&self.connection, PollFlags::IN | room)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_answers(&mut self) -> Result<()> {
        self.connection.receive()?;
        while let Some(answer) = self.connection.next_answer()? {
            produced_one(answer)?;
            let oldest_ns = self
                .on_their_way
                .pop_front()
                .ok_or_else(|| Failure::new("an answer to nothing"))?;
            if oldest_ns >= self.plan.measured_ns {
                self.ack.record(now_ns().saturating_sub(oldest_ns));
            }
        }
        Ok(())
    }
}

/// Read until as many records came as were produced in total, which is known at the end.
fn consume(
    plan: &Plan,
    topic: &Topic,
    mut offsets: Vec<i64>,
    produced_total: &AtomicU64,
) -> Result<Histogram> {
    let mut connection = Connection::blocking(&topic.bootstrap)?;
    let mut arrivals = Histogram::new();
    let mut arrived = 0;
    let ends_ns = plan.due_ns(plan.count) + to_ns(TIMEOUT_S);
    while arrived < produced_total.load(Ordering::Acquire) {
        let asked: Vec<_> = (0..).zip(offsets.iter().copied()).collect();
        let answer = Bytes::from(connection.call(&fetch(&topic.name, &asked, &SIZE))?);
        let now_ns = now_ns();
        if now_ns > ends_ns {
            return Err(Failure::new(format!("only {arrived} records came")));
        }
        fetched(&answer, |partition, _, records| {
            let next = offsets
                .get_mut(partition as usize)
                .ok_or_else(|| Failure::new(format!("fetched partition {partition} unasked")))?;
            let walked = walk(records, *next)?;
            *next = walked.next_offset;
            arrived += walked.records;
            measure(plan, now_ns, &answer.slice_ref(&records[..walked.bytes]), &mut arrivals)
        })?;
    }
    Ok(arrivals)
}

fn measure(plan: &Plan, now_ns: u64, batches: &Bytes, arrivals: &mut Histogram) -> Result<()> {
    let records = read_records(batches, usize::MAX)
        .map_err(|error| Failure::new(format!("fetched a bad batch: {error}")))?;
    for record in records {
        let value = record.value.unwrap_or_default();
        let due_ns = match value.first_chunk::<8>() {
            Some(due) if value.len() == plan.record_bytes => u64::from_be_bytes(*due),
            _ => return Err(Failure::new("fetched a record that was not produced here")),
        };
        if due_ns >= plan.measured_ns {
            arrivals.record(now_ns.saturating_sub(due_ns));
        }
    }
    Ok(())
}
