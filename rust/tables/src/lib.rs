//! The large tables of the metadata image, as packed columns.
//!
//! * [`Columns`]: rows of integers, delta-coded by column: how records carry many rows.
//! * [`Storage`]: streams, objects and who holds which range of what; judges commits and replaces.
//! * [`Merge`]: which ranges of `Storage` are worth merging next.
//! * [`Partitions`]: about 64 bytes a partition.
//!
//! Judging never changes a table; applying never refuses what was judged good, and answers
//! [`Broken`] (a mistake of ours, never of a client) instead of going on with a wrong table.
//! Nothing here knows a clock, a store or Python.

mod columns;
mod dump;
mod merge;
mod objects;
mod partitions;
mod ranges;
mod replace;
mod storage;
mod streams;

pub use columns::{Columns, Damaged};
pub use dump::{DumpedObjects, DumpedPartitions, DumpedStreams};
pub use merge::{LeftOut, Merge, MergeReason, MergeRules};
pub use objects::{Object, ObjectState, Prepared};
pub use partitions::{Nodes, Partition, Partitions, Reassignment};
pub use ranges::{PackedRanges, Range};
pub use replace::{ReplaceVerdict, Replacement};
pub use storage::{Commit, Judged, LARGE_BYTES, Located, Storage, Verdict};
pub use streams::{OpenJudgement, Stream, StreamState};

/// A record did not fit the table it was applied to: a mistake of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// `Err(Broken(..))` unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err($crate::Broken(format!($($what)*)));
        }
    };
}
pub(crate) use hold;
