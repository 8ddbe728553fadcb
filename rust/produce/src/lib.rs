//! Plain Produce requests from frames to the log, those of a connection that follow each other at
//! once.
//!
//! Plain is what needs no decision: the partition is led here, its batch goes into the segment
//! that is active, its producer goes on where it was. The general path of the broker is the one
//! source of truth: it lends a [`Lane`] what such requests need, gets it back with all that was
//! added, and is handed every request that is not plain, untouched.
//!
//! Invariant (acknowledging): an answer made here is given out only once the position of its
//! [`Run`] is durable; durable offsets move by [`Producing::complete`] alone.
//!
//! Requests of one connection keep their order: the first that is not plain ends the run.

mod lane;
mod producing;
mod routes;
#[cfg(test)]
mod tests;

pub use lane::{Lane, Seen, Segment};
pub use producing::{Checked, Limits, Log, Producing, Progress, Refusal, Run};
pub use routes::Routes;
