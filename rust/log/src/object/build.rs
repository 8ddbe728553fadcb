//! Building the object of one generation of the log cache.

use std::fmt;

use super::{BuiltObject, ClusterId, ObjectWriter, WriteError};
use crate::cache::{CacheError, LogCache};

/// Why a generation cannot be built: a mistake of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    Cache(CacheError),
    Write(WriteError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

/// The object of a sealed generation, or of some of its streams; None when nothing of it is left.
///
/// Batches are taken as they lie in the cache, which is locked for one stream at a time only.
pub fn build_object(
    cache: &LogCache,
    generation: u64,
    object_id: i64,
    cluster_id: ClusterId,
    streams: Option<Vec<i64>>,
) -> Result<Option<BuiltObject>, BuildError> {
    let mut there = cache.streams_of(generation).map_err(BuildError::Cache)?;
    if let Some(mut wanted) = streams {
        wanted.sort_unstable();
        there.retain(|stream| wanted.binary_search(stream).is_ok());
    }
    let mut writer = ObjectWriter::new(object_id, cluster_id);
    for stream in there {
        if let Some(run) = cache.run_of(generation, stream) {
            let range = (run.start, run.end);
            writer.add(stream, range, run.pieces, None).map_err(BuildError::Write)?;
        }
    }
    writer.finish().map_err(BuildError::Write)
}
