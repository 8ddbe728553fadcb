//! What the appending side and the WAL's thread share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::Failure;
use crate::pace::Pace;
use crate::record::Checked;
use crate::signal::Signal;
use crate::stats::{Counters, Full};

/// One append on its way to the disk.
#[derive(Debug)]
pub struct Pending {
    pub position: u64,
    pub stream: i64,
    pub epoch: i32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub payload: Bytes,
    pub checked: Option<Checked>,
    /// The size of the segment file that begins with this record, if one does.
    pub new_segment_bytes: Option<u64>,
}

/// How a WAL is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Write all that was submitted, sync it, write the end marker.
    Clean,
    /// Stop at once; what is not durable may or may not be there later.
    Abandon,
}

/// What the thread is to do next.
#[derive(Debug, Default)]
pub struct Work {
    pub entries: Vec<Pending>,
    pub trim: Option<u64>,
    pub closing: Option<Closing>,
}

#[derive(Debug, Default)]
struct Inbox {
    entries: Vec<Pending>,
    trim: Option<u64>,
    closing: Option<Closing>,
    ended: bool,
}

#[derive(Debug)]
pub struct Shared {
    pub dir: PathBuf,
    pub signal: Signal,
    pub counters: Counters,
    inbox: Mutex<Inbox>,
    changed: Condvar,
    durable: AtomicU64,
    failure: OnceLock<Failure>,
    full: Mutex<Option<Full>>,
}

impl Shared {
    pub fn new(dir: &Path, signal: Signal) -> Self {
        Self {
            dir: dir.to_owned(),
            signal,
            counters: Counters::default(),
            inbox: Mutex::default(),
            changed: Condvar::new(),
            durable: AtomicU64::new(0),
            failure: OnceLock::new(),
            full: Mutex::default(),
        }
    }

    pub fn durable(&self) -> u64 {
        self.durable.load(SeqCst)
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    pub fn full(&self) -> Option<Full> {
        locked(&self.full).clone()
    }

    /// Has the thread stopped?
    pub fn ended(&self) -> bool {
        locked(&self.inbox).ended
    }

    // -- the appending side

    /// Hands `queue` to the thread and leaves an empty one.
    pub fn submit(&self, queue: &mut Vec<Pending>) {
        let mut inbox = locked(&self.inbox);
        if inbox.entries.is_empty() {
            std::mem::swap(&mut inbox.entries, queue);
        } else {
            inbox.entries.append(queue);
        }
        drop(inbox);
        self.changed.notify_all();
    }

    pub fn trim(&self, position: u64) {
        let mut inbox = locked(&self.inbox);
        inbox.trim = inbox.trim.max(Some(position));
        drop(inbox);
        self.changed.notify_all();
    }

    /// Asks the thread to stop. Abandoning wins over a clean close that hangs.
    pub fn close(&self, closing: Closing) {
        let mut inbox = locked(&self.inbox);
        if inbox.closing != Some(Closing::Abandon) {
            inbox.closing = Some(closing);
        }
        drop(inbox);
        self.changed.notify_all();
    }

    /// Waits until the thread has stopped; false if it has not in time.
    pub fn wait_ended(&self, timeout: Duration) -> bool {
        let inbox = locked(&self.inbox);
        let waited = self.changed.wait_timeout_while(inbox, timeout, |inbox| !inbox.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    // -- the thread

    /// Waits for something to do. Records wait for the pace, everything else does not.
    pub fn next(&self, pace: &mut Pace) -> Work {
        let mut inbox = locked(&self.inbox);
        loop {
            let urgent = inbox.closing.is_some() || inbox.trim.is_some();
            let delay = match inbox.closing {
                _ if inbox.entries.is_empty() => None,
                Some(_) => Some(Duration::ZERO),
                None => Some(pace.delay(Instant::now())),
            };
            let ready = delay == Some(Duration::ZERO);
            if urgent || ready {
                let entries = if ready { std::mem::take(&mut inbox.entries) } else { Vec::new() };
                return Work { entries, trim: inbox.trim.take(), closing: inbox.closing };
            }
            inbox = match delay {
                None => self.changed.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(delay) => {
                    let waited = self.changed.wait_timeout(inbox, delay);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits for a trim or a close, at most `timeout`. Entries stay where they are.
    pub fn pause(&self, timeout: Duration) -> Work {
        let inbox = locked(&self.inbox);
        let quiet = |inbox: &mut Inbox| inbox.trim.is_none() && inbox.closing.is_none();
        let waited = self.changed.wait_timeout_while(inbox, timeout, quiet);
        let mut inbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        Work { entries: Vec::new(), trim: inbox.trim.take(), closing: inbox.closing }
    }

    /// Everything below `position` is synced. The one place where `durable` moves.
    pub fn publish(&self, position: u64) {
        let before = self.durable.swap(position, SeqCst);
        debug_assert!(before <= position);
        self.signal.notify();
    }

    pub fn set_full(&self, full: Option<Full>) {
        *locked(&self.full) = full;
    }

    /// The thread's last word.
    pub fn end(&self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            // The first reason is the true one; the thread ends only once anyway.
            let _ = self.failure.set(failure);
        }
        let mut inbox = locked(&self.inbox);
        inbox.ended = true;
        inbox.entries = Vec::new();
        drop(inbox);
        self.changed.notify_all();
        self.signal.notify();
    }
}

/// A panic elsewhere must not turn into a second one here.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
