//! The log cache, the object format and the block cache.

pub mod batches;
pub mod cache;

pub use cache::{CacheError, CacheRead, LogCache};
