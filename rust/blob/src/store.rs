//! Operations, their answers, and the store that runs them.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::cloud::Cloud;
use crate::local::LocalDir;

use crate::{Completion, Error, Kind, Port, check_key, check_prefix, runtime};

/// What is read a block at a time; larger ranges are of those who read many blocks at once.
const SUMMED_BYTES: RangeInclusive<usize> = 64 << 10..=2 << 20;

/// One operation. Keys are relative to the store; `[start, end)` in bytes.
#[derive(Debug, Clone)]
pub enum Op {
    Put {
        key: String,
        data: Vec<Bytes>,
    },
    /// Put if absent: exactly one attempt, and its verdict.
    Create {
        key: String,
        data: Vec<Bytes>,
    },
    Get {
        key: String,
    },
    GetRanges {
        key: String,
        ranges: Vec<(u64, u64)>,
    },
    Head {
        key: String,
    },
    /// One page, in the order of the keys' bytes, of those after `after`; `page` continues a list.
    List {
        prefix: String,
        after: Option<String>,
        page: Option<String>,
    },
    /// At most 1,000 keys.
    Delete {
        keys: Vec<String>,
    },
    Copy {
        source: String,
        target: String,
    },
    /// What is set for the bucket as a whole.
    Settings,
}

/// A range of an object as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub bytes: Bytes,
    /// Of all its bytes, made on the thread that has read them: whoever checks them on a thread on
    /// which others wait need not. None: they are so few, or so many, that it is not worth it.
    pub crc32c: Option<u32>,
}

impl From<Bytes> for Part {
    fn from(bytes: Bytes) -> Self {
        let crc32c = SUMMED_BYTES.contains(&bytes.len()).then(|| crc_fast::crc32_iscsi(&bytes));
        Self { bytes, crc32c }
    }
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub key: String,
    pub size_bytes: u64,
    /// The store's own clock: for people, never for decisions.
    pub modified_ms: i64,
}

/// The answer to an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    Data(Bytes),
    Ranges(Vec<Part>),
    Info(Info),
    /// Of a delete: what failed, and how.
    Deleted {
        failed: Vec<(String, Error)>,
    },
    Page {
        objects: Vec<Info>,
        next: Option<String>,
    },
    Settings(Settings),
}

/// What a store says when it is asked how its bucket is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// In front of every key of ours: which of the bucket's rules concern us.
    pub prefix: String,
    /// The question in the store's words, and its answer in XML; `NotFound`: nothing of the kind is
    /// set. No answers: the store is not asked.
    pub answers: Vec<(&'static str, Result<String, Error>)>,
}

impl Reply {
    pub(crate) fn ranges(read: Vec<Bytes>) -> Self {
        Self::Ranges(read.into_iter().map(Part::from).collect())
    }
}

impl Op {
    /// Refuses keys, prefixes and ranges that no store can take.
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Put { key, .. } | Self::Create { key, .. } => check_key(key),
            Self::Get { key } | Self::Head { key } => check_key(key),
            Self::GetRanges { key, ranges } => {
                check_key(key)?;
                match ranges.iter().find(|(start, end)| start >= end) {
                    Some((start, end)) => {
                        let why = format!("range [{start}, {end}) is empty or backwards");
                        Err(Error::new(Kind::Invalid, why))
                    }
                    None => Ok(()),
                }
            }
            Self::List { prefix, .. } => check_prefix(prefix),
            Self::Copy { source, target } => check_key(source).and_then(|()| check_key(target)),
            Self::Delete { keys } => keys.iter().try_for_each(|key| check_key(key)),
            Self::Settings => Ok(()),
        }
    }
}

/// Where the objects are.
#[derive(Debug)]
pub enum Backend {
    Local(Arc<LocalDir>),
    Cloud(Arc<Cloud>),
}

/// A backend, the port where its completions wait, and what is in flight.
#[derive(Debug)]
pub struct Store {
    backend: Backend,
    port: Arc<Port>,
    running: Arc<Mutex<HashMap<u64, AbortHandle>>>,
}

impl Store {
    pub fn new(backend: Backend) -> Result<Self, Error> {
        let port = Port::new().map_err(|why| {
            Error::new(Kind::Unavailable, format!("cannot make an eventfd: {why}"))
        })?;
        let running = Arc::default();
        Ok(Self { backend, port: Arc::new(port), running })
    }

    /// Starts `op`; its completion, with `token`, will come to the port. Fails at once only for the
    /// caller's own mistakes.
    pub fn submit(&self, token: u64, op: Op) -> Result<(), Error> {
        op.check()?;
        let runtime = runtime::handle()?;
        let ending = Ending {
            token,
            result: None,
            port: Arc::clone(&self.port),
            running: Arc::clone(&self.running),
        };
        // Held while the task starts, so that it cannot end before it is known to run.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let task = match &self.backend {
            // Straight to a thread for files: the runtime's own has nothing to do with it.
            Backend::Local(dir) => {
                let dir = Arc::clone(dir);
                runtime.spawn_blocking(move || ending.with(dir.run(op)))
            }
            Backend::Cloud(cloud) => {
                let cloud = Arc::clone(cloud);
                runtime.spawn(async move { ending.with(cloud.run(op).await) })
            }
        };
        running.insert(token, task.abort_handle());
        Ok(())
    }

    /// Stops caring: a network request is dropped, a started file operation ends on its own.
    pub fn cancel(&self, token: u64) {
        let task = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Host and port, as a URL has them, of the server that is asked; None for a directory.
    pub fn authority(&self) -> Option<String> {
        match &self.backend {
            Backend::Cloud(cloud) => Some(cloud.authority()),
            Backend::Local(_) => None,
        }
    }

    pub fn drain(&self) -> Vec<Completion> {
        self.port.drain()
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.port.fd()
    }
}

/// Completes its operation when the task ends, however it ends: no caller waits for ever.
struct Ending {
    token: u64,
    result: Option<Result<Reply, Error>>,
    port: Arc<Port>,
    running: Arc<Mutex<HashMap<u64, AbortHandle>>>,
}

impl Ending {
    fn with(mut self, result: Result<Reply, Error>) {
        self.result = Some(result);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
        let result = self.result.take().unwrap_or_else(|| {
            Err(Error::new(Kind::OutcomeUnknown, "the operation was cut off before its answer"))
        });
        self.port.push(Completion { token: self.token, result });
    }
}
