//! The appending side of a WAL.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::dir;
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, Failure, Refused};
use crate::layout::Layout;
use crate::options::Options;
use crate::owner::{OwnerReads, Watch};
use crate::place::is_shared;
use crate::record::{Checked, record_bytes};
use crate::shared::{Closing, Pending, Shared, locked};
use crate::signal::Signal;
use crate::stats::{Full, Stats};
use crate::writer::Writer;

/// A WAL open for appending. Dropping it stops its thread without waiting for it.
#[derive(Debug)]
pub struct Wal {
    shared: Arc<Shared>,
    front: Mutex<Front>,
    inflight_bytes_max: u64,
    owner_reads: Option<OwnerReads>,
}

#[derive(Debug)]
struct Front {
    layout: Layout,
    queue: Vec<Pending>,
    appended: u64,
    closing: bool,
}

impl Wal {
    /// Makes a new WAL under `root`. Its id must never have been used before.
    pub fn create(root: &Path, options: Options) -> Result<Self, Error> {
        Self::create_on(root, options, Box::new(OsDisk))
    }

    /// The same on a disk of one's own.
    pub fn create_on(root: &Path, options: Options, disk: Box<dyn Disk>) -> Result<Self, Error> {
        options.check()?;
        let (dir, lock) = dir::create(root, options.wal_id)?;
        let is_shared = match options.shared {
            Some(said) => said,
            None => is_shared(&dir)?,
        };
        let watch = if is_shared { Some(Watch::begin(&dir, &options, &*disk)?) } else { None };
        let owner_reads = watch.as_ref().map(Watch::reads);
        let signal = Signal::new().map_err(|e| Error::io("eventfd", &dir, e))?;
        let shared = Arc::new(Shared::new(&dir, signal));
        let layout = Layout::new(options.segment_bytes, options.capacity_bytes);
        let inflight_bytes_max = options.inflight_bytes_max;
        let writer = Writer::new(Arc::clone(&shared), disk, options, watch, lock);
        let builder = thread::Builder::new().name("wal".to_owned());
        builder.spawn(move || writer.run()).map_err(|e| Error::io("thread", &dir, e))?;
        let front = Front { layout, queue: Vec::new(), appended: 0, closing: false };
        Ok(Self { shared, front: Mutex::new(front), inflight_bytes_max, owner_reads })
    }

    /// Queues a record and says where it ends: it is durable once `durable` has reached that.
    ///
    /// Nothing is handed to the disk before [`Wal::submit`]. One record is always taken when
    /// nothing waits, however large, if the whole WAL may be as large.
    pub fn append(
        &self,
        stream: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        payload: Bytes,
    ) -> Result<u64, Refused> {
        self.append_checked(stream, epoch, base_offset, last_offset, payload, None)
    }

    /// The same, of a payload that is not read again where the caller knows its checksum.
    pub fn append_checked(
        &self,
        stream: i64,
        epoch: i32,
        base_offset: i64,
        last_offset: i64,
        payload: Bytes,
        checked: Option<Checked>,
    ) -> Result<u64, Refused> {
        let mut front = locked(&self.front);
        if let Some(failure) = self.shared.failure() {
            return Err(Refused::Failed(failure.clone()));
        }
        if front.closing {
            return Err(Refused::Closed);
        }
        let bytes = record_bytes(payload.len());
        let position = front.layout.end();
        let inflight_bytes = position - self.shared.durable();
        let inflight_bytes_max = self.inflight_bytes_max;
        if inflight_bytes > 0 && inflight_bytes + bytes > inflight_bytes_max {
            return Err(Refused::QueueFull { inflight_bytes, inflight_bytes_max });
        }
        if payload.len() > u32::MAX as usize {
            let capacity_bytes = u64::from(u32::MAX);
            return Err(Refused::TooLarge { segment_bytes: bytes, capacity_bytes });
        }
        let new_segment_bytes = front.layout.place(bytes)?;
        front.appended += 1;
        front.queue.push(Pending {
            position,
            stream,
            epoch,
            base_offset,
            last_offset,
            payload,
            checked,
            new_segment_bytes,
        });
        Ok(position + bytes)
    }

    /// Hands everything queued to the thread. Cheap when nothing is.
    pub fn submit(&self) {
        let mut front = locked(&self.front);
        if !front.queue.is_empty() {
            self.shared.submit(&mut front.queue);
        }
    }

    /// Everything below this position is synced.
    pub fn durable(&self) -> u64 {
        self.shared.durable()
    }

    /// The same, after making the eventfd quiet: what comes later makes it readable again.
    pub fn take_durable(&self) -> u64 {
        self.shared.signal.clear();
        self.shared.durable()
    }

    /// Where the next record will begin.
    pub fn end(&self) -> u64 {
        locked(&self.front).layout.end()
    }

    /// An eventfd: readable when `durable`, `failure`, `full` or `ended` may have changed.
    pub fn fd(&self) -> RawFd {
        self.shared.signal.fd()
    }

    /// How the owner block is read; `None` where no other machine can take the WAL over.
    pub fn owner_reads(&self) -> Option<OwnerReads> {
        self.owner_reads
    }

    pub fn dir(&self) -> PathBuf {
        self.shared.dir.clone()
    }

    /// Nothing below `position` is needed again. A lower position than before changes nothing.
    ///
    /// The caller has stored the new start of the WAL before: recovery begins there.
    pub fn trim(&self, position: u64) -> Result<(), Error> {
        let durable = self.shared.durable();
        if position > durable {
            return Err(Error::Invalid(format!(
                "trim to {position}, but only what is below {durable} is durable"
            )));
        }
        locked(&self.front).layout.trim(position);
        self.shared.trim(position);
        Ok(())
    }

    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure().cloned()
    }

    pub fn full(&self) -> Option<Full> {
        self.shared.full()
    }

    /// Has the thread stopped (closed or failed)?
    pub fn ended(&self) -> bool {
        self.shared.ended()
    }

    pub fn stats(&self) -> Stats {
        let front = locked(&self.front);
        let stats = self.shared.counters.look();
        Stats {
            inflight_bytes: front.layout.end() - self.shared.durable(),
            inflight_records: front.appended.saturating_sub(stats.records),
            live_bytes: front.layout.live_bytes(),
            ..stats
        }
    }

    /// Begins to close, without waiting: the eventfd tells when `ended` is true.
    ///
    /// Clean: all that was appended is written and synced, then the end marker. Otherwise the
    /// thread stops as soon as it can.
    pub fn begin_close(&self, clean: bool) {
        let mut front = locked(&self.front);
        front.closing = true;
        if clean && !front.queue.is_empty() {
            self.shared.submit(&mut front.queue);
        }
        self.shared.close(if clean { Closing::Clean } else { Closing::Abandon });
    }

    /// Closes and waits.
    pub fn close(&self, clean: bool, timeout: Duration) -> Result<(), Error> {
        self.begin_close(clean);
        if !self.shared.wait_ended(timeout) {
            return Err(Error::TimedOut { path: self.dir() });
        }
        self.failure().map_or(Ok(()), |failure| Err(Error::Failed(failure)))
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.shared.close(Closing::Abandon);
    }
}
