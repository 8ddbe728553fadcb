//! Many partitions: created, and one record of each acknowledged.

use std::thread::sleep;
use std::time::Duration;

use crate::admin::Topic;
use crate::args::Args;
use crate::clock::{now_ns, seconds, to_ns};
use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::records::noise_batch;
use crate::report::Report;
use crate::requests::{produce, produced};

/// Long enough that asking again does not hold up the broker that is still at it.
const RETRY: Duration = Duration::from_millis(10);
const TIMEOUT_S: f64 = 300.0;
const RECORD_BYTES: usize = 100;
const PARTITIONS_PER_REQUEST: usize = 200;
/// UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER: not there yet.
const NOT_YET: [i16; 3] = [3, 5, 6];

/// `--topics --partitions`: topics `<topic>-0` and so on, of so many partitions each.
pub fn run(args: &Args) -> Result<Report> {
    let first = Topic::of(args)?;
    let count: u32 = args.or("topics", 1)?;
    args.all_used()?;
    let topics = first.numbered(count);
    let mut connection = Connection::blocking(&first.bootstrap)?;
    let started_ns = now_ns();
    topics.iter().try_for_each(|topic| topic.create(&mut connection, &[]))?;
    topics.iter().try_for_each(|topic| topic.wait_for_leaders(&mut connection))?;
    let created_ns = now_ns();
    let mut attempts = 0;
    for topic in &topics {
        attempts += produce_to_each(topic, &mut connection)?;
    }
    Ok(Report::new()
        .count("partitions", u64::from(count) * first.partitions as u64)
        .count("attempts", attempts)
        .number("created_s", seconds(created_ns - started_ns))
        .number("seconds", seconds(now_ns() - started_ns)))
}

/// One record to every partition, again to those that are not ready yet; how often that took.
fn produce_to_each(topic: &Topic, connection: &mut Connection) -> Result<u64> {
    let batch = noise_batch(1, RECORD_BYTES, 1)?;
    let ends_ns = now_ns() + to_ns(TIMEOUT_S);
    let mut left: Vec<i32> = (0..topic.partitions).collect();
    let mut attempts = 0;
    while !left.is_empty() {
        attempts += 1;
        if now_ns() > ends_ns {
            return Err(Failure::new(format!("{} partitions never accept", left.len())));
        }
        let requests = left.chunks(PARTITIONS_PER_REQUEST);
        let answers = requests.len();
        requests.for_each(|partitions| connection.ask(&produce(&topic.name, partitions, &batch)));
        connection.flush()?;
        left = refused(connection, answers)?;
        if !left.is_empty() {
            sleep(RETRY);
        }
    }
    Ok(attempts)
}

/// The partitions that were not ready. Fails at any other error code.
fn refused(connection: &mut Connection, answers: usize) -> Result<Vec<i32>> {
    let (mut not_yet, mut fatal) = (Vec::new(), 0);
    for _ in 0..answers {
        produced(&connection.wait_for_answer()?, |partition, error_code| match error_code {
            0 => {}
            code if NOT_YET.contains(&code) => not_yet.push(partition),
            code => fatal = code,
        })?;
    }
    if fatal == 0 { Ok(not_yet) } else { Err(Failure::refused("Produce", fatal)) }
}
