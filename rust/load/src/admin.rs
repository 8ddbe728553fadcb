//! Topics: created, deleted, their offsets. Every call has a connection of its own.

use std::thread::sleep;
use std::time::Duration;

use crate::args::Args;
use crate::clock::{now_ns, to_ns};
use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::requests::{
    EARLIEST, LATEST, create_topic, created_topic, delete_topic, deleted_topic, list_offsets,
    metadata, offsets_listed, partitions_led,
};

const UNKNOWN_TOPIC: i16 = 3;
const POLL: Duration = Duration::from_millis(5);
const LEADERS_TIMEOUT_S: f64 = 120.0;

/// The topic of a command, on its broker.
pub struct Topic {
    pub bootstrap: String,
    pub name: String,
    pub partitions: i32,
}

impl Topic {
    pub fn of(args: &Args) -> Result<Self> {
        Ok(Self {
            bootstrap: args.required("bootstrap")?,
            name: args.required("topic")?,
            partitions: args.or("partitions", 1)?,
        })
    }

    /// The topics of a command with `--topics N`: `<topic>-0` and so on, each like this one.
    pub fn numbered(&self, count: u32) -> Vec<Self> {
        let numbered = |number| Self {
            bootstrap: self.bootstrap.clone(),
            name: format!("{}-{number}", self.name),
            partitions: self.partitions,
        };
        (0..count).map(numbered).collect()
    }

    /// Where each partition starts and ends.
    pub fn offsets(&self) -> Result<Vec<(i64, i64)>> {
        let mut connection = Connection::blocking(&self.bootstrap)?;
        let mut ask = |timestamp| {
            let request = list_offsets(&self.name, self.partitions, timestamp);
            offsets_listed(&connection.call(&request)?)
        };
        let (starts, ends) = (ask(EARLIEST)?, ask(LATEST)?);
        if starts.len() != self.partitions as usize || ends.len() != starts.len() {
            return Err(Failure::new("ListOffsets left partitions out"));
        }
        Ok(starts.into_iter().zip(ends).collect())
    }

    /// The same, as soon as all partitions answer: a leader may be known before it knows itself.
    pub fn offsets_when_ready(&self) -> Result<Vec<(i64, i64)>> {
        let ends_ns = now_ns() + to_ns(LEADERS_TIMEOUT_S);
        loop {
            match self.offsets() {
                Err(_) if now_ns() < ends_ns => sleep(POLL),
                decided => return decided,
            }
        }
    }

    /// Create it. Fails if it is there already.
    pub fn create(&self, connection: &mut Connection, configs: &[(&str, &str)]) -> Result<()> {
        let request = create_topic(&self.name, self.partitions, configs);
        match created_topic(&connection.call(&request)?)? {
            0 => Ok(()),
            error_code => Err(Failure::refused("CreateTopics", error_code)),
        }
    }

    /// Wait until all partitions have leaders.
    pub fn wait_for_leaders(&self, connection: &mut Connection) -> Result<()> {
        let ends_ns = now_ns() + to_ns(LEADERS_TIMEOUT_S);
        let request = metadata(&self.name);
        while partitions_led(&connection.call(&request)?)? < self.partitions as usize {
            if now_ns() > ends_ns {
                return Err(Failure::new(format!("{} got no leaders", self.name)));
            }
            sleep(POLL);
        }
        Ok(())
    }
}

/// `--partitions 6 --configs a=b,c=d`: returns when all partitions answer.
pub fn create(args: &Args) -> Result<Report> {
    let topic = Topic::of(args)?;
    let text = args.or("configs", String::new())?;
    let configs: Vec<_> = text.split(',').filter_map(|pair| pair.split_once('=')).collect();
    let mut connection = Connection::blocking(&topic.bootstrap)?;
    topic.create(&mut connection, &configs)?;
    topic.wait_for_leaders(&mut connection)?;
    topic.offsets_when_ready()?;
    Ok(Report::new().count("partitions", topic.partitions as u64))
}

/// No error if the topic is not there.
pub fn delete(args: &Args) -> Result<Report> {
    let topic = Topic::of(args)?;
    let mut connection = Connection::blocking(&topic.bootstrap)?;
    match deleted_topic(&connection.call(&delete_topic(&topic.name))?)? {
        0 | UNKNOWN_TOPIC => Ok(Report::new()),
        error_code => Err(Failure::refused("DeleteTopics", error_code)),
    }
}

/// Waits until all partitions answer.
pub fn offsets(args: &Args) -> Result<Report> {
    let records = Topic::of(args)?
        .offsets_when_ready()?
        .iter()
        .map(|(start, end)| (end - start) as u64)
        .sum();
    Ok(Report::new().count("records", records))
}
