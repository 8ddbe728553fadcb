//! From a broker that may not even listen yet to the first record it acknowledges.

use std::thread::sleep;
use std::time::Duration;

use crate::admin::Topic;
use crate::args::Args;
use crate::clock::{now_ns, seconds, to_ns};
use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::records::noise_batch;
use crate::report::Report;
use crate::requests::{create_topic, created_topic, produce, produced_one};

const RETRY: Duration = Duration::from_millis(1);
const TOPIC_ALREADY_EXISTS: i16 = 36;
const RECORD_BYTES: usize = 100;

/// `[--timeout-s]`: creates the topic unless it is there, and produces a record to its partition 0.
/// Whatever fails is tried again. `at_ns` is when the answer came, on CLOCK_MONOTONIC.
pub fn run(args: &Args) -> Result<Report> {
    let topic = Topic::of(args)?;
    let started_ns = now_ns();
    let ends_ns = started_ns + to_ns(args.or("timeout-s", 300.0)?);
    args.all_used()?;
    let batch = noise_batch(1, RECORD_BYTES, 1)?;
    let mut attempts = 1;
    loop {
        match attempt(&topic, &batch) {
            Ok(()) => break,
            Err(failure) if now_ns() > ends_ns => return Err(failure),
            Err(_) => sleep(RETRY),
        }
        attempts += 1;
    }
    let at_ns = now_ns();
    Ok(Report::new()
        .count("at_ns", at_ns)
        .count("attempts", attempts)
        .number("seconds", seconds(at_ns - started_ns)))
}

fn attempt(topic: &Topic, batch: &[u8]) -> Result<()> {
    let mut connection = Connection::blocking(&topic.bootstrap)?;
    let request = create_topic(&topic.name, topic.partitions, &[]);
    match created_topic(&connection.call(&request)?)? {
        0 | TOPIC_ALREADY_EXISTS => {}
        error_code => return Err(Failure::refused("CreateTopics", error_code)),
    }
    produced_one(&connection.call(&produce(&topic.name, &[0], batch))?)
}
