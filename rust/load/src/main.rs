//! `automq-load`: drives a Kafka-compatible broker and measures it.
//!
//!     automq-load COMMAND --bootstrap HOST:PORT --topic NAME [--option value ...]
//!
//! | command | what it does |
//! |---|---|
//! | `produce` | pipelined Produce requests of one batch each, as many as are answered, or at a rate |
//! | `fetch` | reads a topic from its start, once or again and again, or follows its end |
//! | `latency` | produces at a fixed rate and consumes: from when a record was due to when it is here |
//! | `first` | connects until a broker answers, and produces until one record is acknowledged |
//! | `touch` | creates topics, and has one record of each partition acknowledged |
//! | `create`, `delete` | a topic, for the workloads above |
//! | `offsets` | how many records the partitions of a topic hold |
//!
//! The answer is one line of JSON on standard output per report; the last one is the total. Times
//! are CLOCK_MONOTONIC's. An error code in any answer, an answer to another request than the one
//! that is due, or an offset that is not the next one ends the run with exit status 1: a number is
//! printed only for work that was done right.
//!
//! It speaks the protocol itself and shares nothing with the broker but the form of a batch, so
//! that it costs a fraction of what it measures. One thread per command (two for `latency`).

mod admin;
mod args;
mod clock;
mod connection;
mod failure;
mod fetch;
mod histogram;
mod latency;
mod poller;
mod produce;
mod records;
mod report;
mod requests;
mod startup;
mod touch;
mod wire;

use std::process::ExitCode;

use crate::args::Args;
use crate::failure::{Failure, Result};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("automq-load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<()> {
    let (command, args) = Args::parse(words)?;
    let report = match command.as_str() {
        "produce" => produce::run(&args)?,
        "fetch" => fetch::run(&args)?,
        "latency" => latency::run(&args)?,
        "first" => startup::run(&args)?,
        "touch" => touch::run(&args)?,
        "create" => admin::create(&args)?,
        "delete" => admin::delete(&args)?,
        "offsets" => admin::offsets(&args)?,
        other => return Err(Failure::new(format!("there is no command {other}"))),
    };
    args.all_used()?;
    report.print();
    Ok(())
}
