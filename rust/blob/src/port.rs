//! Where completions wait for the event loop.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use crate::{Error, Reply};

/// The end of one operation.
#[derive(Debug)]
pub struct Completion {
    pub token: u64,
    pub result: Result<Reply, Error>,
}

/// A queue with an eventfd that is readable while something waits in it. Unbounded here: it holds
/// at most one entry per operation in flight, and whoever submits bounds those.
#[derive(Debug)]
pub struct Port {
    waiting: Mutex<Vec<Completion>>,
    wake: OwnedFd,
}

impl Port {
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { waiting: Mutex::new(Vec::new()), wake })
    }

    /// What the event loop watches for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Adds one; wakes the loop only when the queue was empty, so one wake-up serves many.
    pub(crate) fn push(&self, completion: Completion) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        waiting.push(completion);
        if was_empty {
            // It fails only when the counter is full, and then the loop is about to wake anyway.
            let _ = write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Takes everything. The eventfd is cleared first: what comes in between is taken as well, and
    /// what comes after finds an empty queue and wakes the loop again.
    pub fn drain(&self) -> Vec<Completion> {
        let mut counter = [0u8; 8];
        // It fails when nothing was written, which is an empty queue or a wake-up already served.
        let _ = read(&self.wake, &mut counter);
        mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wakes(port: &Port) -> u64 {
        let mut counter = [0u8; 8];
        read(port.fd(), &mut counter).map_or(0, |_| u64::from_ne_bytes(counter))
    }

    fn push(port: &Port, token: u64) {
        port.push(Completion { token, result: Ok(Reply::Done) });
    }

    #[test]
    fn many_completions_wake_the_loop_once() {
        let port = Port::new().unwrap();
        (1..=100).for_each(|token| push(&port, token));
        assert_eq!(wakes(&port), 1);
        assert_eq!(port.drain().len(), 100);
        assert_eq!(port.drain().len(), 0);
    }

    #[test]
    fn a_completion_after_a_drain_wakes_the_loop_again() {
        let port = Port::new().unwrap();
        push(&port, 1);
        port.drain();
        assert_eq!(wakes(&port), 0);
        push(&port, 2);
        assert_eq!(wakes(&port), 1);
    }
}
