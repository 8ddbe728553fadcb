//! One wake-up for an event loop: an eventfd, written only from quiet to pending.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes whoever polls `fd`. Many [`Signal::notify`] between two [`Signal::clear`] cost one write.
#[derive(Debug)]
pub struct Signal {
    fd: OwnedFd,
    pending: AtomicBool,
}

impl Signal {
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, pending: AtomicBool::new(false) })
    }

    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Call it after what it tells about has been stored.
    pub fn notify(&self) {
        if !self.pending.swap(true, SeqCst) {
            // The counter is far from its limit, so a non-blocking write of 1 is always taken.
            let written = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
            debug_assert!(written.is_ok());
        }
    }

    /// Call it before looking at what was stored: what comes later notifies again.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // "Would block" only says that nothing was pending.
        let _ = rustix::io::read(&self.fd, &mut count);
        self.pending.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(signal: &Signal) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&signal.fd, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }

    #[test]
    fn many_notices_are_one_write() {
        let signal = Signal::new().unwrap();
        signal.notify();
        signal.notify();
        assert_eq!(pending(&signal), 1);
    }

    #[test]
    fn after_a_clear_the_next_notice_is_written_again() {
        let signal = Signal::new().unwrap();
        signal.notify();
        signal.clear();
        assert_eq!(pending(&signal), 0);
        signal.notify();
        assert_eq!(pending(&signal), 1);
    }
}
