//! A recovery on a thread of its own, for callers that must not wait for a disk.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::error::Error;
use crate::owner::Taker;
use crate::record::Record;
use crate::recover::{End, Recovery};
use crate::shared::locked;
use crate::signal::Signal;

/// Chunks that may wait to be taken, beside the one being read.
const AHEAD: usize = 1;

/// What a [`Reader`] has to hand out.
#[derive(Debug)]
pub enum Step {
    Records(Vec<Record>),
    End(End),
    Failed(Error),
}

/// Reads a WAL ahead of its user, in bounded memory. Dropping it stops the thread.
#[derive(Debug)]
pub struct Reader {
    steps: Mutex<Receiver<Step>>,
    signal: Arc<Signal>,
}

impl Reader {
    /// Begins to read; see [`Recovery::open`]. What goes wrong is the last step.
    pub fn start(
        root: &Path,
        wal_id: i64,
        cluster_id: Option<[u8; 16]>,
        start: u64,
        chunk_bytes: usize,
        taker: Option<Taker>,
    ) -> Result<Self, Error> {
        let signal = Arc::new(Signal::new().map_err(|e| Error::io("eventfd", root, e))?);
        let (sender, steps) = sync_channel(AHEAD);
        let (path, notify): (PathBuf, _) = (root.to_owned(), Arc::clone(&signal));
        let read = move || {
            let opened = Recovery::open(&path, wal_id, cluster_id, start, chunk_bytes, taker);
            let last = opened.map_or_else(Step::Failed, |open| read_all(open, &sender, &notify));
            // The user may be gone; then nobody wants to know.
            let _ = sender.send(last);
            notify.notify();
        };
        let builder = thread::Builder::new().name("wal-recovery".to_owned());
        builder.spawn(read).map_err(|e| Error::io("thread", root, e))?;
        Ok(Self { steps: Mutex::new(steps), signal })
    }

    /// An eventfd: readable when a step may be there.
    pub fn fd(&self) -> RawFd {
        self.signal.fd()
    }

    /// The next step if it is there. After `End` or `Failed` nothing comes any more.
    pub fn take(&self) -> Option<Step> {
        self.signal.clear();
        locked(&self.steps).try_recv().ok()
    }
}

fn read_all(mut recovery: Recovery, sender: &SyncSender<Step>, signal: &Signal) -> Step {
    loop {
        match recovery.next_chunk() {
            Ok(Some(records)) => {
                if sender.send(Step::Records(records)).is_err() {
                    return Step::End(End { position: 0, clean: false, torn: false });
                }
                signal.notify();
            }
            Ok(None) => {
                let end = recovery.end();
                return Step::End(end.unwrap_or_else(|| unreachable!("all was read")));
            }
            Err(error) => return Step::Failed(error),
        }
    }
}
