//! What can go wrong, each with what the caller should do.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a WAL could not be opened, recovered, trimmed, closed or removed.
#[derive(Debug)]
pub enum Error {
    /// An option or argument is impossible. Fix the input.
    Invalid(String),
    /// Another process (or another part of this one) holds the WAL.
    Locked { path: PathBuf, pid: String },
    /// The WAL id was used before; an id serves one incarnation of a node only.
    Used { path: PathBuf },
    /// There is no such WAL.
    Missing { path: PathBuf },
    /// The files belong to another WAL or cluster.
    Foreign { path: PathBuf, why: String },
    /// Written by a newer version of this software.
    Unsupported { path: PathBuf, position: u64, why: String },
    /// Something that was known synced cannot be read back as it was written.
    Damaged { path: PathBuf, position: u64, why: String },
    /// The operating system refused.
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    /// The WAL has failed for good.
    Failed(Failure),
    /// A close did not end in time; the disk does not answer.
    TimedOut { path: PathBuf },
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            Self::Locked { path, pid } => {
                write!(f, "{} is in use by process {pid}; stop it first", path.display())
            }
            Self::Used { path } => write!(
                f,
                "{} was used before: a WAL id serves one start of a node, take a new one",
                path.display()
            ),
            Self::Missing { path } => write!(
                f,
                "{} is not there: check that the WAL's disk is mounted at that path",
                path.display()
            ),
            Self::Foreign { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Unsupported { path, position, why } => write!(
                f,
                "{} at position {position}: {why}; it was written by a newer version, which is \
                 needed to read it",
                path.display()
            ),
            Self::Damaged { path, position, why } => write!(
                f,
                "{} is damaged at position {position}: {why}, although later writes prove that it \
                 was synced. Acknowledged data is affected: keep the directory, check the disk \
                 (kernel log, SMART), and restore the file from a copy or snapshot of the volume",
                path.display()
            ),
            Self::Io { operation, path, source } => {
                write!(f, "{operation} of {} failed: {source}", path.display())
            }
            Self::Failed(failure) => failure.fmt(f),
            Self::TimedOut { path } => {
                write!(f, "{} was not closed in time: its disk does not answer", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

/// Why a WAL ended for good: what was tried, where, and what the operating system said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub operation: Cow<'static, str>,
    pub path: PathBuf,
    pub position: u64,
    pub errno: Option<i32>,
    pub message: String,
}

impl Failure {
    pub(crate) fn new(
        operation: &'static str,
        path: &Path,
        position: u64,
        source: &io::Error,
    ) -> Self {
        Self {
            operation: Cow::Borrowed(operation),
            path: path.to_owned(),
            position,
            errno: source.raw_os_error(),
            message: source.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the WAL ended: {} of {} at position {} failed: {}",
            self.operation,
            self.path.display(),
            self.position,
            self.message
        )
    }
}

/// Why an append was not taken. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits for the disk. Try again when `durable` has moved.
    QueueFull { inflight_bytes: u64, inflight_bytes_max: u64 },
    /// The WAL's budget of disk space is used. Try again after a trim.
    SpaceFull { used_bytes: u64, capacity_bytes: u64 },
    /// Larger than the whole WAL may be: it can never be taken.
    TooLarge { segment_bytes: u64, capacity_bytes: u64 },
    /// The WAL is closed or closing.
    Closed,
    /// The WAL has failed for good.
    Failed(Failure),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull { inflight_bytes, inflight_bytes_max } => write!(
                f,
                "{inflight_bytes} bytes wait for the WAL's disk, {inflight_bytes_max} may"
            ),
            Self::SpaceFull { used_bytes, capacity_bytes } => {
                write!(f, "WAL full: it has {used_bytes} of {capacity_bytes} bytes")
            }
            Self::TooLarge { segment_bytes, capacity_bytes } => write!(
                f,
                "the record needs a segment of {segment_bytes} bytes, the WAL may have \
                 {capacity_bytes} in all"
            ),
            Self::Closed => f.write_str("the WAL is closed"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}
